"""Compares a reading with what the column head saw in each column of the picture.

The decoder tends to write music as it usually goes. The column head says what is drawn. If the decoder lost its place
or repeated itself, its reading misses symbols that the columns show, and has symbols that they don't show.

    agreement(logits, columns, tune)     # nats, 0 at best; the candidate with the highest value fits best

Shapes: T columns, S symbols of a reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..abc.staves import parse_staves
from ..abc.tune import BARS, CLEF_BOTTOM, DURATIONS, METERS, Atom, Event, Overlay, Tune, atoms
from ..inference.engine import Floats

SYMBOL_CLASSES = (
    "none", *(f"clef={name}" for name in CLEF_BOTTOM), "key_sharp", "key_flat", *(f"M:{name}" for name in METERS),
    *BARS, "note", "chord", "grace", "rest", "bar_rest", "^^", "^", "=", "_", "__",
)  # fmt: skip
POSITION_CLASSES = ("none", *(str(n) for n in range(-20, 29)))
DURATION_CLASSES = ("none", *(str(d) for d in DURATIONS))
DURATION_CLASS = {duration: number for number, duration in enumerate(DURATIONS, 1)}
SIZES = {"symbol": len(SYMBOL_CLASSES), "staff_position": len(POSITION_CLASSES), "duration": len(DURATION_CLASSES)}
# A key signature is one atom with several columns. An alignment may skip them like empty paper.
PASSED = [SYMBOL_CLASSES.index(name) for name in ("none", "key_sharp", "key_flat")]
FIRST = 8  # columns at the start of a line where its clef stands
WORST = -12.0  # nats that one column, or one symbol without a column, can cost at most: a confident head may be wrong

Classes = tuple[int, int, int]  # of symbol, staff position and duration; 0: none


def on_staff(position: int) -> int:
    """Class of a staff position (0 is the bottom line). Positions beyond the outermost classes get the outermost
    one."""
    return min(max(position, -20), 28) + 21


def position_class(step: int, clef: str) -> int:
    """Class of a diatonic step on the staff of a clef."""
    return on_staff(step - CLEF_BOTTOM[clef])


def classes(tune: Tune, atom: Atom, clef: str) -> Classes:
    """Classes of an atom that has a column of its own; zeros for one that shares another's. `clef` is the one in force.

    Key signatures are left out, because each of their accidentals has a column, wherever an engraver puts it.
    """
    if atom.role in ("clef", "meter", "bar"):
        return SYMBOL_CLASSES.index(atom.text), 0, 0
    item = tune.items[atom.item]
    if not isinstance(item, Event):
        return 0, 0, 0
    duration = DURATION_CLASS.get(item.duration, 0)
    if atom.role == "rest":
        return SYMBOL_CLASSES.index("bar_rest" if item.rest == "Z" else "rest"), 0, 0 if item.rest == "Z" else duration
    if atom.text in ("[", "]", "{", "{/", "}"):
        return 0, 0, 0
    if atom.role == "accidental":
        return SYMBOL_CLASSES.index(atom.text), position_class(item.pitches[atom.part].step, clef), 0
    if atom.role == "grace" and atom.text not in SYMBOL_CLASSES:
        grace = item.graces[atom.part]
        return SYMBOL_CLASSES.index("grace"), position_class(grace.pitches[-1].step, clef), 0
    if atom.role == "note" and atom.part == len(item.pitches) - 1:  # a chord's column is labelled by its top note
        name = "chord" if len(item.pitches) > 1 else "note"
        return SYMBOL_CLASSES.index(name), position_class(item.pitches[-1].step, clef), duration
    return 0, 0, 0


def drawn(tune: Tune) -> Iterator[Classes]:
    """Classes of a line's symbols from left to right, without the key signatures."""
    clef = tune.clef
    for atom in atoms(tune):
        if atom.role == "clef":
            clef = atom.text.removeprefix("clef=")
        if atom.role != "key" and (found := classes(tune, atom, clef))[0]:
            yield found


def understood(columns: Mapping[str, int]) -> bool:
    """Whether a head of these widths (`IOSpec.columns`) has the classes of this file."""
    return all(columns.get(name) == size for name, size in SIZES.items())


def agreement(logits: Floats, columns: Mapping[str, int], tune: Tune) -> float | None:
    """How well a reading fits the columns: log-probability of its best monotonic alignment (Viterbi).

    Args:
        logits: [T, sum of `columns`] of the picture's own columns, padding left out.
        columns: width of each part, as in `IOSpec.columns`.
        tune: the reading.

    Returns:
        Nats, a sum over columns and symbols. None if the head has other classes, or if the reading has two voices,
        because then the symbols aren't in order from left to right.
    """
    if not understood(columns) or any(isinstance(item, Overlay) for item in tune.items):
        return None
    wanted = np.array(list(drawn(tune)), np.int64).reshape(-1, len(SIZES))
    names, start = list(columns), 0
    parts = {}
    for name in names:
        part = logits[:, start : start + columns[name]]
        parts[name] = part - np.logaddexp.reduce(part, axis=1, keepdims=True)
        start += columns[name]
    symbol, position, duration = (parts[name] for name in SIZES)
    empty = np.maximum(np.logaddexp.reduce(symbol[:, PASSED], axis=1), WORST)
    stands = symbol[:, wanted[:, 0]]
    stands = stands + np.where(wanted[:, 1] > 0, position[:, wanted[:, 1]], 0)
    stands = np.maximum(stands + np.where(wanted[:, 2] > 0, duration[:, wanted[:, 2]], 0), WORST)
    left_out = WORST * np.arange(len(wanted) + 1)  # the first n symbols have no column
    best = left_out.copy()
    for here, nothing in zip(stands, empty, strict=True):
        moved = best + nothing
        moved[1:] = np.maximum(moved[1:], best[:-1] + here)
        best = np.maximum.accumulate(moved - left_out) + left_out
    return float(best[-1])


def clef_at_start(logits: Floats) -> float:
    """Probability, 0 to 1, that a line begins with a clef: the largest of its first columns.

    Args:
        logits: [T, sum of SIZES], the symbol classes first.
    """
    symbol = logits[:FIRST, : SIZES["symbol"]]
    clefs = [n for n, name in enumerate(SYMBOL_CLASSES) if name.startswith("clef=")]
    return float(np.exp(symbol[:, clefs] - np.logaddexp.reduce(symbol, axis=1, keepdims=True)).sum(axis=1).max())


def count_symbols(logits: Floats) -> int:
    """How many columns of [T, sum of SIZES] show a symbol."""
    return int((logits[:, : SIZES["symbol"]].argmax(axis=1) > 0).sum())


def fit(logits: Floats, columns: Mapping[str, int], text: str) -> float | None:
    """`agreement` of a reading's ABC text; None where it has several staves, too."""
    staves = parse_staves(text)
    return agreement(logits, columns, staves[0]) if len(staves) == 1 else None
