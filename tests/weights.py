"""Random weights under which every branch of a model is alive."""

from __future__ import annotations

import torch
from torch import nn

from training.model.music_trocr import MusicTrOCR


@torch.no_grad()
def enliven(model: MusicTrOCR, channels: int, height: int, width: int, seed: int = 0) -> MusicTrOCR:
    """Random gains and biases, and the backbone's batch norms fitted to noise; in evaluation mode.

    A branch whose last gain starts at zero adds nothing, and without fitted norms a deep backbone gives nearly the
    same for every picture: an exporter could get either wrong, and no comparison of outputs would show.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise - 0.5 if name.endswith("bias") else noise + 0.5)
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    model.features(torch.rand(4, channels, height, width, generator=generator) * 2 - 1, torch.full((4,), width))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()
