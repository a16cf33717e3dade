"""Quantisation-aware training: the model computes with the roundings of the int8 export, so it learns to cope with
them.

The same roundings as `export.precision.quantize_onnx` and ONNX Runtime's kernels, tied by
tests/export/precision/test_qat.py:

    linear layers   weight and input: a scale for every 32 values of a row
    convolutions    weight: a scale for each output channel; input exact
    embeddings      a scale for each row

Gradients ignore the roundings (straight-through, Bengio et al. 2013,
https://arxiv.org/abs/1308.3432).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import Config
from training.loop.technique import Technique
from training.model.music_trocr import MusicTrOCR

BLOCK = 32  # values of a row that share a scale in a linear layer
FEWEST = 2048  # weights of a convolution or embedding; smaller ones stay exact


class Rounding(torch.autograd.Function):
    """`values` [.., n] as 255 levels, with a scale for each row; the gradient passes."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        exact = values.float()
        scale = exact.abs().amax(-1, keepdim=True) / 127
        scale = scale.masked_fill(scale == 0, 1)
        return ((exact / scale).round() * scale).to(values.dtype)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def in_rows(values: Tensor) -> Tensor:
    """Rounded with a scale for each `values[i]`."""
    rounded: Tensor = Rounding.apply(values.flatten(1))
    return rounded.view(values.shape)


def in_blocks(values: Tensor) -> Tensor:
    """Rounded with a scale for every BLOCK values of the last axis."""
    length = values.shape[-1]
    padded = F.pad(values, (0, -length % BLOCK))
    rounded: Tensor = Rounding.apply(padded.unflatten(-1, (-1, BLOCK)))
    return rounded.flatten(-2)[..., :length]


class RoundedLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(in_blocks(x), in_blocks(self.weight), self.bias)


class RoundedConv1d(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, in_rows(self.weight), self.bias)


class RoundedConv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, in_rows(self.weight), self.bias)


class RoundedEmbedding(nn.Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, in_rows(self.weight))


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: RoundedLinear,
    nn.Conv1d: RoundedConv1d,
    nn.Conv2d: RoundedConv2d,
    nn.Embedding: RoundedEmbedding,
}


def apply(model: MusicTrOCR, _config: Config) -> str:
    """Layers change their class and keep their weights and names, so the plain weights are the model's own."""
    changed: Counter[str] = Counter()
    for module in model.modules():
        kind = type(module)
        if kind in ROUNDED and (kind is nn.Linear or module.weight.numel() >= FEWEST):
            module.__class__ = ROUNDED[kind]
            changed[kind.__name__] += 1
    layers = ", ".join(f"{number} {name}" for name, number in sorted(changed.items()))
    return f"every weight is trained, rounded to int8 in {layers}"


TECHNIQUE = Technique(apply)
