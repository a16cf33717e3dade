"""Invents lines with what real tunes have too little of: rare meters, rests, chords, accidentals, short notes, leaps,
ties."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from runtime.abc.tune import ACCIDENTALS, Bar, Event, Grace, Item, Pitch, Tune

# Meter -> (length of a bar, length of a beat, weight), lengths in eighths; what real tunes hold weighs less.
METER_BEATS = {
    "C": (8, 2, 1), "C|": (8, 4, 1), "2/4": (4, 2, 0.5), "3/4": (6, 2, 1.5), "4/4": (8, 2, 1.7), "2/2": (8, 4, 1),
    "3/2": (12, 4, 2.2), "3/8": (3, 3, 1.5), "6/8": (6, 3, 0.5), "9/8": (9, 3, 1.7), "12/8": (12, 3, 2.2),
    "5/4": (10, 2, 2.8), "6/4": (12, 6, 2.2),
}  # fmt: skip
WEIGHTS = [weight for _, _, weight in METER_BEATS.values()]
BEATS = {  # ways to fill a beat; a leading "3" item is a triplet
    2: ["2", "1 1", "1 1", "1/2 1/2 1/2 1/2", "1 1/2 1/2", "1/2 1/2 1", "3/2 1/2", "1/2 3/2", "1/2 1 1/2", "t1 1 1",
        "t1/2 1/2 1/2 1", "3/4 1/4 1", "1/4 1/4 1/4 1/4 1", "1 3/4 1/4", "1/4 1/4 1/2 1", "3/4 1/4 3/4 1/4"],
    3: ["3", "2 1", "1 2", "1 1 1", "1 1 1", "3/2 1/2 1", "1 1/2 1/2 1/2 1/2", "1/2 1/2 1/2 1/2 1/2 1/2", "1/2 1/2 1 1",
        "2 1/2 1/2", "3/2 3/2", "1/4 1/4 1/4 1/4 1 1"],
    4: ["4", "2 2", "3 1", "1 1 1 1", "2 1 1", "1 1 2", "t2 2 2", "1 2 1", "3/2 1/2 2", "3/2 1/2 3/2 1/2",
        "1/2 1/2 1/2 1/2 1 1"],
    6: ["6", "4 2", "2 4", "2 2 2", "3 1 2", "3 3", "1 1 1 1 1 1", "4 1 1"],
}  # fmt: skip
WHOLE_BARS = {3: [3], 4: [4], 6: [6], 8: [8, 8, "4 4", "6 2"], 12: [12, 12, 12, "8 4", "6 6"]}
BAR_LINES = ["|", "||", "|]", ":|", "::", "|:"]


def invent(bars: int, rng: np.random.Generator) -> Tune:
    """A line of `bars` bars in a random meter around the treble staff; keys and clefs are varied later."""
    meter = str(rng.choice(list(METER_BEATS), p=np.array(WEIGHTS) / sum(WEIGHTS)))
    length, beat, _ = METER_BEATS[meter]
    odds = {
        "rest": float(rng.choice([0.02, 0.08, 0.2])), "chord": float(rng.choice([0, 0, 0.15, 0.5])),
        "accidental": float(rng.choice([0.02, 0.1, 0.3])), "grace": float(rng.choice([0, 0, 0.05, 0.15])),
        "slur": float(rng.choice([0, 0.1, 0.25])), "tie": float(rng.choice([0, 0.04, 0.15])),
        "leap": float(rng.choice([1.2, 2.0, 3.5])), "step": 34.0,
    }  # fmt: skip
    items: list[Item] = [Bar("|:")] if rng.random() < 0.12 else []
    for number in range(bars):
        items += _bar(length, beat, rng, odds)
        last = number == bars - 1
        items.append(Bar(str(rng.choice(BAR_LINES[:4] if last else BAR_LINES, p=_bar_odds(last)))))
    return Tune(meter=meter, items=tuple(_slurs_and_ties(items, rng, odds)))


def _bar_odds(last: bool) -> list[float]:
    return [0.6, 0.12, 0.14, 0.14] if last else [0.8, 0.05, 0.0, 0.05, 0.05, 0.05]


def _bar(length: int, beat: int, rng: np.random.Generator, odds: dict[str, float]) -> list[Item]:
    if rng.random() < 0.2 and length in WHOLE_BARS:
        options = WHOLE_BARS[length]
        return _events(str(options[int(rng.integers(len(options)))]), rng, odds)
    out: list[Item] = []
    for _ in range(length // beat):
        out += _events(str(rng.choice(BEATS[beat])), rng, odds)
    return out


def _events(pattern: str, rng: np.random.Generator, odds: dict[str, float]) -> list[Item]:
    out: list[Item] = []
    words = pattern.split()
    for number, word in enumerate(words):
        triplet = (3, 2, len(words)) if word[0] == "t" and len(words) == 3 else None
        length = Fraction(word.lstrip("t"))
        last = number == len(words) - 1
        if rng.random() < odds["rest"]:
            out.append(Event((), length, rest="z", tuplet=triplet))
            continue
        odds["step"] = float(np.clip(odds["step"] + rng.normal(0, odds["leap"]), 28, 40))
        out.append(
            Event(
                _pitches(round(odds["step"]), rng, odds), length, tuplet=triplet, graces=_graces(rng, odds), space=last
            )
        )
    if pattern[0] == "t" and len(words) != 3:  # not a plain triplet: written as it is, without the bracket
        out = [replace(e, tuplet=None) for e in out if isinstance(e, Event)]
    return out


def _pitches(step: int, rng: np.random.Generator, odds: dict[str, float]) -> tuple[Pitch, ...]:
    steps = [step]
    if rng.random() < odds["chord"]:
        for _ in range(int(rng.choice([1, 1, 2, 2, 3]))):
            steps.append(steps[-1] - int(rng.choice([1, 2, 2, 2, 3, 3, 4, 5, 7])))
    share = odds["accidental"] if len(steps) == 1 else odds["accidental"] / 2
    signs = [str(rng.choice(ACCIDENTALS, p=[0.1, 0.3, 0.24, 0.26, 0.1])) if rng.random() < share else "" for _ in steps]
    return tuple(Pitch(s, sign) for s, sign in sorted(zip(steps, signs, strict=True)))


def _graces(rng: np.random.Generator, odds: dict[str, float]) -> tuple[Grace, ...]:
    if rng.random() >= odds["grace"]:
        return ()
    count = int(rng.choice([1, 1, 1, 2, 3]))
    slash = count == 1 and rng.random() < 0.5
    steps = [round(odds["step"]) + int(s) for s in rng.integers(-3, 4, size=count)]
    signs = [str(rng.choice(["", "^", "_", "="], p=[0.85, 0.05, 0.05, 0.05])) for _ in steps]
    return tuple(
        Grace((Pitch(s, sign),), slash and n == 0) for n, (s, sign) in enumerate(zip(steps, signs, strict=True))
    )


def _slurs_and_ties(items: list[Item], rng: np.random.Generator, odds: dict[str, float]) -> list[Item]:
    out = list(items)
    places = [i for i, item in enumerate(out) if isinstance(item, Event) and not item.rest]
    position = 0
    while position < len(places) - 1:
        here, after = places[position], places[position + 1]
        event, following = out[here], out[after]
        assert isinstance(event, Event) and isinstance(following, Event)
        between = any(isinstance(item, Event) for item in out[here + 1 : after])
        if rng.random() < odds["tie"] and not between:
            pitches = tuple(replace(p, accidental="") for p in event.pitches)
            out[here] = replace(event, tie=True)
            out[after] = replace(following, pitches=pitches, graces=())
            position += 1
        elif rng.random() < odds["slur"]:
            end = places[min(len(places) - 1, position + int(rng.choice([1, 1, 1, 2, 3, 4, 6])))]
            out[here] = replace(event, slur_starts=1)
            closing = out[end]
            assert isinstance(closing, Event)
            out[end] = replace(closing, slur_ends=1)
            position = places.index(end) + int(rng.integers(0, 2))
        else:
            position += 1
    return out
