"""Gradient checkpointing saves memory and costs time: what a block computed is thrown away after the forward pass, and
computed again when its gradients are due (Chen et al. 2016, https://arxiv.org/abs/1604.06174). The gradients stay the
same.

`hardware.gradient_checkpointing` says where: none, decoder (its layers, each with its keys and values of the memory),
or all (the backbone's blocks, too, as its entry lists them).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from runtime.errors import ConfigError

from .backbone import get_backbone
from .music_trocr import MusicTrOCR

CHOICES = ("none", "decoder", "all")


def checkpoint_activations(model: MusicTrOCR, where: str) -> None:
    """Set which blocks of a model compute twice. Its weights and their names stay the same.

    Raises:
        ConfigError: an unknown choice.
    """
    if where not in CHOICES:
        raise ConfigError(f"hardware.gradient_checkpointing is {where!r}; use {', '.join(CHOICES)}")
    blocks: list[nn.Module] = [] if where == "none" else list(model.decoder.layers)
    if where == "all":
        blocks += get_backbone(model.params.vision_model_name).blocks(model.backbone)
    for module in model.modules():
        if isinstance(module, Checkpointed):
            module.__class__ = type(module).__bases__[1]
    for block in blocks:
        # Another class, and no wrapper or method of the instance: names of weights stay, copies run their own code.
        block.__class__ = type(block.__class__.__name__, (Checkpointed, block.__class__), {})


class Checkpointed(nn.Module):
    """Comes before a block's own class."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*inputs, **options)  # type: ignore[misc]

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), statistics_kept(self)

        return checkpoint(super().forward, *inputs, use_reentrant=False, context_fn=contexts, **options)  # type: ignore[misc]


@contextmanager
def statistics_kept(block: nn.Module) -> Iterator[None]:
    """Batch norms update their statistics once for each batch, though they see it twice."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
