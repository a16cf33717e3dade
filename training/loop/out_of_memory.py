"""When a step runs out of memory, finds the batch size that would fit: measures fewer lines of the same batch and
estimates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from runtime.errors import OmrError

from ..config import Config
from ..hardware import memory
from ..loading.batches import Batch
from ..saving.checkpoint import way_on
from .run import Run

Learn = Callable[[Run, Batch], Any]
Result = TypeVar("Result")
SPARE = 0.9  # of the memory: pieces of it are too small to be used, and lines differ


def within_memory(
    run: Run, batches: Sequence[Batch], widest: int, step: Callable[[Run, Sequence[Batch]], Result], learn: Learn
) -> Result:
    """Run a step. If it runs out of memory, raise an error that names the batch size that would fit.

    Args:
        run: whose step it is.
        batches: of the step.
        widest: bucket that a line of the data set needs, px.
        step: takes it.
        learn: computes a batch's gradients.

    Raises:
        OmrError: memory ran out.
    """
    try:
        return step(run, batches)
    except Exception as error:
        if not memory.ran_out(error):
            raise
        failure = memory.first_line(error)
    # Out of the handler, so that no traceback holds what the step had computed.
    raise OmrError(advice(run, batches, widest, learn, failure))


def advice(run: Run, batches: Sequence[Batch], widest: int, learn: Learn, failure: str) -> str:
    """What to do about a step that ran out of memory, measured on its largest batch."""
    batch = max(batches, key=lambda batch: batch.image_BCHW.numel())
    lines, width = batch.image_BCHW.shape[0], batch.image_BCHW.shape[-1]
    config, device = run.config, run.accelerator.device
    before = f"out of memory in step {run.step + 1} with {lines} lines of {width} px"
    if run.accelerator.num_processes > 1:  # the others wait for this one: nothing can be tried
        halved = max(1, config.training.batch_size // 2)
        return (
            f"{before} ({failure}): try training.batch_size={halved}, {keeping(config, halved)}; {way_on(run.folder)}"
        )

    def attempt(count: int) -> None:
        run.optimizer.zero_grad(set_to_none=True)
        learn(run, batch.first(count))

    run.optimizer.zero_grad(set_to_none=True)
    found = fit(device, lines, states_to_come(run), attempt)
    if not found.tried:  # too much for one line, or memory in pieces too small for anything
        guess = max(1, config.training.batch_size // 2)
        less = ", or ".join(leaner(config))
        return (
            f"{before}, and not one of them could be computed afterwards, so nothing is measured: try "
            f"training.batch_size={guess}, {keeping(config, guess)}; if that is no help, {less}; {way_on(run.folder)}"
        )
    kind = "this GPU" if device.type == "cuda" else "this process"
    measured = f"{kind} had {size_of(found.limit)}, {size_of(found.base)} of it for all but the batch"
    if found.line:
        measured += f", and a line takes {size_of(found.line)} (measured with {found.tried})"
    return f"{before}; {measured}: {sizes(config, found.lines, width, widest)}; {way_on(run.folder)}"


class Fit(NamedTuple):
    """What is known of a batch that was too large.

    Attributes:
        lines: of it that would fit, by estimate; 0: less than one.
        limit: bytes the process could have.
        base: bytes it takes without a batch.
        line: bytes a line takes, 0 where that couldn't be measured.
        tried: lines that were tried and fit, 0: none.
    """

    lines: int
    limit: int
    base: int
    line: int
    tried: int


def fit(device: torch.device, lines: int, missing: int, attempt: Callable[[int], None]) -> Fit:
    """Halve a batch that was too large until it fits, measure that, and estimate how many lines would fit.

    Args:
        device: where it is computed.
        lines: of the batch.
        missing: bytes that a step will need beside the batch and that aren't taken yet.
        attempt: (lines) -> computes with so many of them.
    """
    limit = memory.available(device)
    memory.give_back(device)
    base, tried = memory.in_use(device), lines // 2
    while tried:
        measured = memory.restart_peak(device)
        try:
            attempt(tried)
        except Exception as error:
            if not memory.ran_out(error):
                raise
        else:
            break
        memory.give_back(device)
        tried //= 2
    if not tried:
        return Fit(0, limit, base, 0, 0)
    line = max(0, memory.peak(device) - base) // tried if measured else 0
    room = SPARE * (limit - base - missing)
    fitting = int(room // line) if line else tried
    return Fit(max(0, min(fitting, lines - 1)), limit, base, line, tried)


def states_to_come(run: Run) -> int:
    """Bytes of the optimizer's two states a weight, which the first update makes."""
    trained = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    return sum(2 * p.numel() * p.element_size() for p in trained if p not in run.optimizer.state)


def sizes(config: Config, lines: int, width: int, widest: int) -> str:
    """Settings with which a batch has no more pixels than `lines` lines of `width` px.

    Args:
        lines: that fit, by estimate.
        width: px.
        widest: bucket that a line of the data set needs, px.
    """
    training, pixels = config.training, lines * width
    size = pixels // (training.batch_width or widest)
    if lines < 1 or size < 1:
        return f"not one line fits by this estimate: {', or '.join(leaner(config))}"
    said = f"by this estimate training.batch_size={size} fits"
    if not training.batch_width and (narrow := pixels // training.batch_size // 32 * 32) >= 32:
        said += f" (or batch_size={training.batch_size} with batch_width={narrow}, which makes wide batches smaller)"
    return f"{said}, {keeping(config, size)}; to need less, {', or '.join(leaner(config))}"


def keeping(config: Config, size: int) -> str:
    """How the lines of a step stay as many with smaller batches."""
    training = config.training
    times = -(-training.batch_size * training.gradient_accumulation_steps // size)
    return f"with training.gradient_accumulation_steps={times} to keep the lines a step"


def leaner(config: Config) -> list[str]:
    """Other settings that take less memory than those of a configuration."""
    ways = [] if config.hardware.gradient_checkpointing == "all" else ["set hardware.gradient_checkpointing=all"]
    if config.hardware.device != "cpu" and config.hardware.precision == "fp32":
        ways.append("set hardware.precision=bf16")
    if config.technique.name == "full":
        ways.append("train less of it with configs/techniques/frozen.yaml or lora.yaml")
    return [*ways, "leave the widest lines out with data.width_buckets"]


def size_of(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
