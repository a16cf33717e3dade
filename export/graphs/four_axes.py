"""Keeps a graph to four axes and to known operators when it is converted for LiteRT. Otherwise LiteRT's GPU delegate
leaves it to the CPU, or silently computes wrong numbers.

PyTorch splits a product [B, h, N, d] x [B, h, d, S] into products of three axes. The decoder for several tokens then
gave other scores on the GPU (18 dB instead of 137; LiteRT 2.3 through WebGPU). While a module is traced,

    products       of four axes stay such; an operand that is transposed is so before, by an operator of its own, since
                   delegates are known that pass over the flags for it (LiteRT #8913)
    attention      that is fused becomes products and a softmax; timm's takes queries, keys and values apart before
                   their heads, not after, which needs five axes
    linear maps    add their bias afterwards, or their results lose an axis (LiteRT #8980)
    repetitions    are joined copies, and positions of a grid a constant: the delegate has no BROADCAST_TO

On the CPU a decoder step takes 0.9 times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from litert_converter.mlir import ir
from litert_converter.mlir.dialects import stablehlo
from litert_torch.backend import lowerings
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from export.graphs.plain_attention import plain_attention, replaced
from training.model import column_memory
from training.model.column_memory import places

EXTRA = "tflite"

PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)


@torch.library.custom_op("omr::product", mutates_args=())
def product(left: Tensor, right: Tensor) -> Tensor:
    """[B, h, N, d] x [B, h, d, S]."""
    return torch.matmul(left, right)


@product.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(*left.shape[:3], right.shape[3])


@lowerings.lower(torch.ops.omr.product)
def _(_context: Any, left: ir.Value, right: ir.Value) -> ir.Value:
    right = stablehlo.optimization_barrier([right])  # keeps a transposition out of the product's flags
    numbers = stablehlo.DotDimensionNumbers.get(
        lhs_batching_dimensions=[0, 1], rhs_batching_dimensions=[0, 1],
        lhs_contracting_dimensions=[3], rhs_contracting_dimensions=[2],
    )  # fmt: skip
    shape = (*left.type.shape[:3], right.type.shape[3])
    return stablehlo.dot_general(ir.RankedTensorType.get(shape, left.type.element_type), left, right, numbers)


class Kept(TorchFunctionMode):
    """Puts `product` in the place of products of four axes, and a sum behind linear maps."""

    def __torch_function__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in PRODUCTS and all(operand.ndim == 4 for operand in args):
            return torch.ops.omr.product(*args)
        if func is Tensor.repeat and len(args) == 1 + args[0].ndim:
            for axis, times in enumerate(args[1:]):
                args = (torch.cat([args[0]] * times, dim=axis),)
            return args[0]
        if func is F.linear and not given and len(args) == 3 and args[2] is not None:
            return func(*args[:2]) + args[2]
        return func(*args, **given)


def constant_places(*grid: Any) -> Tensor:
    """See `training.model.column_memory.places`; a constant of the graph that is traced."""
    with ThreadPoolExecutor(1) as other:  # tracing is a mode of this thread
        return torch.tensor(other.submit(places, *grid).result().tolist())


def attention_in_steps(attention: Any, x_BND: Tensor, **_others: Any) -> Tensor:
    """timm's self-attention without a mask, split as described above."""
    query, keys, values = (
        part.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for part in attention.qkv(x_BND).chunk(3, dim=2)
    )
    seen_BhNd = F.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(keys), values)
    joined_BND: Tensor = attention.proj(attention.norm(seen_BhNd.transpose(1, 2).flatten(2)))
    return joined_BND


@contextmanager
def four_axes(model: nn.Module) -> Iterator[None]:
    """Inside this context, a model is traced as described above."""
    with ExitStack() as stack:
        stack.enter_context(plain_attention())
        stack.enter_context(replaced(column_memory, "places", constant_places))
        for kind in {type(part) for part in model.modules()}:
            if (kind.__module__, kind.__name__) == ("timm.layers.attention", "Attention"):
                stack.enter_context(replaced(kind, "forward", attention_in_steps))
        stack.enter_context(Kept())
        yield
