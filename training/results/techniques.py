"""Tables 8 and 9, Figures 21 and 22: compares techniques of fine-tuning that started from the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .figure import (
    Drawing,
    backbone_style,
    canvas,
    fresh_groups,
    front,
    legend,
    main_groups,
    memory_name,
    technique_colour,
    with_bars,
)
from .groups import Group, differing
from .runs import Run
from .seed_means import Measure, ranks
from .table import Cell, Table, ratio

RANKS = ("full", "frozen", "lora 4", "lora 8", "lora 16")  # of Table 8
PACKED = ("full", "lora 8", "qlora 8")  # of Table 9
LEARNING_RATE = "training.optimizer.learning_rate"  # adapters take a higher one


def tables(groups: Sequence[Group]) -> list[Table]:
    return [adapters(groups), packed(groups)]


def figures(groups: Sequence[Group]) -> list[Drawing]:
    memory = fronts(
        "figure-21", "Figure 21: SER against memory, by technique", groups, lambda run: run.peak_gb,
        f"{memory_name(groups)}, GB", False,
    )  # fmt: skip
    speed = fronts(
        "figure-22", "Figure 22: SER against throughput, by technique", groups, lambda run: run.steps_per_second,
        "it/s", True,
    )  # fmt: skip
    return [memory, speed]


def same_beginning(groups: Sequence[Group]) -> list[list[Group]]:
    """Sets of groups that differ only in technique and learning rate; none if nothing is fine-tuned."""
    sets: list[list[Group]] = []
    for group in groups:
        if group.technique == "distill":
            continue
        for others in sets:
            apart = [name for name in differing(group, others[0]) if not name.startswith("technique.")]
            if group.backbone == others[0].backbone and set(apart) <= {LEARNING_RATE}:
                others.append(group)
                break
        else:
            sets.append([group])
    return [each for each in sets if any(member.technique != "full" or not member.fresh for member in each)]


def adapters(groups: Sequence[Group]) -> Table:
    table = Table(
        "table-08",
        "Table 8: full, frozen and LoRA of several ranks",
        (
            "backbone", "pictures learnt and read", "technique", "learning rate", "val loss before", "val loss",
            "SER % before", "SER %", "SER % on clean lines", "trainable parameters M", "peak memory GB",
            "SER against full, points", "place by SER",
        ),
        {"val loss before": 3, "val loss": 3},
    )  # fmt: skip
    for members in same_beginning(groups):
        by_name = {member.technique: member for member in members}
        names = dict.fromkeys([*RANKS, *(name for name in by_name if name not in PACKED)])
        places = ranks([by_name[name].score("ser") if name in by_name else None for name in names])
        for name, place in zip(names, places, strict=True):
            group = by_name.get(name)
            cells = adapted_row(group, by_name.get("full"), place) if group else []
            table.add(group, members[0].backbone, pictures(members[0]), name, *cells)
    if not table.rows:
        table.add(None)
    table.notes.append(
        "Before: the model that the run started from, on the same pictures. Against full: compared with full training "
        "of the same seed. Place: among the rows of one backbone, as in Table 6."
    )
    return table


def rate_of(group: Group) -> str:
    return f"{group.first.config.training.optimizer.learning_rate:g}"


def pictures(group: Group) -> str:
    return group.degrade or "clean"


def adapted_row(group: Group, full: Group | None, place: str | None) -> list[Cell]:
    before = group.before.of_seeds([run.seed for run in group.runs]) if group.before else None
    return [
        rate_of(group), before.score("loss", group.degrade) if before else None, group.score("loss"),
        before.score("ser", group.degrade) if before else None, group.score("ser"),
        group.score("ser", ""), group.first.parameters("trainable"), group.measure(lambda run: run.peak_gb),
        ser_less(group, full), place,
    ]  # fmt: skip


def ser_less(group: Group, full: Group | None) -> Measure | None:
    """Points of SER more than full fine-tuning; nothing for full itself."""
    return None if group is full else group.less(full, lambda run: run.score("ser", group.degrade))


def packed(groups: Sequence[Group]) -> Table:
    table = Table(
        "table-09",
        "Table 9: LoRA on weights in 4 bits",
        (
            "backbone", "pictures learnt and read", "technique", "learning rate", "val loss", "SER %", "peak memory GB",
            "SER against full, points", "memory against full", "it/s against full",
        ),
        {"val loss": 3},
    )  # fmt: skip
    for members in same_beginning(groups):
        by_name = {member.technique: member for member in members}
        full = by_name.get("full")
        for name in PACKED:
            group = by_name.get(name)
            cells = packed_row(group, full) if group else []
            table.add(group, members[0].backbone, pictures(members[0]), name, *cells)
    if not table.rows:
        table.add(None)
    return table


def packed_row(group: Group, full: Group | None) -> list[Cell]:
    peak, whole = group.measure(lambda run: run.peak_gb), full.measure(lambda run: run.peak_gb) if full else None
    rate, usual = (each.measure(lambda run: run.steps_per_second) if each else None for each in (group, full))
    return [
        rate_of(group), group.score("loss"), group.score("ser"), peak,
        ser_less(group, full), ratio(peak, whole), ratio(rate, usual),
    ]  # fmt: skip


def fronts(
    name: str, title: str, groups: Sequence[Group], cost: Callable[[Run], float | None], label: str, high: bool
) -> Drawing:
    """SER against a cost: a panel for each kind of pictures, coloured by technique, the front drawn as a line."""
    usual = main_groups(groups)
    plotted = [group for group in groups if group not in fresh_groups(groups) or group in usual]
    found = [(group, group.measure(cost), group.score("ser")) for group in plotted]
    points = [(group, x, y) for group, x, y in found if x is not None and y is not None]
    if not points:
        return Drawing(name, title, None)
    kinds = list(dict.fromkeys(pictures(group) for group, _, _ in points))
    figure, panels = canvas(len(kinds), 4.8 * len(kinds) + 1.8, 5.2)
    for axes, kind in zip(panels, kinds, strict=True):
        here = [(group, x, y) for group, x, y in points if pictures(group) == kind]
        draw(axes, here, high)
        axes.set(title=f"{kind} lines", xlabel=label, ylabel="SER, %")
        axes.margins(0.12)
    shown = [group for group, _, _ in points]
    techniques = sorted({group.technique for group in shown}, key=lambda t: [g.technique for g in shown].index(t))
    backbones = dict.fromkeys(group.backbone for group in shown)
    legend(figure, "technique", [(name, technique_colour(name), "o") for name in techniques])
    entries = [(name, "#777777", backbone_style(name)[1]) for name in backbones]
    legend(figure, "backbone", entries, "lower")
    better = "right and down" if high else "left and down"
    note = f"Better is {better}. The grey line joins the runs that no other run beats in both."
    return Drawing(name, title, figure, note)


def draw(axes: object, points: Sequence[tuple[Group, Measure, Measure]], high: bool) -> None:
    for group, x, y in points:
        with_bars(axes, x, y, technique_colour(group.technique), backbone_style(group.backbone)[1])
    best = front([(x.mean, y.mean) for _, x, y in points], high)
    axes.plot(*zip(*best, strict=True), color="#BBBBBB", linewidth=1.5, zorder=0)  # type: ignore[attr-defined]
