"""Reads configurations: merges YAML files in order, applies `key=value` overrides, and builds frozen dataclasses.

The published study's reference configuration loads unchanged; what it doesn't set has a default here. Values are
converted to the field's type, because PyYAML reads `3e-4` as text. For an unknown key the error names the nearest one.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from runtime.errors import ConfigError
from runtime.output import write_whole

from .limits import check_number


@dataclass(frozen=True)
class ModelParams:
    """Sizes of MusicTrOCR, and weights of its extra losses."""

    vision_model_name: str = "pocket_cnn"  # a file name in training/backbones, or the hub id of one
    pretrained: bool = True
    d_model: int = 512
    n_heads: int = 8
    n_decoder_layers: int = 6
    d_ff: int = 2048
    max_seq_len: int = 2048
    dropout: float = 0.1
    memory: str = "grid"  # grid: every feature; columns: the height collapsed
    mixers: int = 2  # layers that let neighbouring columns see each other
    feed_columns: bool = False  # tell the decoder the classes found in each column
    dense_weight: float = 0.0  # loss of symbol class, staff position, duration of each column
    ctc_weight: float = 0.0  # loss of the tokens read from the columns only
    guide_weight: float = 0.0  # loss of where one head of the last two layers looks


@dataclass(frozen=True)
class ModelConfig:
    type: str = "MusicTrOCR"
    params: ModelParams = field(default_factory=ModelParams)


@dataclass(frozen=True)
class DataConfig:
    """Where lines come from and how their pictures are prepared."""

    dataset_id: str = ""  # a folder (omr-data build, save_to_disk, parquet files), or an id on the hub
    tokenizer_id: str = "atoms"  # atoms, a tokenizer.json or its folder, or an id on the hub
    labels: str = ""  # verbatim, canonical; empty: canonical with atoms, verbatim with other tokenizers
    img_height: int = 224  # px
    preparation: str = "height"  # height, or staff_space
    staff_space: float = 0.0  # px, for preparation staff_space
    channels: int = 0  # 0: what the backbone takes
    whiten: bool = True
    width_buckets: tuple[int, ...] = ()  # px; empty: the shipped ones, scaled to the height
    degrade: str = ""  # preset of training.data.degradation.degrade; empty: clean pictures
    degrade_share: float = 0.7  # of the pictures seen
    train_limit: int = 0  # lines of the train split used; 0: all
    eval_limit: int = 128  # lines of the val split read at each evaluation
    num_workers: int = 0


@dataclass(frozen=True)
class OptimizerConfig:
    type: str = "AdamW"
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    ema_decay: float = 0.999  # averaged weights; 0: none


@dataclass(frozen=True)
class SchedulerConfig:
    type: str = (
        "LinearWarmup"  # then down to final_ratio: LinearWarmup, Cosine, or Trapezoid (constant, then down)
    )
    warmup_ratio: float = 0.03
    final_ratio: float = 0.0  # of the learning rate, at the last step
    decay_ratio: float = 0.2  # of the steps, for Trapezoid


@dataclass(frozen=True)
class CurriculumConfig:
    """Wide lines come later: the width limit grows evenly from `start_width` until, after `steps`, all lines fit."""

    steps: int = 0  # 0: no curriculum
    start_width: int = 256  # px


@dataclass(frozen=True)
class TrainingConfig:
    batch_size: int = 8
    batch_width: int = (
        0  # px; every batch holds as many pixels as batch_size lines so wide; 0: batch_size lines
    )
    gradient_accumulation_steps: int = 4
    epochs: float = 10
    max_steps: int = 0  # instead of epochs
    max_minutes: float = 0  # stop after so long, with a checkpoint; 0: never
    seed: int = 1
    label_smoothing: float = 0.0
    empty_weight: float = 0.25  # of columns with nothing in them, in the dense loss
    init_from: str = ""  # a checkpoint: its weights, nothing else
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    log_every: int = 10  # steps
    eval_every: int = 1000  # steps; 0: only at the end
    checkpoint_minutes: float = 10
    checkpoint_steps: int = 0  # also every so many steps; 0: only by the clock
    max_skipped_steps: int = 10  # in a row whose loss or gradients aren't finite; then the run stops
    wandb: str = ""  # a project of Weights & Biases that gets the log, too


@dataclass(frozen=True)
class TechniqueConfig:
    """Which weights are trained, and how. A setting that the technique doesn't use must keep its default."""

    name: str = "full"  # a file name in training/techniques
    rank: int = 8  # of each adapter (lora, qlora)
    alpha: float = 16.0  # an adapter's output is multiplied by alpha / rank
    adapter_dropout: float = 0.0  # of what goes into an adapter
    targets: str = "auto"  # where adapters go: all, encoder; auto: wherever weights were learnt before this run
    teacher: str = ""  # a checkpoint (distill)
    kd_alpha: float = 0.5  # the labels' share of the tokens' loss; the rest is the teacher's
    temperature: float = 2.0  # both models' logits are divided by it before they are compared


@dataclass(frozen=True)
class HardwareConfig:
    device: str = "auto"  # auto, cpu, cuda
    mixed_precision: bool = True
    precision: str = "auto"  # auto: measured; fp32, bf16, fp16
    processor: str = ""  # the one that precision was measured on
    threads: int = 0  # 0: as many as this process may use
    sharding: str = "none"  # none: each process of torchrun holds the whole model; fsdp: its part of it
    gradient_checkpointing: str = "none"  # what is computed twice to save memory: none, decoder, all


@dataclass(frozen=True)
class Config:
    """One run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    technique: TechniqueConfig = field(default_factory=TechniqueConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


def load_config(files: Sequence[Path], overrides: Sequence[str] = ()) -> Config:
    """Read configuration files, later ones win, and apply `key=value` overrides.

    Args:
        files: YAML files.
        overrides: `training.max_steps=100`, or the end of a key where only one key ends so.

    Raises:
        ConfigError: a file that isn't one, an unknown key, a value of the wrong kind.
    """
    merged: dict[str, Any] = {}
    for file in files:
        content = read_yaml(file)
        build(Config, content, "")  # each must be right by itself: what wins over it would hide a mistake
        merged = merge(merged, content)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"override {override!r} has no '='; write it as training.max_steps=100")
        value = yaml.safe_load(text) if text else ""
        for part in reversed(full_key(key.strip()).split(".")):
            value = {part: value}
        merged = merge(merged, value)
    config: Config = build(Config, merged, "")
    if config.model.type != ModelConfig.type:
        raise ConfigError(f"model.type is {config.model.type!r}; {ModelConfig.type} is the one there is")
    return config


def read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"configuration {file} can't be read: expected a YAML file such as configs/pocket.yaml"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"configuration {file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        names = ", ".join(item.name for item in fields(Config))
        raise ConfigError(f"configuration {file} holds no keys; expected {names}")
    return dict(content)


def save_config(config: Config, file: Path) -> None:
    """Write the resolved configuration; `load_config` reads it back equal."""
    write_whole(file, yaml.safe_dump(plain(asdict(config)), sort_keys=False).encode())


def plain(value: Any) -> Any:
    """Turns tuples into lists, because YAML has no tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both, `second` winning key by key."""
    merged = dict(first)
    for key, value in second.items():
        before = merged.get(key)
        merged[key] = (
            merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def keys(kind: type = Config, prefix: str = "") -> list[str]:
    """Dotted names of all settings."""
    hints = typing.get_type_hints(kind)
    found: list[str] = []
    for item in fields(kind):
        name = f"{prefix}{item.name}"
        found += keys(hints[item.name], f"{name}.") if is_dataclass(hints[item.name]) else [name]
    return found


def full_key(key: str) -> str:
    """The full name of a setting: the key itself, or the only setting that ends with it."""
    if any(name == key or name.startswith(f"{key}.") for name in keys()):
        return key
    ending = [name for name in keys() if name.endswith(f".{key}")]
    if len(ending) > 1:
        raise ConfigError(f"override key {key!r} could be {' or '.join(ending)}; write the whole key")
    return ending[0] if ending else key  # an unknown one fails in `build`, with the nearest name


def build(kind: Any, values: Any, path: str) -> Any:
    """A dataclass from nested mappings, each value converted to its field's type."""
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{path.rstrip('.') or 'the configuration'} is {values!r}; expected keys and values"
        )
    hints = typing.get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    for key in values:
        if key not in names:
            raise ConfigError(f"unknown key {path}{key}{nearest(f'{path}{key}')}")
    made = {
        key: build(hints[key], value, f"{path}{key}.")
        if is_dataclass(hints[key])
        else convert(value, hints[key], f"{path}{key}")
        for key, value in values.items()
    }
    for key, value in made.items():
        check_number(f"{path}{key}", value)
    return kind(**made)


def nearest(name: str) -> str:
    """A hint at the setting most like `name`: its last part counts first."""
    by_end = {known.rsplit(".", 1)[-1]: known for known in keys()}
    end = difflib.get_close_matches(name.rsplit(".", 1)[-1], by_end, n=1, cutoff=0.7)
    whole = [by_end[end[0]]] if end else difflib.get_close_matches(name, keys(), n=1, cutoff=0)
    return f"; did you mean {whole[0]}?" if whole else ""


def convert(value: Any, kind: Any, name: str) -> Any:
    """`value` as `kind` (str, int, float, bool, or a tuple of them)."""
    wanted = getattr(kind, "__name__", str(kind))
    try:
        if isinstance(kind, types.GenericAlias):
            item, length = kind.__args__[0], len(kind.__args__) if Ellipsis not in kind.__args__ else None
            wanted = f"list of {length or ''} {item.__name__}".replace("  ", " ")
            if not isinstance(value, (list, tuple)) or (length and len(value) != length):
                raise ValueError
            return tuple(convert(part, item, name) for part in value)
        if kind is bool:
            if str(value).lower() not in ("true", "false"):
                raise ValueError
            return str(value).lower() == "true"
        if isinstance(value, (bool, list, dict)) or (value is None and kind is not str):
            raise ValueError
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        if kind is int:
            return int(float(value))
        return "" if value is None else kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {value!r}; expected {wanted}") from error
