"""Reads a sweep's YAML file, which lists runs by what differs between them.

    data:                       a data set as `omr-data build` makes it: size, seed, mix, engraver;
      size: 5000                  or `folder:` with a data set (or an id on the hub) that is there already
    evaluate:                   how every run is read in the end, beside the checks during training
      split: val
      limit: 256
      degrade: [clean, phone]
    common: {...}               a configuration, as in configs/, that all runs share
    runs:
      clean:                    a group of runs
        seeds: [1, 2]
        each:                   a run for every combination of these
          vision_model_name: [resnet50, deit_small]
        set: {max_steps: 500}   what else differs from `common`; keys as on the command line of omr-train
      phone:
        begins_with: {run: clean}                                   a run of that group, with the same seed and the
        teacher: {run: clean, vision_model_name: resnet50}            same settings but those given here

All runs of one seed come first, in the order of the file, then those of the next. So a sweep that is stopped still has
comparable runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from runtime.errors import ConfigError
from training.config import Config, build, full_key, merge, read_yaml
from training.loop.technique import get_technique
from training.model.backbone import backbone_name
from training.results.groups import flat

PARENTS = ("training.init_from", "technique.teacher")
KEYS = {
    "": ("data", "evaluate", "common", "runs"),
    "data": ("folder", "size", "seed", "mix", "engraver"),
    "evaluate": ("split", "limit", "degrade"),
    "runs": ("seeds", "each", "set", "begins_with", "teacher"),
}


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: of its folder: group, values that differ, seed.
        group: it belongs to.
        config: all of it.
        needs: names of the runs that must be finished before.
    """

    name: str
    group: str
    config: Config
    needs: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Dotted name -> value."""
        return flat(asdict(self.config))

    @property
    def seed(self) -> int:
        return self.config.training.seed


@dataclass(frozen=True)
class Sweep:
    """Everything to be done.

    Attributes:
        data: options of `omr-data build`, empty where the data set is there already.
        dataset: its folder or id.
        split: that is read in the end.
        limit: lines of it; 0: all.
        presets: degradations it is read under; empty for clean.
        jobs: in order; what a job needs comes before it.
    """

    data: Mapping[str, Any]
    dataset: str
    split: str
    limit: int
    presets: tuple[str, ...]
    jobs: list[Job]


def read_sweep(file: Path, out: Path) -> Sweep:
    """Read a sweep's file and lay out its runs below `out`.

    Raises:
        ConfigError: something in it can't be; the message names it.
    """
    content = read_yaml(file)
    known(content, "", str(file))
    for name in ("data", "evaluate", "common", "runs"):
        if not isinstance(content.get(name, {}), Mapping):
            raise ConfigError(f"{file}: {name} is {content[name]!r}; expected keys and values")
    data, reading = content.get("data") or {}, content.get("evaluate") or {}
    known(data, "data", str(file))
    known(reading, "evaluate", str(file))
    if ("folder" in data) == ("size" in data):
        raise ConfigError(f"{file}: data needs a size to build, or the folder of a data set, and not both")
    presets = reading.get("degrade") or ["clean"]
    if not content.get("runs"):
        raise ConfigError(f"{file} has no runs; name a group of them under runs, with seeds, each and set")
    dataset = str(data.get("folder") or out / "data")
    jobs: list[Job] = []
    for group, told in content["runs"].items():
        if not isinstance(told or {}, Mapping):
            raise ConfigError(f"{file}: runs.{group} is {told!r}; expected keys and values")
        known(told or {}, "runs", f"{file}: runs.{group}")
        jobs += group_jobs(group, told or {}, content.get("common") or {}, jobs, dataset, out)
    return Sweep(
        data={} if "folder" in data else data,
        dataset=dataset,
        split=str(reading.get("split", "val")),
        limit=int(reading.get("limit", 0)),
        presets=tuple("" if name == "clean" else str(name) for name in presets),
        jobs=sorted(jobs, key=lambda job: seeds_of(content["runs"][job.group] or {}).index(job.seed)),
    )


def known(values: Mapping[str, Any], part: str, where: str) -> None:
    """Raises ConfigError for a key that this part of the file can't have."""
    for key in values:
        if key not in KEYS[part]:
            raise ConfigError(f"{where} has no use for {key!r}; it knows {', '.join(KEYS[part])}")


def seeds_of(told: Mapping[str, Any]) -> list[int]:
    return [int(seed) for seed in told.get("seeds") or [1]]


def group_jobs(
    group: str, told: Mapping[str, Any], common: Mapping[str, Any], before: Sequence[Job], dataset: str, out: Path
) -> list[Job]:
    """A group's runs, for all its seeds."""
    each, jobs = told.get("each") or {}, []
    for seed in seeds_of(told):
        for values in itertools.product(*each.values()):
            chosen = dict(zip(each, values, strict=True))
            name = "-".join([group, *(label(key, value) for key, value in chosen.items()), f"s{seed}"])
            settings = {"data.dataset_id": dataset, **(told.get("set") or {}), **chosen, "training.seed": seed}
            config = configured(common, settings)
            needs = []
            for reference, key in (("begins_with", "training.init_from"), ("teacher", "technique.teacher")):
                if reference in told:
                    parent = referred(told[reference], config, before, f"runs.{group}.{reference}")
                    settings[key] = str(out / "runs" / parent.name)
                    needs.append(parent.name)
            jobs.append(Job(name, group, checked(configured(common, settings), name), tuple(needs)))
    return jobs


def label(key: str, value: Any) -> str:
    """How a value appears in a run's name: a name as it is, a number after its setting."""
    return value.replace("/", "_") if isinstance(value, str) else f"{key.rsplit('.', 1)[-1]}_{value}"


whole_key = cache(full_key)  # which looks through all settings each time


def configured(common: Mapping[str, Any], settings: Mapping[str, Any]) -> Config:
    """The shared configuration with a run's own settings."""
    merged = dict(common)
    for key, value in settings.items():
        for part in reversed(whole_key(str(key)).split(".")):
            value = {part: value}
        merged = merge(merged, value)
    config: Config = build(Config, merged, "")
    return config


def checked(config: Config, name: str) -> Config:
    """Refuse before the first run what would fail later.

    Raises:
        OmrError: an unknown backbone or technique, or a run without a number of steps.
    """
    backbone_name(config.model.params.vision_model_name)
    get_technique(config.technique)
    if config.training.max_steps < 1:
        raise ConfigError(f"run {name} has no number of steps: set training.max_steps, so that runs are comparable")
    return config


def referred(reference: Any, config: Config, before: Sequence[Job], where: str) -> Job:
    """The run that a reference means.

    Raises:
        ConfigError: there is none, or more than one.
    """
    if not isinstance(reference, Mapping) or "run" not in reference:
        raise ConfigError(f"{where} is {reference!r}; expected {{run: GROUP}}, with further keys where they differ")
    fixed = {whole_key(str(key)): value for key, value in reference.items() if key != "run"}
    group = [job for job in before if job.group == reference["run"] and job.seed == config.training.seed]
    settings, own = [job.settings for job in group], flat(asdict(config))
    varied = {key for key in own if key not in PARENTS and any(each[key] != settings[0][key] for each in settings)}
    wanted = {key: fixed.get(key, own[key]) for key in varied} | fixed
    found = [job for job in group if all(job.settings[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        told = ", ".join(f"{key} {value}" for key, value in wanted.items())
        raise ConfigError(
            f"{where}: {len(found)} runs of group {reference['run']!r} have seed {config.training.seed}"
            f"{' and ' + told if told else ''}, one is needed; groups stand before those that begin with them"
        )
    return found[0]
