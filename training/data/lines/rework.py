"""Adds rarer notation to a simple line: other tuplets, bars of rest, endings, changes, a second voice.

Each function takes a line and returns one that is valid notation again, or the same line if the change doesn't fit.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from runtime.abc.sounding_pitches import sound
from runtime.abc.tune import CLEF_BOTTOM, Bar, Change, Event, Item, Overlay, Pitch, Tune
from runtime.notation.measures import meter_length
from training.data.lines.transpose import LOWEST, fits_staff, move

# p notes in the time of q, each of that length, for an event of the length.
TUPLETS = {
    Fraction(2): ((3, 2, Fraction(1)), (5, 4, Fraction(1, 2)), (6, 4, Fraction(1, 2)), (7, 4, Fraction(1, 2))),
    Fraction(4): ((3, 2, Fraction(2)), (5, 4, Fraction(1)), (6, 4, Fraction(1))),
    Fraction(3): ((2, 3, Fraction(1)), (4, 3, Fraction(1))),
    Fraction(1): ((3, 2, Fraction(1, 2)), (5, 4, Fraction(1, 4)), (6, 4, Fraction(1, 4))),
}
LOWEST_FLAG = -2  # lowest staff position whose flag or beam, if it points down, is still inside the picture
LENGTHS = tuple(Fraction(n) for n in ("8", "6", "4", "3", "2", "3/2", "1", "1/2"))  # of what accompanies a line
NEAR_CLEFS = {
    "treble": ("bass", "alto", "treble-8"), "bass": ("tenor", "treble"), "alto": ("treble", "bass"),
    "tenor": ("bass", "treble"), "treble-8": ("treble", "bass"),
}  # fmt: skip


def tuplets(tune: Tune, rng: np.random.Generator) -> Tune:
    """Some notes as groups of 2 to 7 in another time, mixed lengths and rests among them."""
    items: list[Item] = []
    left = 0
    for item in tune.items:
        if isinstance(item, Event):
            left = item.tuplet_left(left)
            free = not left and not item.tuplet and item.pitches and not item.tie
            if free and item.duration in TUPLETS and rng.random() < 0.2:
                items += _tuplet(item, rng)
                continue
        items.append(item)
    return replace(tune, items=tuple(items))


def _tuplet(event: Event, rng: np.random.Generator) -> list[Item]:
    options = TUPLETS[event.duration]
    p, q, length = options[int(rng.integers(len(options)))]
    lengths = [length] * p
    if p == 3 and rng.random() < 0.3:  # a long and a short one
        lengths = [2 * length, length] if rng.random() < 0.7 else [length, 2 * length]
    step = event.pitches[-1].step
    out: list[Item] = []
    for number, one in enumerate(lengths):
        step += 0 if number == 0 else int(rng.choice([-2, -1, -1, 1, 1, 2]))
        note = Event((Pitch(step),), one) if rng.random() > 0.06 or number == 0 else Event((), one, rest="z")
        out.append(note)
    first, last = out[0], out[-1]
    assert isinstance(first, Event) and isinstance(last, Event)
    ends = event.slur_ends if last.pitches else 0
    out[-1] = replace(last, slur_ends=ends, space=True)
    starts = event.slur_starts if ends == event.slur_ends else 0
    out[0] = replace(first, pitches=event.pitches, graces=event.graces, slur_starts=starts, tuplet=(p, q, len(lengths)))
    return out


def long_rests(tune: Tune, rng: np.random.Generator) -> Tune:
    """A bar or two as one to many bars of rest."""
    bars = tune.bars()
    for number in rng.permutation(len(bars))[: int(rng.integers(1, 3))]:
        bar = bars[number]
        if any(isinstance(item, Change) for item in bar) or not isinstance(bar[-1], Bar):
            continue
        count = int(rng.choice([1, 2, 3, 4, int(rng.integers(5, 12)), int(rng.integers(10, 80))]))
        before = [item for item in bar[:-1] if isinstance(item, Bar)]
        bars[number] = [*before, Event((), Fraction(count), rest="Z"), bar[-1]]
    return replace(tune, items=tuple(item for bar in bars for item in bar))


def endings(tune: Tune, rng: np.random.Generator) -> Tune:
    """First and second endings of one or two bars, with the repeat between them."""
    bars = tune.bars()
    lines = [bar for bar in bars if isinstance(bar[-1], Bar)]
    if len(lines) < 3 or len(lines) != len(bars):
        return tune
    first = int(rng.integers(1, len(bars) - 1))  # the bar in which the first ending begins
    length = int(rng.integers(1, 3)) if first + 2 < len(bars) else 1
    second = first + length
    items = [list(bar) for bar in bars]
    if second - first == 2:
        items[first][-1] = Bar("|")
    for number, text, ending in ((first - 1, "|", "1"), (second - 1, ":|", "2")):
        items[number][-1] = Bar(text, ending)
        if number + 1 < len(items):  # a bar line is drawn once
            items[number + 1] = [item for item in items[number + 1][:-1] if not isinstance(item, Bar)] + [
                items[number + 1][-1]
            ]
    return replace(tune, items=tuple(item for bar in items for item in bar))


def change_clef(tune: Tune, rng: np.random.Generator) -> Tune:
    """Another clef from some event on; the notes keep their places on the staff."""
    options = NEAR_CLEFS.get(tune.clef)
    places = _free_places(tune)
    if not options or not places:
        return tune
    at, clef = places[int(rng.integers(len(places)))], str(rng.choice(options))
    shift = CLEF_BOTTOM[clef] - CLEF_BOTTOM[tune.clef]
    return _changed(tune, at, Change("clef", clef), shift, tune.key)


def change_key(tune: Tune, rng: np.random.Generator) -> Tune:
    """Another key from some bar on."""
    places = [at for at in _free_places(tune) if isinstance(tune.items[at - 1], Bar)]
    if not places:
        return tune
    key = int(rng.choice([k for k in range(-7, 8) if k != tune.key]))
    return _changed(tune, places[int(rng.integers(len(places)))], Change("key", str(key)), 0, key)


def _free_places(tune: Tune) -> list[int]:
    """Indices where a sign may be inserted: between events of one voice, outside tuplets and ties, after the first
    event."""
    out = []
    left, tied, second = 0, False, False
    for index, item in enumerate(tune.items):
        if isinstance(item, Overlay | Bar):
            second = isinstance(item, Overlay)
        if isinstance(item, Event):
            before = tune.items[index - 1] if index else None
            if not (left or tied or second or before is None or isinstance(before, Change | Overlay)):
                out.append(index)
            left = item.tuplet_left(left)
            tied = item.tie
    return out[1:]


def _changed(tune: Tune, at: int, change: Change, shift: int, key: int) -> Tune:
    """The line with a change at an index, the notes after it moved."""
    items: list[Item] = [*tune.items[:at], change]
    for item in tune.items[at:]:
        if isinstance(item, Event):
            moved = move(item, shift, tune.key, key)
            if moved is None:
                return tune
            item = moved
        items.append(item)
    return replace(tune, items=tuple(items))


def second_voice(tune: Tune, rng: np.random.Generator, share: float) -> Tune:
    """A lower voice in that share of the bars."""
    lengths = bar_lengths(tune)
    items: list[Item] = []
    clef = tune.clef
    for bar, length in zip(tune.bars(), lengths, strict=True):
        events = [item for item in bar if isinstance(item, Event)]
        changes = [item for item in bar if isinstance(item, Change) and item.kind == "clef"]
        lowest = min((p.step for e in events for p in e.pitches), default=0) - CLEF_BOTTOM[clef]
        plain = events and not changes and not any(e.rest == "Z" for e in events) and isinstance(bar[-1], Bar)
        if plain and lowest >= LOWEST + 3 and rng.random() < share:
            voice = _voice(length, min(lowest, 5) + CLEF_BOTTOM[clef], clef, rng)
            items += [*bar[:-1], Overlay(), *voice, bar[-1]] if voice else bar
        else:
            items += bar
        clef = str(changes[-1].value) if changes else clef
    return replace(tune, items=tuple(items))


def bar_lengths(tune: Tune) -> list[Fraction]:
    """Length of each bar in eighths, tuplets applied."""
    heard = (sounded.length * 8 for _, sounded in sound(tune) if sounded is not None)
    return [
        sum((next(heard) for item in bar if isinstance(item, Event)), Fraction(0)) for bar in tune.bars()
    ]


def _voice(length: Fraction, top: int, clef: str, rng: np.random.Generator) -> list[Item]:
    """Notes and rests of that length in all, under `top`."""
    out: list[Item] = []
    step = top - int(rng.integers(1, 5))
    while length > 0:
        fitting = [d for d in LENGTHS if d <= length]
        if not fitting:
            return []
        weights = np.array([float(d) ** 0.7 if d >= 1 else 0.25 for d in fitting])
        duration = fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
        lowest = CLEF_BOTTOM[clef] + (LOWEST if duration >= 2 else LOWEST_FLAG)
        step = int(np.clip(step + rng.integers(-3, 4), lowest, top - 1))
        sign = str(rng.choice(["", "^", "_", "="], p=[0.9, 0.04, 0.03, 0.03]))
        note = Event((Pitch(step, sign),), duration, space=duration < 1)
        out.append(Event((), duration, rest="z") if rng.random() < 0.1 else note)
        length -= duration
    if not any(isinstance(item, Event) and item.pitches for item in out):
        return []
    return out if all(fits_staff(item, clef) for item in out if isinstance(item, Event)) else []


def splice(first: Tune, second: Tune) -> Tune:
    """Two lines one after another, with the second's meter drawn where it differs."""
    meter = second.meter
    changed = first.meter is not None and meter is not None and meter_length(meter) != meter_length(first.meter)
    change: list[Item] = [Change("meter", str(meter))] if changed else []
    moved = [move(item, 0, second.key, first.key) if isinstance(item, Event) else item for item in second.items]
    if any(item is None for item in moved) or not changed:
        return first
    start = 1 if isinstance(moved[0], Bar) else 0
    end = [*first.items[:-1], Bar("|" if isinstance(first.items[-1], Bar) else "||")]
    return replace(first, items=(*end, *change, *(item for item in moved[start:] if item is not None)))
