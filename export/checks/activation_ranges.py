"""Measures how far a model's activations stay from the limits of half precision while it reads engraved lines.

PyTorch runs the graphs as they are exported, in fp32, with the cache, and the result of every operator is measured. If
a converter may split an operator, its parts are measured, too: the squares inside a layer norm, the scores inside fused
attention. Every converter folds a batch norm into the convolution before it, so that convolution's own result doesn't
count. Values between -12,500 and -7,500 are the mask's -1e4 and what was added to it.

    headroom   log2(65504 / highest magnitude), in bits: at 0 the next larger value is infinite
    sums       the same for sums inside layer norms, which overflow where a processor adds up in half precision
    variance   log2(lowest variance and epsilon / 2^-24): at 0 a layer norm divides by zero
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from runtime.bundle.io_spec import IOSpec
from runtime.bundle.tokenizer import Tokenizer
from runtime.errors import BundleError
from training.model.music_trocr import MusicTrOCR

from ..graphs.contract import folded, folded_memory
from ..target import Target
from .parity import MOST_TOKENS, read
from .probe import Probe
from .torch_engine import TorchEngine

HIGHEST = 65504.0  # of half precision
SMALLEST = 2.0**-24
LEAST_BITS = 1.0  # of headroom: six lines are few, and another may go a little higher
NAMED = 8  # operators in the manifest
MASK = (-12500.0, -7500.0)
SQUARE = "square of"  # a layer norm

CONVOLUTIONS = ("conv1d", "conv2d", "convolution")
BATCH_NORMS = ("batch_norm", "native_batch_norm", "cudnn_batch_norm")
# Operators that only move values.
COPIES = (
    "alias", "cat", "chunk", "clone", "contiguous", "copy_", "detach", "dropout", "expand", "flatten", "index",
    "lift_fresh", "pad", "constant_pad_nd", "permute", "repeat", "reshape", "resolve_conj", "resolve_neg", "roll",
    "select", "slice", "split", "split_with_sizes", "squeeze", "stack", "to", "_to_copy", "transpose", "unbind",
    "unflatten", "unsqueeze", "view",
)  # fmt: skip


class Ranges(TorchDispatchMode):
    """Looks at every operator that runs under it.

    Attributes:
        highest: operator -> highest magnitude of its results.
        sums: layer norm -> highest magnitude of a sum inside it.
        variances: layer norm -> lowest variance, its epsilon added.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.highest: dict[str, float] = {}
        self.sums: dict[str, float] = {}
        self.variances: dict[str, float] = {}
        self.within: list[str] = []
        self.last = ""
        self.waiting: tuple[str, Tensor] | None = None  # a convolution's result, until we know what follows it

    @contextmanager
    def looking(self) -> Iterator[Ranges]:
        """Operators are named after the module that runs them, or the last one before them."""
        with ExitStack() as stack:
            for handle in (register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave)):
                stack.callback(handle.remove)
            stack.enter_context(self)
            yield self
        self._settle(None)

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        self.within.append(self.names.get(module, ""))

    def _leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self.last = self.within.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operator = func.overloadpacket.__name__
        inputs = [value for value in args if isinstance(value, Tensor)]
        if operator in BATCH_NORMS:
            self._settle(inputs[0])
        if operator in COPIES:
            return result
        self._settle(None)
        where = f"{operator} in {self.within[-1]}" if self.within else f"{operator} after {self.last}"
        if operator in PIECES:
            PIECES[operator](self, where, *args, **(kwargs or {}))
        found = result[0] if isinstance(result, (tuple, list)) else result
        if isinstance(found, Tensor) and found.is_floating_point() and found.numel():
            if operator in CONVOLUTIONS:
                self.waiting = where, found
            else:
                self.see(where, found)
        return result

    def _settle(self, folded_away: Tensor | None) -> None:
        """Count the convolution that waits, unless a batch norm takes it."""
        if self.waiting is not None and folded_away is not self.waiting[1]:
            self.see(*self.waiting)
        self.waiting = None

    def see(self, where: str, values: Tensor) -> None:
        """Count an operator's result."""
        masked = (values > MASK[0]) & (values < MASK[1])
        keep_highest(self.highest, where, values.masked_fill(masked, 0.0))


def keep_highest(found: dict[str, float], where: str, values: Tensor) -> None:
    """The highest magnitude so far; NaN counts as infinite."""
    highest = float(values.abs().amax())
    found[where] = max(found.get(where, 0.0), math.inf if math.isnan(highest) else highest)


def layer_norm(
    ranges: Ranges, where: str, x: Tensor, shape: list[int], _weight: Any = None, _bias: Any = None, eps: float = 1e-5,
    *_: Any,
) -> None:  # fmt: skip
    """Squares, sums and the variance of a layer norm in pieces."""
    axes = list(range(-len(shape), 0))
    squares = (x - x.mean(axes, keepdim=True)).square()
    ranges.see(f"{SQUARE} {where}", squares)
    keep_highest(ranges.sums, where, torch.maximum(squares.sum(axes), x.sum(axes).abs()))
    lowest = float(squares.mean(axes).amin()) + eps
    ranges.variances[where] = min(ranges.variances.get(where, math.inf), lowest)


def attention(
    ranges: Ranges, where: str, query: Tensor, keys: Tensor, _values: Tensor, mask: Tensor | None = None, *_: Any,
    scale: float | None = None, **__: Any,
) -> None:  # fmt: skip
    """The scores inside a fused attention, before its softmax."""
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ keys.mT
    ranges.see(f"scores of {where}", scores if mask is None or mask.dtype == torch.bool else scores + mask)


PIECES: dict[str, Callable[..., None]] = {
    "layer_norm": layer_norm, "native_layer_norm": layer_norm, "scaled_dot_product_attention": attention,
}  # fmt: skip


def as_exported(model: MusicTrOCR) -> MusicTrOCR:
    """A copy that computes what the graphs do."""
    model = copy.deepcopy(folded_memory(model)).eval().requires_grad_(False)
    model.decoder = folded(model.decoder)
    return model


@dataclass(frozen=True)
class Measured:
    """What was seen while lines were read.

    Attributes:
        highest: operator or weights -> highest magnitude.
        sums, variances: as of `Ranges`.
        lines, positions: how much was read.
    """

    highest: dict[str, float]
    sums: dict[str, float]
    variances: dict[str, float]
    lines: int
    positions: int

    def headroom(self, norms: bool = True) -> dict[str, Any]:
        """How far the activations stay from half precision's ends.

        Args:
            norms: whether layer norms are computed in half precision, so that the squares inside count.

        Returns:
            `bits` and the `operator` they belong to; `highest`: the NAMED operators with the highest magnitudes;
            `sum_bits`, `variance_bits`: see above; `lines` and `positions` read.
        """
        counted = {name: value for name, value in self.highest.items() if norms or not name.startswith(SQUARE)}
        ordered = sorted(counted.items(), key=lambda item: -item[1])
        return {
            "bits": bits_under(ordered[0][1]),
            "operator": ordered[0][0],
            "highest": {name: round(value, 2) for name, value in ordered[:NAMED]},
            "sum_bits": bits_under(max(self.sums.values())),
            "variance_bits": round(math.log2(min(self.variances.values()) / SMALLEST), 1),
            "lines": self.lines,
            "positions": self.positions,
        }


def measured(model: MusicTrOCR, spec: IOSpec, tokenizer: Tokenizer, probe: Probe) -> Measured:
    """Read the probe's lines and look at every operator."""
    model = as_exported(model)
    engine, positions, lines = TorchEngine(model, spec), 0, 0
    limit = min(MOST_TOKENS, spec.slots[-1] - 1)
    with Ranges(model).looking() as ranges:
        for pictures in probe.batches():
            tokens = read(engine, pictures, tokenizer, limit)
            lines, positions = lines + len(tokens), positions + sum(map(len, tokens))
    weights = {f"weights {name}": float(value.abs().amax()) for name, value in model.named_parameters()}
    return Measured(ranges.highest | weights, ranges.sums, ranges.variances, lines, positions)


def bits_under(magnitude: float) -> float:
    """log2 of how many times larger a value could be in half precision; negative where it overflows."""
    return round(math.log2(HIGHEST / min(magnitude, 1e30)), 1)


class HalfPrecision:
    """Headroom figures for a model's artifacts in half precision, measured once."""

    def __init__(self, model: MusicTrOCR, spec: IOSpec, tokenizer: Tokenizer, probe: Probe) -> None:
        self.given = model, spec, tokenizer, probe

    @cached_property
    def measured(self) -> Measured:
        return measured(*self.given)

    def numbers(self, name: str, target: Target, precision: str) -> dict[str, Any]:
        """`{"headroom": ..}` where the weights or the activations are float16, else nothing.

        Raises:
            BundleError: the activations are float16 and one may overflow. A check of the outputs can't show that:
                an infinite variance gives zeros, and a processor may take apart what stood in one piece here.
        """
        if precision not in (*target.half, "fp16"):
            return {}
        found = self.measured.headroom(norms=not target.exact_norms)
        if precision in target.half and found["bits"] < LEAST_BITS:
            highest = found["highest"][found["operator"]]
            raise BundleError(
                f"{name} {precision} may overflow: {found['operator']} reaches {highest:g}, {found['bits']} bits under "
                f"half precision's highest number, and {LEAST_BITS:g} is needed; export fp32; nothing was written"
            )
        return {"headroom": found}
