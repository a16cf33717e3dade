"""Table 10: a teacher, and its student trained with and without it."""

from __future__ import annotations

from collections.abc import Sequence

from .figure import Drawing
from .groups import Group, differing
from .runs import Run
from .table import Cell, Table


def tables(groups: Sequence[Group]) -> list[Table]:
    table = Table(
        "table-10",
        "Table 10: distillation",
        ("pair", "model", "backbone", "val loss", "SER %", "parameters M", "reading, lines/s"),
        {"val loss": 3, "parameters M": 1},
    )
    for number, taught in enumerate([g for g in groups if g.technique == "distill"], 1):
        alone = next((g for g in groups if g.technique == "full" and only_technique(g, taught)), None)
        for role, group in [("teacher", taught.teacher), ("student alone", alone), ("student taught", taught)]:
            backbone = group.backbone if group else taught.backbone if role != "teacher" else None
            table.add(group, str(number), role, backbone, *(cells(group, taught.degrade) if group else []))
    if not table.rows:
        table.add(None)
    table.notes.append(
        "Reading: lines a second in `omr-train evaluate` with PyTorch, including its teacher-forced pass."
    )
    return [table]


def figures(_groups: Sequence[Group]) -> list[Drawing]:
    return []


def only_technique(group: Group, taught: Group) -> bool:
    apart = differing(group, taught)
    return group.backbone == taught.backbone and all(name.startswith("technique.") for name in apart)


def cells(group: Group, degrade: str) -> list[Cell]:
    def speed(run: Run) -> float | None:
        row = run.scores(degrade) or {}
        return row["lines"] / row["seconds"] if row.get("lines") and row.get("seconds") else None

    size = group.first.parameters("total")
    return [group.score("loss", degrade), group.score("ser", degrade), size, group.measure(speed)]
