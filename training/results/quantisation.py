"""Table 11: what fewer bits cost, from the rows that `omr-export --lines` adds to a run's folder."""

from __future__ import annotations

from collections.abc import Sequence

from .figure import Drawing
from .groups import Group
from .runs import Row
from .table import Table

PRECISIONS = (("fp32", "FP32"), ("fp16", "FP16"), ("int8", "INT8 dynamic"))


def tables(groups: Sequence[Group]) -> list[Table]:
    table = Table(
        "table-11",
        "Table 11: quantisation after training",
        ("backbone", "technique", "precision", "format", "SER %", "SER change, points", "size MB", "reading, lines/s",
         "lines read", "read on"),
    )  # fmt: skip
    for group in groups:
        for run in group.runs:
            for target in dict.fromkeys(row["target"] for row in run.quantised):
                rows = {row["precision"]: row for row in run.quantised if row["target"] == target}
                names = dict(PRECISIONS) | {name: name for name in rows if name not in dict(PRECISIONS)}
                for precision, label in names.items():
                    row, whole = rows.get(precision), rows.get("fp32")
                    cells = measured(row, whole) if row else []
                    alone = Group([run], group.settings)
                    table.add(alone if row else None, group.backbone, group.technique, label, target, *cells)
    if not table.rows:
        for _, label in PRECISIONS:
            table.add(None, None, None, label)
    table.notes.append(
        "SER change: compared with FP32 in the same format. Reading: one thread, greedy, with the decoder's cache, "
        "timed once. Preparing the pictures is not included."
    )
    return [table]


def figures(_groups: Sequence[Group]) -> list[Drawing]:
    return []


def measured(row: Row, whole: Row | None) -> list[str | int | float | None]:
    change = row["ser"] - whole["ser"] if whole and whole["dataset"] == row["dataset"] else None
    where = f"{row['dataset']} {row['split']}, {row['lines']} lines"
    return [float(row["ser"]), change, float(row["size_mb"]), float(row["lines_per_second"]), where, row["machine"]]
