"""Lets several processes, started by torchrun, train one model: what they share, and what they must agree on.

A step of P processes equals the step of one process that accumulates P times as many batches: the lines are the same,
and every token counts the same. Two things differ: each process draws its own dropout, and the running statistics of
batch normalisation are the mean over the processes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from runtime.errors import ConfigError

from ..saving.checkpoint import random_states, restore_random_states

T = TypeVar("T")

# Instead of the main process's statistics before each forward pass; see `share_statistics`.
OWN_STATISTICS = DistributedDataParallelKwargs(broadcast_buffers=False)
# torch 2.13 would have it named `forward_sync_buffers`, which Accelerate 1.15 doesn't know.
warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)


def join(device: torch.device) -> int:
    """Wait for the other processes, if torchrun started some.

    Returns:
        The number of processes.

    Raises:
        ConfigError: there are more processes than GPUs.
    """
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device.type == "cuda" and here > gpus:
        raise ConfigError(
            f"torchrun started {here} processes on a machine with {gpus} GPUs: set --nproc-per-node to {gpus} or less"
        )
    return PartialState(cpu=device.type == "cpu").num_processes


def from_main(value: T) -> T:
    """The main process's value, in every process."""
    values = [value]
    broadcast_object_list(values)
    return values[0]


def highest(accelerator: Accelerator, *values: float) -> list[float]:
    """The highest of all processes' values, one by one: what one has seen (a signal, a clock), all act on."""
    if accelerator.num_processes == 1:
        return list(values)
    own = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    found: list[float] = accelerator.reduce(own, "max").tolist()
    return found


def totals(accelerator: Accelerator, values: Mapping[str, float]) -> dict[str, float]:
    """Sums over all processes."""
    if accelerator.num_processes == 1:
        return dict(values)
    own = torch.tensor(list(values.values()), dtype=torch.float64, device=accelerator.device)
    return dict(zip(values, accelerator.reduce(own, "sum").tolist(), strict=True))


@torch.no_grad()
def share_statistics(accelerator: Accelerator, model: nn.Module) -> None:
    """Running means and variances become the mean of all processes'."""
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    if accelerator.num_processes == 1 or not buffers:
        return
    shared = accelerator.reduce(torch.cat([buffer.flatten() for buffer in buffers]), "mean")
    for buffer, part in zip(buffers, shared.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))


def part(accelerator: Accelerator) -> str:
    """What the names of this process's random states begin with; the main one's are those of a single process."""
    return f"{accelerator.process_index}/" if accelerator.process_index else ""


def all_random_states(accelerator: Accelerator) -> dict[str, Tensor]:
    """The random states of every process, by name."""
    own = [(part(accelerator) + name, value.cpu()) for name, value in random_states().items()]
    return dict(gather_object(own) if accelerator.num_processes > 1 else own)


def take_random_states(accelerator: Accelerator, states: Mapping[str, Tensor], seed: int) -> None:
    """Inverse of `all_random_states`; a process that had none draws from a seed of its own."""
    before = part(accelerator)
    if before + "cpu" in states:
        own = {name.removeprefix(before): value for name, value in states.items() if name.startswith(before)}
        restore_random_states(own)
    else:
        own_randomness(accelerator, seed)


def own_randomness(accelerator: Accelerator, seed: int) -> None:
    """From here on processes draw their own random numbers (dropout). The main one draws as a single process would."""
    if accelerator.process_index:
        torch.manual_seed(seed + 1_000_003 * accelerator.process_index)


def check_step_size(before: int, accumulation: int, processes: int) -> None:
    """Refuse to resume with another number of batches in a step, because order, length and rates of the run depend on
    it.

    Args:
        before: batches of a step when the checkpoint was written.
        accumulation: `training.gradient_accumulation_steps` now.
        processes: now.

    Raises:
        ConfigError: it would be another number.
    """
    if before == accumulation * processes:
        return
    found = f"a step of this run holds {before} batches, but gradient_accumulation_steps {accumulation} x {processes} "
    found += f"process{'es' * (processes > 1)} is {accumulation * processes}"
    if before % processes == 0:
        raise ConfigError(f"{found}: set training.gradient_accumulation_steps={before // processes}")
    raise ConfigError(f"{found}: start a number of processes that {before} can be divided by")
