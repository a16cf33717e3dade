"""QLoRA: LoRA on weights that are stored in 4 bits (NF4), which take a seventh of the memory.

Dettmers et al. 2023, https://arxiv.org/abs/2305.14314; without their second quantisation, of the scales.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from training.config import Config
from training.loop.technique import Technique
from training.model.music_trocr import MusicTrOCR
from training.techniques._adapters import SETTINGS, adapted_layers, add_adapters, check, merged

EXTRA = "train"
BLOCK = 64  # weights that share a scale: 4.5 bits a weight


class FourBitLayer(nn.Module):
    """A linear layer or convolution whose weight is packed; it is unpacked for each use.

    bitsandbytes packs and unpacks. Its own Linear4bit isn't used: there is none for convolutions, `load_state_dict`
    doesn't bring its scales back (0.50), and on processors with bfloat16 it reads in bfloat16.
    """

    groups = 1  # peft asks

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        from bitsandbytes.functional import quantize_4bit

        # Whole blocks: for an odd number of weights bitsandbytes 0.50 compiles its slow way first, a minute on a CPU.
        flat = layer.weight.detach().contiguous().flatten()
        packed, state = quantize_4bit(F.pad(flat, (0, -len(flat) % BLOCK)), blocksize=BLOCK, quant_type="nf4")
        self.packed = nn.Parameter(packed, requires_grad=False)
        self.scales = nn.Parameter(state.absmax, requires_grad=False)
        self.bias = layer.bias
        self.shape = layer.weight.shape
        self.places: dict[str, Any] = {}
        if isinstance(layer, nn.Conv2d):
            self.places = {"stride": layer.stride, "padding": layer.padding}

    @property
    def weight(self) -> Tensor:
        """The weight in fp32, unpacked from its four bits."""
        from bitsandbytes.functional import QuantState, dequantize_4bit, get_4bit_type

        state = QuantState(
            absmax=self.scales, shape=torch.Size([len(self.scales) * BLOCK]), blocksize=BLOCK, quant_type="nf4",
            code=get_4bit_type("nf4", device=self.packed.device), dtype=torch.float32,
        )  # fmt: skip
        flat: Tensor = dequantize_4bit(self.packed.detach(), state).flatten()
        return flat[: self.shape.numel()].view(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        out: Tensor = Unpacked.apply(x, self)
        return out

    def compute(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, **self.places) if self.places else F.linear(x, weight, bias)

    def input_gradient(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        """The gradient of `compute` for an input of that shape."""
        weight = self.weight.to(gradient.dtype)
        return conv2d_input(shape, weight, gradient, **self.places) if self.places else gradient @ weight


class Unpacked(torch.autograd.Function):
    """A layer's output; the weight is unpacked again on the way back instead of being kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FourBitLayer) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer.compute(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.input_gradient(gradient, ctx.shape), None


def apply(model: MusicTrOCR, config: Config) -> str:
    said = add_adapters(model, config)
    before = after = 0
    for layer in adapted_layers(model).values():
        packed = FourBitLayer(layer.base_layer)
        before += size(layer.base_layer)
        after += size(packed)
        layer.base_layer = packed
    return f"{said}; the layers' own weights take {after / 1e6:.2f} MB instead of {before / 1e6:.2f} MB"


def size(module: nn.Module) -> int:
    """Bytes of a module's parameters."""
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


TECHNIQUE = Technique(apply, SETTINGS, check, merged, packages=("peft", "bitsandbytes"))
