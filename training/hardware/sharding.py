"""Splits weights, gradients, optimizer and averages among processes (FSDP2), for models that don't fit on one GPU.

    torchrun --nproc-per-node 4 -m training CONFIG hardware.sharding=fsdp

The backbone and each decoder layer are gathered when they compute, and freed afterwards. Checkpoints hold whole
tensors, so that they can be read like any other.

We call PyTorch's `fully_shard` directly. Accelerate calls it, too, but Accelerate 1.15 does so only on accelerators,
and doesn't know that a decoder layer is called by two methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from runtime.errors import ConfigError

from ..config import HardwareConfig
from ..messages import is_main_process
from ..model.music_trocr import MusicTrOCR

SHARDINGS = ("none", "fsdp")


def check_sharding(hardware: HardwareConfig, processes: int) -> None:
    """Refuse settings that don't work together.

    Args:
        hardware: with its precision settled.
        processes: how many there are.

    Raises:
        ConfigError: an unknown sharding, fewer than two processes, or float16.
    """
    if hardware.sharding not in SHARDINGS:
        raise ConfigError(f"hardware.sharding is {hardware.sharding!r}; use {' or '.join(SHARDINGS)}")
    if hardware.sharding == "none":
        return
    if processes == 1:
        raise ConfigError(
            "hardware.sharding is fsdp, which splits a model among processes, but there is one: "
            "start with torchrun --nproc-per-node N -m training, or set hardware.sharding=none"
        )
    if hardware.precision == "fp16":
        raise ConfigError(
            "hardware.sharding is fsdp, which is not proven with hardware.precision fp16: "
            "use bf16 or fp32, or hardware.sharding=none"
        )


def shard(model: MusicTrOCR, device: torch.device) -> None:
    """Keep only this process's part of every weight, in place. The weights keep their names."""
    # torch 2.13 warns of views that leave a unit, because they must not be changed in place. Nothing here does that.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # fully_shard takes no other
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for layer in model.decoder.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model.backbone, mesh=mesh)
    fully_shard(model, mesh=mesh)


def own_part(value: Tensor) -> Tensor:
    """What this process holds of a tensor; shares its memory."""
    return value.to_local() if isinstance(value, DTensor) else value


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors, those that were split on the CPU; every process must call it, the main one gets them."""
    found = {}
    for name, value in tensors.items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if is_main_process():
            found[name] = whole.cpu() if isinstance(value, DTensor) else whole
    return found


def gathered_number(value: Tensor) -> float:
    """A single number that may be split; every process must call it."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)


def split_like(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every process holds, split as another is."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
