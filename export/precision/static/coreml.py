"""Writes int8 activations with fixed scales into a Core ML program, for Neural Engines that compute int8 by int8 faster
than half precision, such as those of the A17 Pro and the M4.

coremltools' own tool for this runs programs on a Mac. Here PyTorch runs a module on calibration lines, and then the
module is traced with the roundings in it, which become pairs of `quantize` and `dequantize` before convolutions and
linear maps. Each has one scale, which covers the highest magnitude, and no zero point. Functions of one package share
the scales. Sums, products of two activations (attention), norms, softmax and states stay fp16.

Source: https://apple.github.io/coremltools/docs-guides/source/opt-quantization-perf.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from coremltools.converters.mil import Builder
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from torch import Tensor, nn

EXTRA = "coreml"

KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)
LEAST, MOST = -128, 127  # of int8
FINEST = 2.0**-14  # lowest scale; under it half precision has fewer digits

Hook = Callable[[nn.Module, tuple[Any, ...]], Any]


@register_torch_op
def fake_quantize_per_tensor_affine(context: Any, node: Any) -> None:
    """coremltools 9.0 has none of its own."""
    x, scale, zero, least, most = _get_inputs(context, node, expected=5)
    assert (zero.val, least.val, most.val) == (0, LEAST, MOST)
    whole = Builder.quantize(input=x, scale=scale.val, output_dtype="int8")
    context.add(Builder.dequantize(input=whole, scale=scale.val, name=node.name))


@torch.no_grad()
def activation_scales(module: nn.Module, inputs: Iterable[Sequence[Tensor]]) -> dict[str, float]:
    """Name of each convolution and linear map that runs -> scale of what it gets, a number of half precision.

    Args:
        module: in evaluation mode.
        inputs: in the module's order, for each calibration run.
    """
    highest: dict[str, float] = {}

    def watch(name: str) -> Hook:
        def look(_part: nn.Module, given: tuple[Any, ...]) -> None:
            highest[name] = max(highest.get(name, 0.0), float(given[0].abs().max()))

        return look

    with hooked(module, {name: watch(name) for name, part in module.named_modules() if isinstance(part, KINDS)}):
        for run in inputs:
            module(*run)
    return {name: max(FINEST, float(np.float16(value / MOST))) for name, value in highest.items()}


@contextmanager
def fixed_scales(module: nn.Module, scales: Mapping[str, float]) -> Iterator[None]:
    """A module whose convolutions and linear maps take what int8 holds; `scales` are those of `activation_scales`."""

    def rounding(scale: float) -> Hook:
        return lambda _part, given: torch.fake_quantize_per_tensor_affine(given[0], scale, 0, LEAST, MOST)

    with hooked(module, {name: rounding(scale) for name, scale in scales.items()}):
        yield


@contextmanager
def hooked(module: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """A module in which some parts, given by name, call a function before they run."""
    with ExitStack() as stack:
        for name, hook in hooks.items():
            stack.callback(module.get_submodule(name).register_forward_pre_hook(hook).remove)
        yield
