"""Draws the figures of a data set as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from runtime.output import write_whole
from runtime.page.preparation import POCKET_WIDTHS
from training.data.inspection.stats import Figures


def plot(splits: dict[str, Figures], out: Path) -> None:
    """Write widths, label lengths, origins and symbol frequencies of all splits together as a PNG.

    Raises:
        InputError: `out` can't be written.
    """
    figures = sum(splits.values(), Figures())
    canvas = Figure(figsize=(16, 11), layout="constrained")
    axes = canvas.subplot_mosaic([["widths", "lengths", "origins"], ["frequent"] * 3, ["rare"] * 3])
    sizes = ", ".join(f"{name} {len(each.widths):,}" for name, each in splits.items())
    canvas.suptitle(f"{len(figures.widths):,} lines ({sizes})")
    _widths(axes["widths"], figures)
    _lengths(axes["lengths"], figures)
    _origins(axes["origins"], figures)
    most = figures.symbols.most_common()
    middle = -(-len(most) // 2)
    _symbols(axes["frequent"], most[:middle], f"the more frequent half of {len(most)} symbols")
    _symbols(axes["rare"], most[middle:], "the rarer half")
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=100)
    write_whole(out, content.getvalue())


def _widths(axes: Any, figures: Figures) -> None:
    axes.hist(figures.widths, bins=40)
    for width in POCKET_WIDTHS:
        axes.axvline(width, color="grey", linewidth=0.5)
    axes.set(title="width of the pictures (grey: width buckets)", xlabel="px", ylabel="lines")


def _lengths(axes: Any, figures: Figures) -> None:
    longest = max([*figures.atoms, *figures.tokens])
    for name, values in (("atoms", figures.atoms), ("tokens of --tokenizer", figures.tokens)):
        if values:
            axes.hist(values, bins=np.linspace(0, longest, 41), label=f"{name}: {np.median(values):.0f}", alpha=0.6)
    axes.set(title="length of the labels", xlabel="atoms or tokens", ylabel="lines")
    axes.legend(title="median")


def _origins(axes: Any, figures: Figures) -> None:
    names, counts = zip(*reversed(figures.origins.most_common()), strict=True)
    axes.bar_label(axes.barh(names, counts), fmt="{:,.0f}", padding=2)
    axes.margins(x=0.15)
    axes.set(title="where the lines come from", xlabel="lines")


def _symbols(axes: Any, counts: list[tuple[str, int]], title: str) -> None:
    names = ["space" if name == " " else name.replace("$", r"\$") for name, _ in counts]
    axes.bar(names, [count for _, count in counts])
    axes.set_yscale("log")
    axes.margins(x=0.005)
    axes.tick_params(axis="x", rotation=90, labelsize=8)
    axes.set(title=title, ylabel="occurrences")
