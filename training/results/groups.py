"""Groups runs that differ only in their seed: each group is a row of a table.

Settings that don't change what is learnt (how often a run logs, checks, saves) may differ inside a group. Machine,
number format and data set may not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .runs import Run
from .seed_means import Measure

SAME = (  # settings that may differ within a group
    "training.seed", "training.max_minutes", "training.log_every", "training.eval_every",
    "training.checkpoint_minutes", "training.checkpoint_steps", "data.num_workers", "data.eval_limit",
    "data.dataset_id", "hardware.device", "hardware.precision", "hardware.processor", "hardware.threads",
)  # fmt: skip
BACKBONE = "model.params.vision_model_name"
# The study's order.
BACKBONES = (
    "vit_small", "deit_small", "resnet50", "convnext_tiny", "swin_tiny", "efficientnet_b0", "mobilevit_s",
)  # fmt: skip
TECHNIQUES = ("full", "frozen", "lora 4", "lora 8", "lora 16", "qlora 8", "distill", "qat")


@dataclass(frozen=True, eq=False)
class Group:
    """Runs with different seeds of one configuration, on one machine and one data set.

    Attributes:
        runs: by seed.
        settings: what they have in common: dotted name -> value.
        before: the group whose weights they began with, if it is among the runs given.
        teacher: the group they were taught by, if it is.
    """

    runs: list[Run]
    settings: dict[str, Any]
    before: Group | None = None
    teacher: Group | None = None

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def backbone(self) -> str:
        return self.first.backbone

    @property
    def technique(self) -> str:
        return self.first.technique

    @property
    def degrade(self) -> str:
        """The degradation that is learnt; empty for clean pictures."""
        return self.first.config.data.degrade

    @property
    def fresh(self) -> bool:
        """Whether it began without another run's weights."""
        return not self.first.config.training.init_from

    def measure(self, value: Callable[[Run], float | None]) -> Measure | None:
        """The mean of something over the runs."""
        return Measure.of([value(run) for run in self.runs])

    def of_seeds(self, seeds: Sequence[int]) -> Group | None:
        """The same with only these seeds; None if it has none of them."""
        runs = [run for run in self.runs if run.seed in seeds]
        return replace(self, runs=runs) if runs else None

    def less(self, other: Group | None, value: Callable[[Run], float | None]) -> Measure | None:
        """The difference to another group, seed by seed, so that chance which both share cancels out."""
        theirs = {run.seed: value(run) for run in other.runs} if other else {}
        pairs = [(value(run), theirs[run.seed]) for run in self.runs if run.seed in theirs]
        return Measure.of([a - b if a is not None and b is not None else None for a, b in pairs])

    def score(self, name: str, degrade: str | None = None) -> Measure | None:
        """Of the val split, under the degradation that is learnt or a given one."""
        return self.measure(lambda run: run.score(name, self.degrade if degrade is None else degrade))


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def origin(path: str, runs: Sequence[Run]) -> Run | None:
    """The run that a path in a configuration means: the same folder, or the only run of that name."""
    if not path:
        return None
    folder = Path(path)
    folder = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    same = [run for run in runs if run.folder.resolve() == folder.resolve()]
    named = [run for run in runs if run.folder.name == folder.name]
    return same[0] if same else named[0] if len(named) == 1 else None


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """All groups, in the study's order of backbones and techniques."""
    made: dict[str, Group] = {}
    names: dict[Path, str] = {}

    def name_of(run: Run) -> str:
        """A key for the group of a run; it includes the key of the run it started from."""
        if run.folder not in names:
            before, teacher = parents(run, runs)
            settings = settings_of(run)
            settings["training.init_from"] = name_of(before) if before else run.config.training.init_from
            settings["technique.teacher"] = name_of(teacher) if teacher else run.config.technique.teacher
            names[run.folder] = json.dumps(settings, sort_keys=True)
            group = made.setdefault(names[run.folder], Group([], settings))
            group.runs.append(run)
        return names[run.folder]

    for run in runs:
        name_of(run)
    linked: dict[str, Group] = {}

    def link(name: str) -> Group:
        if name not in linked:
            group = made[name]
            before, teacher = group.settings["training.init_from"], group.settings["technique.teacher"]
            linked[name] = replace(
                group,
                runs=sorted(group.runs, key=lambda run: run.seed),
                before=link(before) if before in made else None,
                teacher=link(teacher) if teacher in made else None,
            )
        return linked[name]

    return sorted((link(name) for name in made), key=place)


def parents(run: Run, runs: Sequence[Run]) -> tuple[Run | None, Run | None]:
    """The runs whose weights and whose lessons a run began with."""
    others = [other for other in runs if other is not run]
    return origin(run.config.training.init_from, others), origin(run.config.technique.teacher, others)


def settings_of(run: Run) -> dict[str, Any]:
    """Everything that tells two groups apart, except their parents."""
    settings = {key: value for key, value in flat(asdict(run.config)).items() if key not in SAME}
    settings[BACKBONE] = run.backbone
    return settings | {"machine": run.machine, "data": run.data, "step": run.step}


def place(group: Group) -> tuple[int, int, str]:
    """Where a group comes in a table. What isn't in the study comes last."""
    backbones, techniques = [*BACKBONES, group.backbone], [*TECHNIQUES, group.technique]
    name = str(group.first.folder)
    return backbones.index(group.backbone), techniques.index(group.technique), name


def differing(group: Group, other: Group) -> list[str]:
    """Settings in which two groups differ, but for the backbone."""
    keys = {*group.settings, *other.settings} - {BACKBONE}
    return sorted(key for key in keys if group.settings.get(key) != other.settings.get(key))
