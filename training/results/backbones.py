"""Tables 6 and 7, Figures 12 to 14: the backbones, each trained in full."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.patches import Patch

from .figure import (
    COLOURS,
    FAMILIES,
    Drawing,
    backbone_style,
    canvas,
    fresh_groups,
    legend,
    main_groups,
    sharing,
    with_bars,
)
from .groups import BACKBONES, Group, differing
from .runs import Run
from .seed_means import Measure, ranks
from .table import Cell, Table, listed, ratio

# it/s at batch 8 on one 32 GB GPU, from the study's Table 7.
PUBLISHED_SPEED = {
    "vit_small": 2.91, "resnet50": 2.43, "deit_small": 2.39, "convnext_tiny": 2.26, "efficientnet_b0": 1.89,
    "mobilevit_s": 1.47,
}  # fmt: skip
SAME = ("vit_small", "deit_small")  # but for pretrained weights


def tables(groups: Sequence[Group]) -> list[Table]:
    return [results(groups), speeds(groups)]


def figures(groups: Sequence[Group]) -> list[Drawing]:
    chosen = main_groups(groups)
    return [curves(chosen), families(chosen), sizes(chosen)]


def every_backbone(groups: Sequence[Group]) -> list[tuple[str, Group | None]]:
    """The groups trained in full from their beginning, and None for each of the study's that has none."""
    fresh = fresh_groups(groups)
    known = [*BACKBONES, *dict.fromkeys(g.backbone for g in fresh if g.backbone not in BACKBONES)]
    by_name: dict[str, list[Group | None]] = {name: [g for g in fresh if g.backbone == name] for name in known}
    return [(name, group) for name, own in by_name.items() for group in own or [None]]


def results(groups: Sequence[Group]) -> Table:
    table = Table(
        "table-06",
        "Table 6: the backbones trained in full",
        (
            "backbone", "val loss", "SER %", "CER %", "whole lines right %", "parameters M", "it/s", "s an epoch",
            "peak memory GB", "place by SER", "differs in",
        ),
        {"val loss": 3, "s an epoch": 0, "parameters M": 1},
    )  # fmt: skip
    rows, usual = every_backbone(groups), usual_group(groups)
    equal = [group is not None and usual is not None and not differing(group, usual) for _, group in rows]
    sers = [group.score("ser") if group and same else None for (_, group), same in zip(rows, equal, strict=True)]
    for (name, group), rank in zip(rows, ranks(sers), strict=True):
        table.add(group, name, *(full_row(group, usual, rank) if group else []))
    table.notes.append(
        "Place: the row's place by SER among the rows that differ only in the backbone, or the places it may have "
        "where 95 % intervals overlap. A dash: one seed, or an interval that overlaps with every other."
    )
    untaught = {name for name, group in rows if group and not group.first.config.model.params.pretrained}
    if untaught.issuperset(SAME):
        table.notes.append(
            f"{' and '.join(SAME)} are one network with different pretrained weights. Without those the "
            "same seed gives the same run."
        )
    return table


def usual_group(groups: Sequence[Group]) -> Group | None:
    """A group with the settings that most backbones share."""
    fresh = fresh_groups(groups)
    return max(fresh, key=lambda group: sharing(group, fresh), default=None)


def full_row(group: Group, usual: Group | None, rank: str | None) -> list[Cell]:
    differences = [f"{name.rsplit('.', 1)[-1]} {group.settings[name]}" for name in differing(group, usual or group)]
    return [
        group.score("loss"), group.score("ser"), group.score("cer"), group.score("sequence_accuracy"),
        group.first.parameters("total"), group.measure(lambda run: run.steps_per_second),
        group.measure(lambda run: run.seconds_per_epoch), group.measure(lambda run: run.peak_gb), rank,
        listed(differences),
    ]  # fmt: skip


def speeds(groups: Sequence[Group]) -> Table:
    table = Table(
        "table-07",
        "Table 7: speed of training against the encoder's size",
        ("backbone", "encoder parameters M", "it/s", "against the fastest", "published it/s"),
        {"encoder parameters M": 1},
    )
    chosen = {group.backbone: group for group in main_groups(groups)}
    rates = {name: group.measure(lambda run: run.steps_per_second) for name, group in chosen.items()}
    fastest = max((rate for rate in rates.values() if rate), key=lambda rate: rate.mean, default=None)
    for name in dict.fromkeys([*BACKBONES, *chosen]):
        group, rate = chosen.get(name), rates.get(name)
        encoder = group.first.parameters("encoder") if group else None
        table.add(group, name, encoder, rate, ratio(rate, fastest), PUBLISHED_SPEED.get(name))
    table.notes.append(
        "Published it/s: from the study's Table 7, for batches of 8 on one GPU of 32 GB. Not measured here."
    )
    return table


def curves(groups: Sequence[Group]) -> Drawing:
    """Training and validation loss over steps; a line a seed."""
    title = "Figure 12: training and validation loss of the backbones"
    if not any(group.first.steps for group in groups):
        return Drawing("figure-12", title, None)
    figure, (left, right) = canvas(2, 12, 4.8)
    for group in groups:
        colour, marker = backbone_style(group.backbone)
        for number, run in enumerate(group.runs):
            label = group.backbone if number == 0 else None
            lines = [row for row in run.steps if "token" in row]
            left.plot([r["step"] for r in lines], [r["token"] for r in lines], color=colour, linewidth=1)
            points = validation(run)
            right.plot(*points, color=colour, marker=marker, markersize=5, linewidth=1, label=label)
    left.set(title="training", xlabel="step", ylabel="cross-entropy a token")
    right.set(title="validation", xlabel="step", ylabel="cross-entropy a token", xlim=left.get_xlim())
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    note = "Training: means since the log line before, with dropout. Validation: with averaged weights."
    return Drawing("figure-12", title, figure, note)


def validation(run: Run) -> tuple[list[int], list[float]]:
    """Steps and losses of the checks during training, under the degradation that is learnt."""
    name = "degraded_loss" if run.config.data.degrade else "loss"
    rows = [row for row in run.checks if name in row]
    return [row["step"] for row in rows], [row[name] for row in rows]


def families(groups: Sequence[Group]) -> Drawing:
    """SER and CER, backbones of a family side by side."""
    title = "Figure 13: error rates by family"
    shown = sorted((g for g in groups if g.score("ser")), key=lambda g: FAMILIES.index(g.first.family))
    if not shown:
        return Drawing("figure-13", title, None)
    figure, (axes,) = canvas(width=10, height=4.8)
    places: list[float] = []
    for group in shown:
        gap = 1.6 if places and shown[len(places) - 1].first.family != group.first.family else 1.0
        places.append(places[-1] + gap if places else 0.0)
    for number, (name, label) in enumerate([("ser", "SER"), ("cer", "CER")]):
        for x, group in zip(places, shown, strict=True):
            value = group.score(name)
            if value is not None:
                colour = COLOURS[FAMILIES.index(group.first.family)]
                at = x + 0.4 * number - 0.2
                axes.bar(at, value.mean, 0.38, yerr=value.half, capsize=3, color=colour, alpha=1 - 0.5 * number)
                axes.annotate(label, (at, 0), (0, 3), textcoords="offset points", ha="center", fontsize=7)
    axes.set_xticks(places, [group.backbone for group in shown], rotation=20)
    axes.grid(visible=False, axis="x")
    axes.set(ylabel="error rate, %", ylim=(0, None))
    present = [name for name in FAMILIES if any(group.first.family == name for group in shown)]
    handles = [Patch(color=COLOURS[FAMILIES.index(name)], label=name) for name in present]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return Drawing("figure-13", title, figure, "Dark: SER, over tokens; light: CER, over characters.")


def sizes(groups: Sequence[Group]) -> Drawing:
    """Parameters against SER."""
    title = "Figure 14: parameters against SER"
    points = [(group, group.first.parameters("total"), group.score("ser")) for group in groups]
    shown = [(group, size, ser) for group, size, ser in points if size is not None and ser is not None]
    if not shown:
        return Drawing("figure-14", title, None)
    figure, (axes,) = canvas(width=8)
    for group, size, ser in shown:
        with_bars(axes, Measure(size), ser, *backbone_style(group.backbone))
    axes.set(xlabel="parameters of the whole model, million", ylabel="SER, %")
    axes.margins(0.1)
    legend(figure, "backbone", [(group.backbone, *backbone_style(group.backbone)) for group, _, _ in shown])
    return Drawing("figure-14", title, figure)
