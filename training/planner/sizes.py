"""The sizes that a plan is for, and the values they may have.

By default a plan is for the largest batch: the widest bucket, and labels as long as the model can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runtime.errors import ConfigError
from training.config import Config
from training.loading.batches import make_preparation
from training.loading.order import Plan

GPU_GB, LINES, HEIGHT = (8, 80), (1, 64), (128, 320)  # the study's inputs: GB, lines of a batch, px
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Sizes:
    """Of the batches that a step is made of.

    Attributes:
        lines: of a batch.
        height: of its pictures in px.
        width: the same.
        tokens: of its longest label.
        precision: of autocast; fp32: none.
        batches: in a step (gradient accumulation).
    """

    lines: int
    height: int
    width: int
    tokens: int
    precision: str
    batches: int


def within(name: str, value: float, limits: tuple[int, int], unit: str) -> None:
    """Refuse a value outside a range.

    Raises:
        ConfigError: it does.
    """
    low, high = limits
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value:g}; expected {low} to {high}{unit}")


def precision_of(config: Config) -> str:
    """Of a run on a GPU: `auto` means half precision there."""
    hardware = config.hardware
    if not hardware.mixed_precision:
        return "fp32"
    if hardware.precision not in ("auto", *PRECISIONS):
        raise ConfigError(f"hardware.precision is {hardware.precision!r}; use auto, fp32, bf16 or fp16")
    return "bf16" if hardware.precision == "auto" else hardware.precision


def sizes_of(config: Config, width: int = 0, tokens: int = 0) -> Sizes:
    """The sizes a configuration asks for.

    Args:
        config: of the run.
        width: of the pictures in px, up to a bucket's end; 0: the widest bucket.
        tokens: of the longest label; 0: as many as the model holds.

    Raises:
        ConfigError: a width beyond the widest bucket, or more tokens than the model holds.
    """
    preparation, longest = make_preparation(config), config.model.params.max_seq_len
    buckets = preparation.width_buckets
    within("--width", width or buckets[-1], (1, buckets[-1]), " px, the widest of data.width_buckets")
    within("--tokens", tokens or longest, (1, longest), ", model.params.max_seq_len")
    bucket = next(bucket for bucket in buckets if bucket >= (width or buckets[-1]))
    training = config.training
    return Sizes(
        lines=Plan.of(config, [], preparation, 1).size(bucket),
        height=preparation.height,
        width=bucket,
        tokens=tokens or longest,
        precision=precision_of(config),
        batches=training.gradient_accumulation_steps,
    )


def splits(config: Config, most: int = LINES[1]) -> list[Config]:
    """The same step in batches of one line up to `most` lines, as far as they divide it."""
    training = config.training
    step = training.batch_size * training.gradient_accumulation_steps
    sizes = [lines for lines in range(1, min(step, most) + 1) if step % lines == 0]
    return [
        replace(config, training=replace(training, batch_size=lines, gradient_accumulation_steps=step // lines))
        for lines in sizes
    ]
