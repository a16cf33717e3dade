"""The operators of Core ML's ML Programs in PyTorch, by name; `export.mil.program` runs a program with them.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.errors import BundleError

Arguments = Mapping[str, Any]  # tensors, lists of tensors, texts; by the operator's own names


def numbers(value: Any) -> list[Any]:
    """A parameter as a plain list."""
    return list(value.reshape(-1).tolist()) if isinstance(value, Tensor) else list(value)


def padded(a: Arguments, fill: float = 0.0) -> Tensor:
    """The input of a convolution or pooling with its padding around it."""
    x, spatial = a["x"], a["x"].ndim - 2
    kind, pad = a.get("pad_type", "valid"), numbers(a.get("pad", [0] * 2 * spatial))
    if kind == "same" or kind == "same_lower":
        sizes = a["weight"].shape[2:] if "weight" in a else numbers(a["kernel_sizes"])
        strides = numbers(a.get("strides", [1] * spatial))
        dilations = numbers(a.get("dilations", [1] * spatial))
        pad = []
        for size, kernel, stride, dilation in zip(x.shape[2:], sizes, strides, dilations, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
            small = total // 2
            pad += [small, total - small] if kind == "same" else [total - small, small]
    elif kind == "valid":
        return x
    reverse = [n for axis in reversed(range(spatial)) for n in pad[2 * axis : 2 * axis + 2]]
    return F.pad(x, reverse, value=fill)


def conv(a: Arguments) -> Tensor:
    spatial = a["x"].ndim - 2
    function = {1: F.conv1d, 2: F.conv2d}[spatial]
    return function(
        padded(a), a["weight"], a.get("bias"), numbers(a.get("strides", [1] * spatial)), 0,
        numbers(a.get("dilations", [1] * spatial)), int(a.get("groups", 1)),
    )  # fmt: skip


def max_pool(a: Arguments) -> Tensor:
    return F.max_pool2d(padded(a, -torch.inf), numbers(a["kernel_sizes"]), numbers(a["strides"]),
                        ceil_mode=bool(a.get("ceil_mode", False)))  # fmt: skip


def avg_pool(a: Arguments) -> Tensor:
    if a.get("exclude_padding_from_average", False) and any(numbers(a.get("pad", [0]))):
        raise BundleError("avg_pool without its padding isn't evaluated")
    return F.avg_pool2d(padded(a), numbers(a["kernel_sizes"]), numbers(a["strides"]),
                        ceil_mode=bool(a.get("ceil_mode", False)))  # fmt: skip


def pad(a: Arguments) -> Tensor:
    pairs = numbers(a["pad"])
    reverse = [n for axis in reversed(range(len(pairs) // 2)) for n in pairs[2 * axis : 2 * axis + 2]]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return F.pad(a["x"], reverse, value=float(a.get("constant_val", 0.0)))
    return F.pad(a["x"], reverse, mode=mode)


def batch_norm(a: Arguments) -> Tensor:
    return F.batch_norm(
        a["x"], a["mean"], a["variance"], a.get("gamma"), a.get("beta"), eps=float(a.get("epsilon", 1e-5))
    )


def layer_norm(a: Arguments) -> Tensor:
    x, axes = a["x"], [n % a["x"].ndim for n in numbers(a["axes"])]
    mean = x.mean(axes, keepdim=True)
    spread = (x - mean).square().mean(axes, keepdim=True)
    out = (x - mean) * torch.rsqrt(spread + float(a.get("epsilon", 1e-5)))
    shape = [x.shape[n] if n in axes else 1 for n in range(x.ndim)]
    out = out * a["gamma"].reshape(shape) if "gamma" in a else out
    return out + a["beta"].reshape(shape) if "beta" in a else out


def matmul(a: Arguments) -> Tensor:
    x = a["x"].mT if a.get("transpose_x", False) else a["x"]
    y = a["y"].mT if a.get("transpose_y", False) else a["y"]
    return x @ y


def gelu(a: Arguments) -> Tensor:
    mode = a.get("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return a["x"] * torch.sigmoid(1.702 * a["x"])
    return F.gelu(a["x"], approximate="none" if mode == "EXACT" else "tanh")


def cast(a: Arguments) -> Tensor:
    kinds = {"fp16": torch.float32, "fp32": torch.float32, "bool": torch.bool}
    return torch.as_tensor(a["x"]).to(kinds.get(str(a["dtype"]), torch.int64))


def slice_by_index(a: Arguments) -> Tensor:
    x, out = a["x"], a["x"]
    rank = x.ndim
    strides = numbers(a.get("stride", [1] * rank))
    masks = {name: numbers(a.get(name, [False] * rank)) for name in ("begin_mask", "end_mask", "squeeze_mask")}
    for axis, (begin, end) in enumerate(zip(numbers(a["begin"]), numbers(a["end"]), strict=True)):
        if masks["squeeze_mask"][axis]:
            index = torch.tensor([begin % x.shape[axis]])
        else:
            first = None if masks["begin_mask"][axis] else begin
            last = None if masks["end_mask"][axis] else end
            index = (
                torch.arange(x.shape[axis])[slice(first, last)]
                if strides[axis] > 0
                else torch.tensor(list(range(x.shape[axis]))[slice(first, last, strides[axis])], dtype=torch.int64)
            )
            index = index[:: strides[axis]] if strides[axis] > 0 else index
        out = out.index_select(axis, index)
    return out.squeeze([axis for axis in range(rank) if masks["squeeze_mask"][axis]])


def slice_by_size(a: Arguments) -> Tensor:
    out = a["x"]
    for axis, (begin, size) in enumerate(zip(numbers(a["begin"]), numbers(a["size"]), strict=True)):
        out = out.narrow(axis, begin, out.shape[axis] - begin if size == -1 else size)
    return out


def gather(a: Arguments) -> Tensor:
    if int(a.get("batch_dims", 0)):
        raise BundleError("gather with batch dimensions isn't evaluated")
    x, indices = a["x"], torch.as_tensor(a["indices"])
    axis = int(a.get("axis", 0)) % x.ndim
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    taken = x.index_select(axis, indices.reshape(-1))
    return taken.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def scatter(a: Arguments) -> Tensor:
    """Slices of `data` replaced by those of `updates`, or these added to them."""
    data, indices, mode = a["data"], a["indices"], a.get("mode", "add")
    if mode not in ("add", "update") or indices.ndim != 1:
        raise BundleError(f"scatter in mode {mode} with indices of {indices.ndim} dimensions isn't evaluated")
    axis = int(a.get("axis", 0)) % data.ndim
    indices = torch.where(indices < 0, indices + data.shape[axis], indices)
    change = data.index_add if mode == "add" else data.index_copy
    return change(axis, indices, a["updates"].to(data.dtype))


def slice_update(a: Arguments) -> Tensor:
    """`x` with a slice replaced, whose indices may be known only at run time."""
    x, rank = a["x"].clone(), a["x"].ndim
    masks = {name: numbers(a.get(name, [False] * rank)) for name in ("begin_mask", "end_mask", "squeeze_mask")}
    if any(masks["squeeze_mask"]) or any(step != 1 for step in numbers(a.get("stride", [1] * rank))):
        raise BundleError("slice_update of single axes or with strides isn't evaluated")
    ends = zip(numbers(a["begin"]), numbers(a["end"]), masks["begin_mask"], masks["end_mask"], strict=True)
    x[tuple(slice(None if low else begin, None if high else end) for begin, end, low, high in ends)] = a["update"]
    return x


def split(a: Arguments) -> tuple[Tensor, ...]:
    axis = int(a["axis"])
    if "split_sizes" in a:
        return torch.split(a["x"], numbers(a["split_sizes"]), axis)
    return torch.chunk(a["x"], int(a["num_splits"]), axis)


def reshape(a: Arguments) -> Tensor:
    shape = [a["x"].shape[axis] if size == 0 else size for axis, size in enumerate(numbers(a["shape"]))]
    return a["x"].reshape(shape)


def expand_dims(a: Arguments) -> Tensor:
    out = a["x"]
    rank = out.ndim + len(numbers(a["axes"]))
    for axis in sorted(n % rank for n in numbers(a["axes"])):
        out = out.unsqueeze(axis)
    return out


def squeeze(a: Arguments) -> Tensor:
    return a["x"].squeeze(numbers(a["axes"])) if "axes" in a else a["x"].squeeze()


def concat(a: Arguments) -> Tensor:
    values = [torch.as_tensor(value) for value in a["values"]]
    return torch.cat([value.reshape(1) if value.ndim == 0 else value for value in values], int(a["axis"]))


def reduced(function: Callable[..., Tensor]) -> Callable[[Arguments], Tensor]:
    def evaluate(a: Arguments) -> Tensor:
        axes = numbers(a["axes"]) if "axes" in a else list(range(a["x"].ndim))
        return function(a["x"], axes, keepdim=bool(a.get("keep_dims", False)))

    return evaluate


def bilinear(a: Arguments) -> Tensor:
    factors = [float(a[f"scale_factor_{side}"]) for side in ("height", "width")]
    size = [round(n * factor) for n, factor in zip(a["x"].shape[2:], factors, strict=True)]
    return F.interpolate(a["x"], size, mode="bilinear", align_corners=bool(a.get("align_corners", True)))


def quantize(a: Arguments) -> Tensor:
    """Activations as whole numbers of 8 bits; a tie goes to the even one."""
    scale, zero = scale_and_zero(a)
    least, most = (-128, 127) if a["output_dtype"] == "int8" else (0, 255)
    return (torch.round(a["input"] / scale) + zero).clamp(least, most)


def dequantize(a: Arguments) -> Tensor:
    """The values of quantised integers: activations, and weights of iOS 16."""
    scale, zero = scale_and_zero(a)
    return (a["input"] - zero) * scale


def scale_and_zero(a: Arguments) -> tuple[Tensor, Tensor]:
    """Of a whole tensor, or of each channel on its axis."""
    scale, zero = (torch.as_tensor(a.get(name, 0)).float() for name in ("scale", "zero_point"))
    if "axis" not in a:
        return scale, zero
    axis = int(a["axis"]) % a["input"].ndim
    shape = [-1 if n == axis else 1 for n in range(a["input"].ndim)]
    return scale.reshape(shape), zero.reshape(shape)


def blockwise(a: Arguments) -> Tensor:
    """Integer weights with a scale, and maybe an offset, for each block."""
    data = a["data"].float()

    def spread(value: Tensor) -> Tensor:
        for axis, size in enumerate(data.shape):
            value = value.repeat_interleave(size // value.shape[axis], axis)
        return value.float()

    return (data - spread(a["offset"]) if "offset" in a else data) * spread(a["scale"])


def lut_to_dense(a: Arguments) -> Tensor:
    """Weights as places in a table: a stream of bits, the lowest of a byte first."""
    bits = int(a["lut"].numel() - 1).bit_length()
    shape = [int(size) for size in numbers(a["shape"])]
    stream = np.unpackbits(a["indices"].numpy().astype(np.uint8), bitorder="little")[: bits * math.prod(shape)]
    places = stream.reshape(-1, bits) @ (1 << np.arange(bits))
    return a["lut"][torch.from_numpy(places)].reshape(shape)


def unary(function: Callable[[Any], Tensor]) -> Callable[[Arguments], Tensor]:
    """An operator of one input."""
    return lambda a: function(a["x"])


def binary(function: Callable[[Any, Any], Tensor]) -> Callable[[Arguments], Tensor]:
    """An operator of two inputs."""
    return lambda a: function(torch.as_tensor(a["x"]), torch.as_tensor(a["y"]))


OPERATORS: dict[str, Callable[[Arguments], Any]] = {
    "add": binary(torch.add), "sub": binary(torch.sub), "mul": binary(torch.mul), "real_div": binary(torch.true_divide),
    "floor_div": binary(torch.floor_divide), "mod": binary(torch.remainder), "pow": binary(torch.pow),
    "maximum": binary(torch.maximum), "minimum": binary(torch.minimum),
    "equal": binary(torch.eq), "not_equal": binary(torch.ne), "less": binary(torch.lt), "less_equal": binary(torch.le),
    "greater": binary(torch.gt), "greater_equal": binary(torch.ge),
    "logical_and": binary(torch.logical_and), "logical_or": binary(torch.logical_or),
    "logical_not": unary(torch.logical_not),
    "relu": unary(torch.relu), "relu6": unary(F.relu6), "silu": unary(F.silu), "sigmoid": unary(torch.sigmoid),
    "tanh": unary(torch.tanh), "erf": unary(torch.erf), "exp": unary(torch.exp), "sqrt": unary(torch.sqrt),
    "sin": unary(torch.sin), "cos": unary(torch.cos), "square": unary(torch.square), "abs": unary(torch.abs),
    "floor": unary(torch.floor), "ceil": unary(torch.ceil), "identity": unary(lambda x: x),
    "rsqrt": lambda a: torch.rsqrt(a["x"] + float(a.get("epsilon", 0.0))),
    "inverse": lambda a: 1 / (a["x"] + float(a.get("epsilon", 0.0))),
    "log": lambda a: torch.log(a["x"] + float(a.get("epsilon", 0.0))),
    "clip": lambda a: a["x"].clamp(float(a["alpha"]), float(a["beta"])),
    "softmax": lambda a: torch.softmax(a["x"], int(a["axis"])), "gelu": gelu, "cast": cast,
    "linear": lambda a: F.linear(a["x"], a["weight"], a.get("bias")), "matmul": matmul, "conv": conv,
    "einsum": lambda a: torch.einsum(str(a["equation"]), *a["values"]),
    "max_pool": max_pool, "avg_pool": avg_pool, "batch_norm": batch_norm, "layer_norm": layer_norm, "pad": pad,
    "upsample_bilinear": bilinear,
    "reduce_sum": reduced(torch.sum), "reduce_mean": reduced(torch.mean), "reduce_max": reduced(torch.amax),
    "slice_by_index": slice_by_index, "slice_by_size": slice_by_size, "gather": gather, "scatter": scatter,
    "split": split, "concat": concat, "stack": lambda a: torch.stack(list(a["values"]), int(a["axis"])),
    "reshape": reshape, "expand_dims": expand_dims, "squeeze": squeeze,
    "transpose": lambda a: a["x"].permute(numbers(a["perm"])), "tile": lambda a: a["x"].repeat(numbers(a["reps"])),
    "shape": unary(lambda x: torch.tensor(x.shape)), "range_1d": lambda a: torch.arange(
        *(torch.as_tensor(a[name]).item() for name in ("start", "end", "step"))),
    "fill": lambda a: torch.full(numbers(a["shape"]), torch.as_tensor(a.get("value", 0.0)).item()),
    "select": lambda a: torch.where(a["cond"], torch.as_tensor(a["a"]), torch.as_tensor(a["b"])),
    "constexpr_affine_dequantize": lambda a: dequantize({**a, "input": a["quantized_data"]}),
    "constexpr_blockwise_shift_scale": blockwise, "quantize": quantize, "dequantize": dequantize,
    "slice_update": slice_update, "read_state": lambda a: a["input"].value,
    "coreml_update_state": lambda a: a["state"].update(a["value"]),
    "constexpr_lut_to_dense": lut_to_dense, "constexpr_cast": lambda a: a["source_val"].float(),
}  # fmt: skip
