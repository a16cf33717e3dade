"""Measures how well music was read: symbol and character error rates, note and sequence accuracy, all in percent.

Rates are micro-averaged as LEGATO defines them: the sum of all edit distances, divided by the sum of all reference
lengths. So a long line counts more than a short one, and a rate can exceed 100. Remove special tokens first. A symbol
error rate depends on what counts as a symbol, so always say it (atoms, BPE tokens or `runtime.abc.symbols`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from .abc.symbols import kind, symbols

__all__ = [
    "NOTHING",
    "ClassErrors",
    "align",
    "cer",
    "class_table",
    "edit_distance",
    "error_rate",
    "errors_by_class",
    "note_accuracy",
    "noteheads",
    "percent",
    "sequence_accuracy",
    "ser",
    "symbols",
]

Tokens = Sequence[Hashable]
NOTHING = object()  # stands for the missing side of an insertion or deletion


def edit_distance(a: Tokens, b: Tokens) -> int:
    """Levenshtein distance: insertions, deletions and substitutions cost 1.

    One column of the distance table is a pair of integers, a bit a row, so a step costs O(len(a) / 64).
    Source: G. Myers, "A fast bit-vector algorithm for approximate string matching", JACM 46 (1999).
    """
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    rows = len(a) - start
    if rows == 0:
        return len(b) - start
    where: dict[Hashable, int] = {}
    for row in range(rows):
        token = a[start + row]
        where[token] = where.get(token, 0) | 1 << row
    full, last_row = (1 << rows) - 1, 1 << (rows - 1)
    grows, shrinks, distance = full, 0, rows  # bits: the table rises or falls by 1 from the row above
    for column in range(start, len(b)):
        match = where.get(b[column], 0)
        diagonal = match | shrinks
        level = (((match & grows) + grows) ^ grows) | match
        right_up = shrinks | (full & ~(level | grows))
        right_down = grows & level
        distance += 1 if right_up & last_row else -1 if right_down & last_row else 0
        right_up, right_down = (right_up << 1 | 1) & full, (right_down << 1) & full
        grows, shrinks = right_down | (full & ~(diagonal | right_up)), right_up & diagonal
    return distance


def percent(part: float, whole: float) -> float:
    """100 * part / whole; of nothing at all 0 %."""
    return 100.0 * part / whole if whole else 0.0


def error_rate(references: Sequence[Tokens], readings: Sequence[Tokens]) -> float:
    """Edit distances of all samples over the lengths of all references, in percent."""
    edits = sum(edit_distance(r, h) for r, h in zip(references, readings, strict=True))
    return percent(edits, sum(len(r) for r in references))


def ser(references: Sequence[Tokens], readings: Sequence[Tokens]) -> float:
    """Symbol error rate of token lists, in percent."""
    return error_rate(references, readings)


def cer(references: Sequence[str], readings: Sequence[str]) -> float:
    """Character error rate of texts, in percent."""
    return error_rate(references, readings)


def sequence_accuracy(references: Sequence[object], readings: Sequence[object]) -> float:
    """Share of samples that are exactly equal, in percent."""
    return percent(sum(r == h for r, h in zip(references, readings, strict=True)), len(references))


def noteheads(signs: Sequence[str]) -> list[tuple[str, str]]:
    """(sounding pitch, length) of each notehead of canonical symbols, chords bottom up; no graces."""
    parts = [sign.split(":") for sign in signs if kind(sign) in ("note", "chord")]
    return [(pitch, length) for _, pitches, length in parts for pitch in pitches.split("+")]


def note_accuracy(references: Sequence[str], readings: Sequence[str]) -> float:
    """1 - edit distance / noteheads over all ABC texts, pitch and length right, in percent (at least 0)."""
    expected = [noteheads(symbols(text)) for text in references]
    read = [noteheads(symbols(text)) for text in readings]
    return max(0.0, 100.0 - error_rate(expected, read))


def align(a: Tokens, b: Tokens) -> list[tuple[object, object]]:
    """Pairs of one cheapest alignment; the missing side of an insertion or deletion is `NOTHING`."""
    table = [list(range(len(b) + 1))]
    for row, token in enumerate(a, 1):
        above, line = table[-1], [row]
        for column, other in enumerate(b, 1):
            line.append(min(above[column - 1] + (token != other), above[column] + 1, line[-1] + 1))
        table.append(line)
    pairs: list[tuple[object, object]] = []
    row, column = len(a), len(b)
    while row or column:
        here = table[row][column]
        if row and column and here == table[row - 1][column - 1] + (a[row - 1] != b[column - 1]):
            row, column = row - 1, column - 1
            pairs.append((a[row], b[column]))
        elif row and here == table[row - 1][column] + 1:
            row -= 1
            pairs.append((a[row], NOTHING))
        else:
            column -= 1
            pairs.append((NOTHING, b[column]))
    return pairs[::-1]


@dataclass
class ClassErrors:
    """Edits that fall on one class of symbol."""

    symbols: int = 0
    substituted: int = 0
    missed: int = 0
    invented: int = 0

    @property
    def edits(self) -> int:
        return self.substituted + self.missed + self.invented

    @property
    def rate(self) -> float:
        """Edits over the references' symbols of this class, in percent; 100 where all are inventions."""
        return percent(self.edits, self.symbols or self.edits)


def errors_by_class(
    references: Sequence[Tokens], readings: Sequence[Tokens], class_of: Callable[[str], str] = kind
) -> dict[str, ClassErrors]:
    """Counts the edits for each class of symbol. They add up to those of `ser`.

    A substitution counts for the class of the reference's symbol, an insertion for that of the reading's.

    Returns:
        The classes, most frequent first.
    """
    table: dict[str, ClassErrors] = {}
    for reference, reading in zip(references, readings, strict=True):
        for expected, read in align(reference, reading):
            row = table.setdefault(class_of(str(read if expected is NOTHING else expected)), ClassErrors())
            row.symbols += expected is not NOTHING
            row.invented += expected is NOTHING
            row.missed += read is NOTHING
            row.substituted += expected is not NOTHING and read is not NOTHING and expected != read
    return dict(sorted(table.items(), key=lambda entry: -entry[1].symbols))


def class_table(table: dict[str, ClassErrors]) -> str:
    """`errors_by_class` as a markdown table."""
    heads = ("class", "symbols", "substituted", "missed", "invented", "error rate")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in table.items():
        counts = f"{row.symbols} | {row.substituted} | {row.missed} | {row.invented}"
        lines.append(f"| {name} | {counts} | {row.rate:.2f} % |")
    return "\n".join(lines)
