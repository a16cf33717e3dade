"""Guards a run against steps whose loss or gradients aren't finite.

Such a step leaves no trace in weights, batch statistics, optimizer or averages. It is reported in one line and counted
in the log. After `training.max_skipped_steps` in a row the run stops. In fp16 the scaled gradients are expected to
overflow now and then: the scaler lowers its scale, the step is counted as `overflows`, and nothing is reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from runtime.errors import OmrError

from ..loading.batches import Batch
from ..messages import say
from ..saving.checkpoint import way_on
from .run import Run

NAMED = 8  # lines of a batch that a message names
ENOUGH_SCALE = 1.0  # a gradient that overflows at this scale of the loss or below isn't finite in itself


def buffers_of(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Each buffer that a step changes (batch statistics), and a copy of it as it is."""
    return [(buffer, buffer.clone()) for buffer in model.buffers()]


def judge(
    run: Run,
    batches: Sequence[Batch],
    parts: Sequence[Mapping[str, float]],
    norm: float,
    before: list[tuple[Tensor, Tensor]],
) -> bool:
    """Whether the weights may be updated. If not, the step is undone, reported and counted.

    Args:
        batches: of the step, in this process.
        parts: losses of each batch by name.
        norm: of the gradients; the same in every process.
        before: the model's buffers before the step.

    Raises:
        OmrError: too many bad steps in a row.
    """
    scaler = run.accelerator.scaler
    bad = [not all(map(math.isfinite, found.values())) for found in parts]
    somewhere = any(bad)
    if run.accelerator.num_processes > 1:  # all of them must decide alike
        flag = torch.tensor(float(somewhere), device=run.accelerator.device)
        somewhere = bool(run.accelerator.reduce(flag, "sum") > 0)
    if math.isfinite(norm) and not somewhere:
        run.skipped_in_a_row = 0
        return True
    if not somewhere and scaler is not None and scaler.get_scale() > ENOUGH_SCALE:
        run.sums["overflows"] = run.sums.get("overflows", 0) + 1
        return False
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
    run.sums["skipped_steps"] = run.sums.get("skipped_steps", 0) + 1
    run.skipped_in_a_row += 1
    report(run, batches, parts, bad, somewhere)
    return False


def report(
    run: Run, batches: Sequence[Batch], parts: Sequence[Mapping[str, float]], bad: Sequence[bool], somewhere: bool
) -> None:
    """Say what wasn't finite, and where; stop after too many in a row."""
    wrong: dict[str, float] = {}
    for found in parts:
        wrong |= {name: value for name, value in found.items() if not math.isfinite(value)}
    told = {name: value for name, value in wrong.items() if name != "loss"} or wrong
    what = ", ".join(f"loss {name} is {value}" for name, value in told.items()) or "gradients aren't finite"
    names = [name for batch, is_bad in zip(batches, bad, strict=True) for name in batch.names if is_bad or not any(bad)]
    if any(bad) or (not somewhere and run.accelerator.is_main_process):
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        say(f"step {run.step + 1} is skipped, {what} (lines {', '.join(names[:NAMED])}{more})")
    limit = run.config.training.max_skipped_steps
    if run.skipped_in_a_row >= limit:
        optimizer, precision = run.config.training.optimizer, run.config.hardware.precision
        in_fp32 = "" if precision == "fp32" else f", compute in hardware.precision=fp32 (it is {precision})"
        raise OmrError(
            f"no update in {limit} steps in a row up to step {run.step + 1}, {what}: lower "
            f"training.optimizer.learning_rate ({optimizer.learning_rate:g}) or clip_norm ({optimizer.clip_norm:g})"
            f"{in_fp32}, or look at the lines named above; {way_on(run.folder)}"
        )
