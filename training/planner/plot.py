"""Draws the parts of a plan for every backbone (the study's figure 20)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from runtime.output import write_whole
from training.config import Config

from .advice import GB, Estimate, Wish, estimate
from .tiers import PUBLISHED, TIERS, around

COLOURS = {
    "parameters": "#4477aa",
    "gradients": "#66ccee",
    "optimizer": "#228833",
    "averages": "#ccbb44",
    "half_copies": "#aa3377",
    "batch": "#332288",
    "activations": "#ee6677",
    "passing": "#999933",
    "framework": "#bbbbbb",
}
NAMES = {
    "optimizer": "optimizer states",
    "averages": "averaged weights",
    "half_copies": "copies in half precision",
    "batch": "pictures and tokens",
    "passing": "what comes and goes",
    "framework": "framework (estimated)",
}


def plot(config: Config, wish: Wish, out: Path) -> None:
    """Draw stacked bars of the study's backbones with everything else as in `config`, and write them as a PNG."""
    plans = {name: estimate(around(config, name), wish) for name in PUBLISHED}
    sizes = next(iter(plans.values())).sizes
    batch = f"{sizes.batches} x {sizes.lines} lines of {sizes.height} x {sizes.width} px"
    draw(plans, f"{config.technique.name}: {batch}, {sizes.tokens} tokens, {sizes.precision}", out)


def draw(plans: Mapping[str, Estimate], title: str, out: Path) -> None:
    """Draw a bar for each plan, and write the picture as a PNG."""
    canvas = Figure(figsize=(9, 5), layout="constrained")
    axes = canvas.subplots()
    names, below = list(plans), [0.0] * len(plans)
    for part, colour in COLOURS.items():
        sizes = [(plan.peak.bytes | {"framework": plan.framework})[part] / GB for plan in plans.values()]
        if max(sizes) >= 0.01:
            axes.barh(names, sizes, left=below, color=colour, label=NAMES.get(part, part))
        below = [left + size for left, size in zip(below, sizes, strict=True)]
    for place, total in enumerate(below):
        axes.annotate(f"{total:.1f}", (total, place), (4, 0), textcoords="offset points", va="center")
    for tier in TIERS:
        if tier < 1.3 * max(below):
            axes.axvline(tier, color="black", linestyle=":", linewidth=1)
            axes.annotate(f"{tier} GB", (tier, 1), (3, -4), ("data", "axes fraction"), "offset points", va="top")
    axes.set_title(title)
    axes.set_xlabel("GPU memory in GB at a step's fullest moment (planned)")
    axes.set_xlim(0, 1.12 * max(below))
    axes.invert_yaxis()
    canvas.legend(loc="outside lower center", ncols=3)
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=110)
    write_whole(out, content.getvalue())
