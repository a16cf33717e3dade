"""Tables 12 to 14, Figures 16 and 20: what fits into a GPU, and where memory goes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import ScalarFormatter

from .figure import COLOURS, TIERS_GB, Drawing, canvas, main_groups, memory_name
from .groups import BACKBONES, Group
from .seed_means import Measure
from .table import Cell, Table

PARTS = ("parameters", "gradients", "optimizer", "averages")


def tables(groups: Sequence[Group]) -> list[Table]:
    return [tier(number, limit, groups) for number, limit in zip((12, 13, 14), TIERS_GB, strict=True)]


def figures(groups: Sequence[Group]) -> list[Drawing]:
    return [peaks(main_groups(groups)), parts(main_groups(groups))]


def tier(number: int, limit: int, groups: Sequence[Group]) -> Table:
    """For each backbone, the best-reading run whose measured peak fits."""
    table = Table(
        f"table-{number}",
        f"Table {number}: training with {limit} GB of GPU memory",
        ("backbone", "training mode", "batch size", "peak memory GB", "SER %", "pictures learnt and read"),
    )
    fitting = [
        (group, peak)
        for group in groups
        if group.first.on_gpu and (peak := group.measure(lambda run: run.peak_gb)) and peak.mean <= limit
    ]
    for name in BACKBONES:
        own = [(group, peak) for group, peak in fitting if group.backbone == name]
        for group, peak in best(own) or [(None, None)]:
            table.add(group, name, *(cells(group, peak) if group else []))
    table.notes.append(
        "Each row shows the mode that read best among the given runs whose measured peak memory fits. Runs on a CPU "
        "say nothing about a GPU's memory and are left out. `SER %` was measured in those runs."
    )
    return table


def best(own: Sequence[tuple[Group, Measure]]) -> list[tuple[Group | None, Measure | None]]:
    """The lowest SER for each kind of pictures. Runs without an SER only show their memory."""
    kinds: dict[str, tuple[Group | None, Measure | None]] = {}
    for group, peak in sorted(own, key=lambda pair: getattr(pair[0].score("ser"), "mean", float("inf"))):
        kinds.setdefault(group.degrade, (group, peak))
    return list(kinds.values())


def cells(group: Group, peak: Measure | None) -> list[Cell]:
    training = group.first.config.training
    batch = f"{training.batch_size} x {training.gradient_accumulation_steps}"
    return [group.technique, batch, peak, group.score("ser"), group.degrade or "clean"]


def peaks(groups: Sequence[Group]) -> Drawing:
    """A bar a backbone, on a logarithmic axis that reaches the largest tier."""
    title = "Figure 16: peak memory of the backbones"
    found = [(group, group.measure(lambda run: run.peak_gb)) for group in groups]
    shown = [(group, peak) for group, peak in found if peak is not None]
    if not shown:
        return Drawing("figure-16", title, None)
    figure, (axes,) = canvas(width=9, height=1.4 + 0.45 * len(shown))
    names = [group.backbone for group, _ in shown]
    axes.barh(names, [peak.mean for _, peak in shown], xerr=[peak.half or 0 for _, peak in shown], color=COLOURS[0])
    for number, (_, peak) in enumerate(shown):
        axes.annotate(
            f"{peak.mean:.2f} GB", (peak.high, number), (4, 0), textcoords="offset points", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    for limit in TIERS_GB:
        axes.axvline(limit, color=COLOURS[1], linestyle="--", linewidth=1)
        axes.annotate(
            f"{limit} GB", (limit, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", color=COLOURS[1],
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlim(min(peak.mean for _, peak in shown) / 2, 1.3 * TIERS_GB[-1])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel=f"{memory_name([group for group, _ in shown])}, GB, logarithmic")
    return Drawing("figure-16", title, figure, "Dashed lines: the GPU sizes of the study.")


def parts(groups: Sequence[Group]) -> Drawing:
    """Stacked bars of the backbones with the least, the middle and the most memory."""
    title = "Figure 20: where memory goes"
    found = [(group, group.measure(lambda run: run.peak_gb)) for group in groups]
    known = [(g, p) for g, p in found if p is not None and all(g.first.bytes_of(part) is not None for part in PARTS)]
    if not known:
        return Drawing("figure-20", title, None)
    known.sort(key=lambda pair: pair[1].mean)
    shown = [known[number] for number in sorted({0, len(known) // 2, len(known) - 1})]
    figure, (axes,) = canvas(width=8.5, height=4.6)
    names = [group.backbone for group, _ in shown]
    base = [0.0] * len(shown)
    rest = "activations" if all(group.first.on_gpu for group, _ in shown) else "activations, program and data"
    labels = {"optimizer": "optimizer states", "averages": "averaged weights"}
    rows = [(labels.get(part, part), [float(group.first.bytes_of(part) or 0) for group, _ in shown]) for part in PARTS]
    known_sums = [sum(values) for values in zip(*(row for _, row in rows), strict=True)]
    rows.append((rest, [max(0.0, peak.mean - known) for (_, peak), known in zip(shown, known_sums, strict=True)]))
    for (label, values), colour in zip(rows, COLOURS, strict=False):
        axes.bar(names, values, 0.5, bottom=base, label=label, color=colour)
        base = [low + value for low, value in zip(base, values, strict=True)]
    axes.grid(visible=False, axis="x")
    axes.set(ylabel=f"{memory_name([group for group, _ in shown])}, GB")
    handles, texts = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], texts[::-1], loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    note = (
        "Parameters, gradients, optimizer and averages are counted tensor by tensor. The rest is the measured peak "
        "less these."
    )
    return Drawing("figure-20", title, figure, note)
