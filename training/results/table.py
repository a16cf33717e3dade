"""Tables as Markdown and CSV. Every row ends with its source, and a cell without a value is a dash."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from .groups import Group
from .seed_means import Measure

EMPTY = "–"
Cell = str | int | float | Measure | None
ABOUT = ("steps", "seeds", "data set", "machine")


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files: `table-06`.
        title: with its number in the study.
        columns: names, with units, of the cells that a row begins with; ABOUT follows.
        digits: after the point, by column; 2 elsewhere.
        rows: cells.
        notes: sentences under it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    digits: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def heads(self) -> tuple[str, ...]:
        return (*self.columns, *ABOUT)

    def add(self, group: Group | None, *cells: Cell) -> None:
        """A row about a group of runs; None: nothing was run."""
        missing = len(self.columns) - len(cells)
        self.rows.append((*cells, *[None] * missing, *about(group)))

    def markdown(self) -> str:
        lines = [self.heads, ["---"] * len(self.heads)]
        lines += [[self.text(name, cell) for name, cell in zip(self.heads, row, strict=True)] for row in self.rows]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"### {self.title}\n\n{table}" + "".join(f"\n{note}\n" for note in self.notes)

    def text(self, name: str, cell: Cell) -> str:
        digits = self.digits.get(name, 2)
        if isinstance(cell, Measure):
            half = "" if cell.half is None else f" ± {cell.half:,.{digits}f}"
            return f"{cell.mean:,.{digits}f}{half}"
        if isinstance(cell, float):
            return f"{cell:,.{digits}f}"
        return EMPTY if cell is None or cell == "" else str(cell).replace("|", "\\|")

    def csv(self) -> str:
        """Unrounded; a column of measures is followed by half the width of their intervals."""
        measured = {
            number for number in range(len(self.heads)) if any(isinstance(row[number], Measure) for row in self.rows)
        }
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        heads = [[name, f"{name}, ± (95 %)"] if n in measured else [name] for n, name in enumerate(self.heads)]
        writer.writerow(sum(heads, []))
        for row in self.rows:
            writer.writerow(sum((plain(cell, number in measured) for number, cell in enumerate(row)), []))
        return out.getvalue()


def plain(cell: Cell, measured: bool) -> list[str]:
    """A cell of a CSV file, or the two of a measure."""
    if isinstance(cell, Measure):
        return [f"{cell.mean:.6g}", "" if cell.half is None else f"{cell.half:.6g}"]
    text = "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return [text, ""] if measured else [text]


def about(group: Group | None) -> list[Cell]:
    """Steps, seeds, data set and machine of a row."""
    if group is None:
        return [None] * len(ABOUT)
    run = group.first
    steps = f"{run.step:,}" + (f" of {run.total:,}" if run.step < run.total else "")
    return [steps, listed([str(run.seed) for run in group.runs]), run.data, run.machine]


def listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def ratio(value: Measure | None, whole: Measure | None) -> float | None:
    """A mean over another."""
    return value.mean / whole.mean if value and whole and whole.mean else None
