"""Random canonical tunes and random readings, for promises that must hold whatever is drawn."""

from __future__ import annotations

import random
from fractions import Fraction

from runtime.abc.tidy import tidy
from runtime.abc.tune import BARS, DECORATIONS, METERS, Bar, Change, Event, Grace, Item, LineBreak, Overlay, Pitch, Tune
from runtime.bundle.tokenizer import AtomTokenizer

CLEFS = ("treble", "treble-8", "treble+8", "soprano", "mezzosoprano", "alto", "tenor", "baritone", "bass", "bass-8")
LENGTHS = tuple(Fraction(n) for n in ("1/4", "1/2", "3/4", "1", "3/2", "7/4", "2", "3", "4", "6", "8", "12", "16"))


def random_tune(seed: int, bars: int = 6) -> Tune:
    """A line with everything that one staff can hold."""
    rng = random.Random(seed)
    items: list[Item] = []
    for _ in range(rng.randint(0, bars)):
        if rng.random() < 0.1:
            items.append(Event((), Fraction(rng.randint(1, 5)), rest="Z"))
        else:
            items += _bar(rng)
            if rng.random() < 0.2:
                items += [Overlay(), *_bar(rng)]
        ending = rng.choice(["", "", "", "1", "2", "1,2", "1-3"])
        items.append(Bar(rng.choice(BARS), ending))
        if rng.random() < 0.2:
            items.append(LineBreak())
        if rng.random() < 0.3:
            items.append(_change(rng))
    meter = rng.choice([None, *METERS])
    return tidy(Tune(rng.choice(CLEFS), rng.randint(-7, 7), meter, tuple(items)))


def random_reading(seed: int, length: int = 80) -> str:
    """What a model that has learnt nothing writes."""
    tokenizer = AtomTokenizer()
    rng = random.Random(seed)
    return tokenizer.decode([rng.randrange(tokenizer.vocab_size) for _ in range(length)])


def _change(rng: random.Random) -> Change:
    kind = rng.choice(["clef", "key", "meter"])
    choices = {"clef": CLEFS, "key": tuple(map(str, range(-7, 8))), "meter": METERS}
    return Change(kind, rng.choice(choices[kind]))


def _bar(rng: random.Random) -> list[Item]:
    out: list[Item] = []
    while len(out) < rng.randint(1, 6):
        if rng.random() < 0.15:
            p, q = rng.choice([(3, 2), (2, 3), (5, 4), (6, 4)])
            out += [_event(rng, tuplet=(p, q, p) if n == 0 else None) for n in range(p)]
        elif rng.random() < 0.05:
            out.append(_change(rng))
        else:
            out.append(_event(rng))
    return out


def _event(rng: random.Random, tuplet: tuple[int, int, int] | None = None) -> Event:
    length = rng.choice(LENGTHS)
    graces = [Grace(_chord(rng), slash=n == 0 and rng.random() < 0.5) for n in range(rng.choice([0] * 6 + [1, 2]))]
    if rng.random() < 0.12:
        return Event((), length, rest=rng.choice("zzzx"), tuplet=tuplet)
    return Event(
        _chord(rng),
        length,
        tie=rng.random() < 0.25,
        graces=tuple(graces),
        slur_starts=rng.choice([0] * 5 + [1, 2]),
        slur_ends=rng.choice([0] * 4 + [1, 2]),
        decorations=tuple(rng.sample(DECORATIONS, rng.choice([0] * 5 + [1, 2]))),
        tuplet=tuplet,
        space=rng.random() < 0.3,
    )


def _chord(rng: random.Random) -> tuple[Pitch, ...]:
    steps = rng.sample(range(30, 38), rng.choice([1, 1, 1, 2, 4]))
    signs = ["", "", "", "^", "_", "=", "^^", "__"]
    return tuple(Pitch(step, rng.choice(signs)) for step in sorted(steps))
