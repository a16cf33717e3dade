"""One random change of a line that its picture must show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from runtime.abc import BARS, DURATIONS, Bar, Change, Event, Grace, Item, Pitch, Tune, write
from runtime.abc_tidy import tidy

Alteration = Callable[[Event, np.random.Generator], Event]


def altered(tune: Tune, rng: np.random.Generator, decorations: Sequence[str], clefs: Sequence[str]) -> tuple[str, Tune]:
    """The name of a change and the changed line; the choice is among what can be drawn."""
    while True:
        name = str(rng.choice([*ON_NOTES, "slur", "decoration", "bar", "ending", "head", "inside"]))
        if name in ON_NOTES:
            other = on_note(tune, rng, ON_NOTES[name])
        elif name == "slur":
            other = slurred(tune, rng)
        elif name == "decoration":
            mark = str(rng.choice(decorations))
            other, name = on_note(tune, rng, lambda event, _, mark=mark: replace(event, decorations=(mark,))), mark
        elif name == "bar":
            other = on_bar(tune, rng, lambda bar: replace(bar, text=str(rng.choice(BARS))))
        elif name == "ending":
            other = on_bar(tune, rng, lambda bar: replace(bar, ending=str(rng.choice(["1", "2"]))))
        elif name == "head":
            key, meter = int(rng.integers(-7, 8)), [None, "C", "C|", "3/4", "6/8", "12/8"][int(rng.integers(6))]
            which = {"clef": str(rng.choice(clefs)), "key": key, "meter": meter}
            name = str(rng.choice(list(which)))
            other = replace(tune, **{name: which[name]})  # type: ignore[arg-type]
        else:
            kind = str(rng.choice(["key", "meter"]))
            value = str(rng.integers(-7, 8)) if kind == "key" else str(rng.choice(["2/4", "3/4", "9/8"]))
            other = inserted(tune, rng, Change(kind, value)) if value != str(tune.key) else tune
        other = tidy(other)
        if write(other) != write(tune):
            return name, other


def on_note(tune: Tune, rng: np.random.Generator, change: Alteration) -> Tune:
    """The line with a random note or chord changed, of those that the change has something to do on."""
    for place in rng.permutation(len(tune.items)):
        event = tune.items[place]
        if isinstance(event, Event) and event.pitches and (other := change(event, rng)) != event:
            return replace(tune, items=(*tune.items[:place], other, *tune.items[place + 1 :]))
    return tune


def slurred(tune: Tune, rng: np.random.Generator) -> Tune:
    """The line with a slur over two notes in a row where no slur starts or ends, or without its slurs."""
    events = [i for i, item in enumerate(tune.items) if isinstance(item, Event)]
    items: list[Item] = list(tune.items)
    if any(event.slur_starts for event in tune.events):
        items = [replace(i, slur_starts=0, slur_ends=0) if isinstance(i, Event) else i for i in items]
    elif len(events) > 1 and not any(event.rest for event in tune.events):
        first = int(rng.integers(len(events) - 1))
        for place, change in ((events[first], {"slur_starts": 1}), (events[first + 1], {"slur_ends": 1})):
            items[place] = replace(items[place], **change)  # type: ignore[arg-type]
    return replace(tune, items=tuple(items))


def on_bar(tune: Tune, rng: np.random.Generator, change: Callable[[Bar], Bar]) -> Tune:
    """The line with a random bar line changed, but for the first and the last item."""
    places = [i for i, item in enumerate(tune.items[:-1]) if isinstance(item, Bar) and i]
    if not places:
        return tune
    items: list[Item] = list(tune.items)
    place = int(rng.choice(places))
    bar = items[place]
    assert isinstance(bar, Bar)
    items[place] = change(bar)
    return replace(tune, items=tuple(items))


def inserted(tune: Tune, rng: np.random.Generator, change: Change) -> Tune:
    """The line with a change after one of its bar lines."""
    places = [i + 1 for i, item in enumerate(tune.items[:-1]) if isinstance(item, Bar) and i]
    if not places:
        return tune
    place = int(rng.choice(places))
    return replace(tune, items=(*tune.items[:place], change, *tune.items[place:]))


def _pitch(event: Event, rng: np.random.Generator) -> Event:
    lowest = event.pitches[0]
    return replace(event, pitches=(replace(lowest, step=lowest.step - int(rng.integers(1, 3))), *event.pitches[1:]))


def _duration(event: Event, rng: np.random.Generator) -> Event:
    other = event.duration * (2 if rng.random() < 0.5 else 1) / (2 if rng.random() < 0.5 else 1)
    return replace(event, duration=other if other in DURATIONS else event.duration)


def _accidental(event: Event, rng: np.random.Generator) -> Event:
    sign = str(rng.choice(["", "^", "=", "_", "^^", "__"]))
    return replace(event, pitches=(*event.pitches[:-1], replace(event.pitches[-1], accidental=sign)))


def _grace(event: Event, rng: np.random.Generator) -> Event:
    steps = event.pitches[-1].step + rng.integers(-3, 4, size=int(rng.choice([1, 1, 2])))
    slash = len(steps) == 1 and bool(rng.random() < 0.5)
    return replace(event, graces=tuple(Grace((Pitch(int(step)),), slash) for step in steps))


def _chord(event: Event, rng: np.random.Generator) -> Event:
    return replace(event, pitches=(Pitch(event.pitches[0].step - int(rng.integers(2, 6))), *event.pitches))


def _dot(event: Event, rng: np.random.Generator) -> Event:
    return event if event.dots else replace(event, duration=event.duration * 3 / 2)


ON_NOTES: dict[str, Alteration] = {
    "pitch": _pitch, "duration": _duration, "accidental": _accidental, "grace": _grace, "chord": _chord, "dot": _dot,
    "rest": lambda event, _: replace(event, pitches=(), rest="z", graces=(), tie=False),
    "beam": lambda event, _: replace(event, space=not event.space),
    "tie": lambda event, _: replace(event, tie=False),
    "tuplet": lambda event, _: replace(event, tuplet=None),
}  # fmt: skip
