"""What all drawings share: size, colours, markers, error bars, and how a front is drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .groups import BACKBONES, TECHNIQUES, Group, differing
from .seed_means import Measure

# Told apart by colour-blind people (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/), without the faint yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FAMILIES = ("transformer", "CNN", "hybrid")
TIERS_GB = (16, 24, 48)  # of the study's GPUs


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file: `figure-12`.
        title: with its number in the study.
        picture: None where the runs don't hold what it needs.
        note: what has to be known to read it.
    """

    name: str
    title: str
    picture: Figure | None
    note: str = ""

    def png(self) -> bytes:
        assert self.picture is not None
        content = io.BytesIO()
        # matplotlib's version and the date in the file would make equal pictures unequal.
        self.picture.savefig(content, format="png", dpi=110, metadata={"Software": None})
        return content.getvalue()


def canvas(columns: int = 1, width: float = 9.0, height: float = 5.0) -> tuple[Figure, list[Any]]:
    """A figure and its axes, side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.3)
        each.set_axisbelow(True)
    return figure, list(axes)


def backbone_style(name: str) -> tuple[str, str]:
    """Colour and marker of a backbone."""
    number = BACKBONES.index(name) if name in BACKBONES else len(BACKBONES)
    return COLOURS[number], MARKERS[number]


def technique_colour(name: str) -> str:
    return COLOURS[TECHNIQUES.index(name)] if name in TECHNIQUES else COLOURS[-1]


def with_bars(axes: Any, x: Measure, y: Measure, colour: str, marker: str) -> None:
    """A point and, where there are several seeds, its intervals."""
    axes.errorbar(
        x.mean, y.mean, xerr=x.half, yerr=y.half, color=colour, marker=marker, markersize=8, capsize=3,
        markeredgecolor="white", markeredgewidth=0.6, linestyle="none", elinewidth=1,
    )  # fmt: skip


def legend(figure: Figure, title: str, entries: Sequence[tuple[str, str, str]], corner: str = "upper") -> None:
    """Right of all axes: name, colour and marker of each entry."""
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=8, label=name)
        for name, colour, marker in entries
    ]
    loc: Any = f"outside right {corner}"
    figure.legend(handles=handles, title=title, loc=loc, frameon=False, alignment="left")


def front(points: Sequence[tuple[float, float]], high_x: bool) -> list[tuple[float, float]]:
    """The points that no other beats in both, y being better low and x high or low; by x."""

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        further = a[0] >= b[0] if high_x else a[0] <= b[0]
        return a != b and further and a[1] <= b[1]

    return sorted({point for point in points if not any(beats(other, point) for other in points)})


def main_groups(groups: Sequence[Group]) -> list[Group]:
    """One group a backbone, trained from its beginning in full: the settings that most backbones share."""
    fresh = fresh_groups(groups)
    found: dict[str, Group] = {}
    for group in sorted(fresh, key=lambda group: (-sharing(group, fresh), -len(group.runs))):
        found.setdefault(group.backbone, group)
    return [group for group in fresh if found[group.backbone] is group]


def fresh_groups(groups: Sequence[Group]) -> list[Group]:
    """Those trained from their beginning in full."""
    return [group for group in groups if group.fresh and group.technique == "full"]


def sharing(group: Group, groups: Sequence[Group]) -> int:
    """How many backbones have a group with these settings."""
    return len({other.backbone for other in groups if not differing(group, other)})


def memory_name(groups: Sequence[Group]) -> str:
    """What peak memory means on the machines of these groups."""
    kinds = {group.first.on_gpu for group in groups}
    if len(kinds) == 2:
        return "peak memory (of a GPU, or of the process on a CPU)"
    return "peak GPU memory" if kinds == {True} else "peak memory of the process (CPU)"
