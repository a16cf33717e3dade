"""Makes a grand staff from a line: its bars in the upper staff, and chords and runs below them in a bass clef."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from runtime.abc.tune import CLEF_BOTTOM, Bar, Change, Event, Item, Pitch, Tune
from training.data.lines.rework import LENGTHS, bar_lengths
from training.data.lines.transpose import fits_staff

FIGURES = ("whole", "chords", "broken", "walking")


def lower_staff(upper: Tune, rng: np.random.Generator) -> Tune | None:
    """A second staff with the bar lines of the first; None where a bar's length can't be filled."""
    clef = "bass" if rng.random() < 0.9 else "treble"
    figure = str(rng.choice(FIGURES))
    root = CLEF_BOTTOM[clef] + int(rng.integers(0, 6))
    items: list[Item] = []
    for bar, length in zip(upper.bars(), bar_lengths(upper), strict=True):
        items += [item for item in bar if isinstance(item, Bar) and item is not bar[-1]]
        items += [item for item in bar if isinstance(item, Change) and item.kind != "clef"]
        rests = [item for item in bar if isinstance(item, Event) and item.rest == "Z"]
        root = int(np.clip(root + rng.integers(-3, 4), CLEF_BOTTOM[clef], CLEF_BOTTOM[clef] + 6))
        notes = [replace(rests[0], decorations=())] if rests else _figure(figure, length, root, rng)
        if notes is None or not all(fits_staff(note, clef) for note in notes):
            return None
        items += notes
        items += [bar[-1]] if isinstance(bar[-1], Bar) else []
    return replace(upper, clef=clef, items=tuple(items))


def _figure(figure: str, length: Fraction, root: int, rng: np.random.Generator) -> list[Event] | None:
    """Notes that fill a bar."""
    unit = {"whole": Fraction(8), "chords": Fraction(2), "broken": Fraction(1), "walking": Fraction(2)}[figure]
    out: list[Event] = []
    left, number = length, 0
    while left > 0:
        duration = next((d for d in LENGTHS if d <= min(left, unit)), Fraction(0))
        if not duration:
            return None
        steps = {
            "whole": (root, root + 4), "chords": (root, root + 2, root + 4), "walking": (root + (number % 4),),
            "broken": (root + (0, 4, 2, 4)[number % 4],),
        }[figure]  # fmt: skip
        rest = rng.random() < 0.06
        pitches = () if rest else tuple(Pitch(step) for step in steps)
        out.append(Event(pitches, duration, rest="z" if rest else "", space=number % 4 == 3))
        left, number = left - duration, number + 1
    return out
