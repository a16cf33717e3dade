"""Tiny graphs as rules see them: for each rule one that breaks it and one that keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from export.views.graph_view import GraphView, Operator, Size, Value


def value(*shape: Size, dtype: str = "float32") -> Value:
    return Value(shape, dtype)


def half(*shape: Size) -> Value:
    return Value(shape, "float16")


def constant(*shape: int, dtype: str = "float32", lowest: float = -1.0, highest: float = 1.0) -> Value:
    return Value(shape, dtype, True, lowest, highest)


def node(kind: str, inputs: str, output: str, **settings: Any) -> Operator:
    """`inputs` with spaces between them; the operator is called after its output."""
    return Operator(kind, output, tuple(inputs.split()), (output,), settings)


def graph(format_: str, *operators: Operator, **values: Value) -> GraphView:
    """A graph whose inputs are what nobody computes, and whose outputs are what nobody takes."""
    made = {name for operator in operators for name in operator.outputs}
    taken = {name for operator in operators for name in operator.inputs}
    inputs = tuple(name for name, held in values.items() if name not in made and not held.constant)
    outputs = tuple(name for name in made if name not in taken)
    return GraphView(format_, "encode", operators, values, inputs, outputs)


def one(format_: str, kind: str, before: Value, after: Value, **settings: Any) -> GraphView:
    """One operator between an input and an output."""
    return graph(format_, node(kind, "x", "y", **settings), x=before, y=after)


def product(
    format_: str, first: Value, second: Value, result: Value, kind: str = "matmul", **settings: Any
) -> GraphView:
    return graph(format_, node(kind, "a b", "y", **settings), a=first, b=second, y=result)


def layer_norm_in_pieces(bits: float | None) -> GraphView:
    found = graph(
        "tflite", node("mul", "x x", "squares"), node("mean", "squares", "variance"), node("add", "variance e", "sum"),
        node("root", "sum", "y"), x=half(1, 4, 256), squares=half(1, 4, 256), variance=half(1, 4, 1),
        e=constant(dtype="float16"), sum=half(1, 4, 1), y=half(1, 4, 1),
    )  # fmt: skip
    return found if bits is None else replace(found, headroom={"bits": bits, "operator": "square of layer_norm"})


def between_casts(first: str, second: str) -> GraphView:
    return graph(
        "mlprogram", node("relu", "x", "a"), node("cast", "a", "b"), node("relu", "b", "y"),
        x=half(1, 64), a=value(1, 64, dtype=first), b=value(1, 64, dtype=second), y=value(1, 64, dtype=second),
    )  # fmt: skip


def dequantized(kind: str, size: int) -> GraphView:
    """A convolution whose int8 weight becomes float32 in the graph."""
    return graph(
        "onnx", node(kind, "weight", "wide"), node("conv", "x wide", "y"), x=value(1, 1, 8, 8),
        weight=constant(size, 1, 1, 1, dtype="int8"), wide=value(size, 1, 1, 1), y=value(1, size, 8, 8),
    )  # fmt: skip


def masked(by: float) -> GraphView:
    return graph(
        "onnx", node("add", "x mask", "y"), x=value(1, 4), mask=constant(1, 4, lowest=by, highest=0), y=value(1, 4)
    )


def with_state(slots: int) -> GraphView:
    found = graph("mlprogram", node("read_state", "cache", "y"), cache=half(1, 2, 64, slots), y=half(1, 2, 64, slots))
    return replace(found, inputs=(), states=("cache",))


def listed(view: GraphView) -> GraphView:
    return replace(view, enumerated=True)


LAYER_NORM = one("mlprogram", "layer_norm", half(1, 4, 256), half(1, 4, 256))
RELU = one("mlprogram", "relu", half(1, 4, 256), half(1, 4, 256))

# rule -> (graphs that break it, graphs that keep it)
FIXTURES: dict[str, tuple[list[GraphView], list[GraphView]]] = {
    "neural_engine_axes": (
        [one("mlprogram", "reshape", half(64), half(1, 1, 1, 2, 4, 8))],
        [one("mlprogram", "reshape", half(64), half(1, 1, 2, 4, 8))],
    ),
    "neural_engine_last_axis": (
        [one("mlprogram", "relu", half(1, 4, 256, 1), half(1, 4, 256, 1))],
        [one("mlprogram", "relu", half(1, 4, 1, 256), half(1, 4, 1, 256))],
    ),
    "neural_engine_attention": (
        [one("mlprogram", "attention", half(1, 4, 8, 64), half(1, 4, 8, 64))],
        [one("mlprogram", "softmax", half(1, 4, 8, 64), half(1, 4, 8, 64))],
    ),
    "neural_engine_wide_linear": (
        [product("mlprogram", half(1, 64), constant(4096, 64, dtype="float16"), half(1, 4096), "linear")],
        [product("mlprogram", half(1, 64), constant(1024, 64, dtype="float16"), half(1, 1024), "linear")],
    ),
    "neural_engine_silu": ([one("mlprogram", "silu", half(1, 64), half(1, 64))], [RELU]),
    "neural_engine_scatter": ([one("mlprogram", "scatter", half(1, 64), half(1, 64))], [RELU]),
    "neural_engine_listed_shapes": ([listed(LAYER_NORM)], [listed(RELU), LAYER_NORM]),
    "neural_engine_states": ([with_state(270)], [with_state(256), RELU]),
    "variable_shapes": (
        [one(name, "relu", half("B", 64), half("B", 64)) for name in ("mlprogram", "onnx")],
        [one(name, "relu", half(1, 64), half(1, 64)) for name in ("mlprogram", "onnx")],
    ),
    "hexagon_attention": (
        [one("onnx", "attention", value(1, 8, 64), value(1, 8, 64))],
        [one("onnx", "softmax", value(1, 8, 64), value(1, 8, 64))],
    ),
    "hexagon_rms_norm": (
        [one("onnx", "rms_norm", value(1, 4, 8, 64), value(1, 4, 8, 64))],
        [one("onnx", "rms_norm", value(1, 32, 64), value(1, 32, 64))],
    ),
    "litert_gpu_axes": (
        [one("tflite", "reshape", value(64), value(1, 1, 2, 4, 8))],
        [one("tflite", "reshape", value(64), value(1, 2, 4, 8))],
    ),
    "litert_gpu_attention": (
        [product("tflite", value(4, 1, 64), value(4, 64, 256), value(4, 1, 256))],
        [
            product("tflite", value(1, 4, 1, 64), value(1, 4, 64, 256), value(1, 4, 1, 256)),
            product("tflite", value(4, 1, 64), constant(64, 256), value(4, 1, 256)),
        ],
    ),
    "litert_gpu_mixed_axes": (
        [
            product("tflite", value(4, 1, 256), value(1, 1, 1, 256), value(1, 4, 1, 256), "add"),
            product("tflite", value(1, 128, 256), value(128, 256), value(1, 128, 256), "add"),
        ],
        [
            product("tflite", value(1, 4, 1, 256), value(1, 256), value(1, 4, 1, 256), "add"),
            product("tflite", value(1, 4, 1, 256), value(1, 1, 1, 256), value(1, 4, 1, 256), "add"),
            product("tflite", value(1, 4, 256), constant(256), value(1, 4, 256), "add"),
        ],
    ),
    "litert_gpu_transposed_product": (
        [product("tflite", value(1, 4, 1, 64), value(1, 4, 256, 64), value(1, 4, 1, 256), transposed=True)],
        [product("tflite", value(1, 4, 1, 64), value(1, 4, 64, 256), value(1, 4, 1, 256))],
    ),
    "litert_gpu_operators": (
        [one("tflite", kind, value(1, 4, 1, 64), value(1, 4, 8, 64)) for kind in ("broadcast", "gather_nd")]
        + [one("tflite", "broadcast", constant(1, 4, 1, 64), value(1, 4, 8, 64))],
        [one("tflite", "TILE", value(1, 4, 1, 64), value(1, 4, 8, 64))],
    ),
    "litert_gpu_unpack": (
        [one("tflite", "unpack", value(3, 1, 4, 8, 64), value(1, 4, 8, 64))],
        [one("tflite", "unpack", value(3, 8, 64), value(8, 64))],
    ),
    "infinite_constants": (
        [masked(-np.inf), masked(float(np.finfo(np.float32).min)), masked(-65504.0)],
        [masked(-1e4)],
    ),
    "half_single_operators": (
        [between_casts("float16", "float32")],
        [RELU, one("onnx", "relu", value(1, 64), value(1, 64))],
    ),
    "half_casts": (
        [between_casts("float16", "float32"), between_casts("float32", "float16")],
        [one("mlprogram", "cast", value(1, 64), half(1, 64)), between_casts("float16", "float16")],
    ),
    "half_layer_norm": (
        [layer_norm_in_pieces(None), layer_norm_in_pieces(0.5)],
        [layer_norm_in_pieces(4.0), LAYER_NORM],
    ),
    "half_headroom": (
        [replace(RELU, headroom={"bits": 0.4, "operator": "linear in decoder.head"})],
        [replace(RELU, headroom={"bits": 1.0, "operator": "linear in decoder.head"})],
    ),
    "coreml_provider_dequantize": ([dequantized("dequantize", 4)], [dequantized("cast", 4)]),
    "folded_weights": (
        [dequantized("dequantize", 2048), dequantized("cast", 2048)],
        [
            dequantized("cast", 16),
            product("onnx", value(1, 64), constant(64, 64, dtype="uint8"), value(1, 64), "linear"),
        ],
    ),
    "static_windows": (
        [one("onnx", "reshape", value("B", 96, 8, 8), value("B", 2, 4, "w", 4, 96))],
        [one("onnx", "reshape", value("B", 96, 8, 8), value("B", 2, 4, 2, 4, 96)),
         one("onnx", "reshape", value("B", "T", 64), value("B", "T", 4, 16))],
    ),
    "idle_copies": (
        [one("pte", "broadcast", value(1, 4, 256, 64), value(1, 4, 256, 64))],
        [one("pte", "broadcast", value(1, 4, 1, 64), value(1, 4, 256, 64))],
    ),
}  # fmt: skip
