"""A graph as lint rules see it, in the same form for all formats: operators, values, constants.

Each format has a file in `export/views/` that makes this form. What can't be seen (the inside of a delegate's part, an
unknown shape) is named in `unseen`, so that a rule says "not looked at" instead of passing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

FORMATS = ("onnx", "mlprogram", "tflite", "pte")

# Facts that may be unseen.
OPERATORS, SHAPES, NUMBERS, HEADROOM = "operators", "shapes", "numbers", "headroom"

# Kinds that rules ask for, and what the formats call them. An operator of another kind keeps its own name.
KINDS = {
    "attention": ("Attention", "MultiHeadAttention", "GroupQueryAttention", "scaled_dot_product_attention",
                  "aten::scaled_dot_product_attention", "odml.scaled_dot_product_attention"),
    "broadcast": ("Expand", "BROADCAST_TO", "aten::expand_copy"),
    "cast": ("Cast", "CAST", "aten::_to_copy", "dim_order_ops::_to_dim_order_copy"),
    "conv": ("Conv", "CONV_2D", "DEPTHWISE_CONV_2D", "aten::convolution"),
    "dequantize": ("DequantizeLinear", "DEQUANTIZE", "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale",
        "constexpr_lut_to_dense"),
    "gather_nd": ("GatherND", "GATHER_ND"),
    "layer_norm": ("LayerNormalization", "aten::native_layer_norm"),
    "linear": ("Gemm", "MatMulNBits", "FULLY_CONNECTED", "aten::linear", "aten::addmm"),
    "matmul": ("MatMul", "BATCH_MATMUL", "aten::mm", "aten::bmm"),
    "mean": ("ReduceMean", "reduce_mean", "MEAN", "aten::mean"),
    "mul": ("Mul", "MUL", "aten::mul"),
    "add": ("Add", "ADD", "aten::add"),
    "pow": ("Pow", "POW", "aten::pow"),
    "reshape": ("Reshape", "RESHAPE", "aten::view_copy"),
    "rms_norm": ("RMSNormalization", "SimplifiedLayerNormalization", "aten::rms_norm"),
    "root": ("Sqrt", "sqrt", "rsqrt", "SQRT", "RSQRT", "aten::sqrt", "aten::rsqrt"),
    "scatter": ("ScatterND", "ScatterElements", "scatter_nd", "scatter_along_axis", "SCATTER_ND",
                "aten::index_put", "aten::scatter"),
    "sigmoid": ("Sigmoid", "LOGISTIC", "aten::sigmoid"),
    "silu": ("aten::silu",),
    "softmax": ("Softmax", "SOFTMAX", "aten::_softmax"),
    "square": ("SQUARE", "SQUARED_DIFFERENCE"),
    "sub": ("Sub", "SUB", "aten::sub"),
    "transpose": ("Transpose", "TRANSPOSE", "aten::permute_copy"),
    "unpack": ("UNPACK",),
}  # fmt: skip
NEUTRAL = {own: kind for kind, listed in KINDS.items() for own in listed}

Size = int | str  # a name where the axis is variable


def kind_of_operator(own: str) -> str:
    """The neutral kind for an operator's own name: `softmax` for `SOFTMAX` and for `Softmax`."""
    return NEUTRAL.get(own, own)


@dataclass(frozen=True)
class Value:
    """A tensor.

    Attributes:
        shape: its axes; None where they aren't known.
        dtype: as numpy calls it: "float32", "float16", "int8".
        constant: whether its numbers are in the file.
        lowest, highest: of a constant of floats.
    """

    shape: tuple[Size, ...] | None
    dtype: str
    constant: bool = False
    lowest: float = 0.0
    highest: float = 0.0

    @property
    def floats(self) -> bool:
        return "float" in self.dtype

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]" if self.shape is not None else self.dtype


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        kind: neutral, see KINDS.
        name: its name, which says where it is in the graph.
        inputs, outputs: names of values; settings that aren't tensors are left out.
        settings: what rules ask for, e.g. {"transposed": True}.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphView:
    """A graph of one artifact.

    Attributes:
        format: one of FORMATS.
        graph: its name in the contract.
        operators: producers before consumers.
        values: of all names.
        inputs, outputs: names, those of the states not among them.
        states: names of tensors that the graph keeps from call to call.
        enumerated: whether it takes one of several listed shapes.
        unseen: a fact -> what of it can't be seen, in words.
        headroom: what `export.checks.activation_ranges` measured, from the artifact's manifest; None where nothing was.
    """

    format: str
    graph: str
    operators: tuple[Operator, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    enumerated: bool = False
    unseen: Mapping[str, str] = field(default_factory=dict)
    headroom: Mapping[str, Any] | None = None

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of constants, and of values computed only from constants."""
        found = {name for name, value in self.values.items() if value.constant}
        for operator in self.operators:
            if operator.inputs and found.issuperset(operator.inputs):
                found.update(operator.outputs)
        return frozenset(found)

    @cached_property
    def producers(self) -> dict[str, Operator]:
        return {name: operator for operator in self.operators for name in operator.outputs}

    @cached_property
    def consumers(self) -> dict[str, list[Operator]]:
        found: dict[str, list[Operator]] = {}
        for operator in self.operators:
            for name in dict.fromkeys(operator.inputs):
                found.setdefault(name, []).append(operator)
        return found

    @cached_property
    def half(self) -> bool:
        """Whether it computes in half precision: an activation is float16."""
        return any(self.dtype(name) == "float16" for operator in self.computing() for name in operator.outputs)

    def computing(self) -> list[Operator]:
        """The operators that don't compute only with constants."""
        return [operator for operator in self.operators if not self.constants.issuperset(operator.outputs)]

    def of_kind(self, *kinds: str) -> list[Operator]:
        """The operators of some kinds, except those that compute only with constants."""
        return [operator for operator in self.computing() if operator.kind in kinds]

    def activations(self) -> dict[str, Value]:
        """What goes in and what is computed, by name."""
        names = [*self.inputs, *(name for operator in self.computing() for name in operator.outputs)]
        return {name: self.values[name] for name in names if name in self.values}

    def shape(self, name: str) -> tuple[Size, ...] | None:
        return self.values[name].shape if name in self.values else None

    def dtype(self, name: str) -> str:
        return self.values[name].dtype if name in self.values else ""

    def not_seen(self) -> dict[str, str]:
        """`unseen`, and how many shapes aren't known."""
        unknown = sum(value.shape is None for value in self.activations().values())
        shapes = {SHAPES: f"the shapes of {unknown} values"} if unknown else {}
        return {**shapes, **self.unseen}
