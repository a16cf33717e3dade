"""Writes int8 and int4 weights into an ONNX graph. Activations stay fp32 between operators.
`training/techniques/qat.py` rounds in the same way as int8.

What is quantised, and how (only matrix products may have 4 bits):

    matrix products    MatMulNBits: a scale for every 32 weights. ONNX Runtime brings the activations to int8, too, with
                       a scale for every 32 values of a row (accuracy_level 4), so a row reads the same alone and in
                       a batch. `quantize_dynamic` takes one scale for the whole batch: 3 % of the readings were equal.
    convolutions       a scale for each output channel; weights become fp32 again when the file is loaded, so
                       this saves bytes, not time. Cast and Mul, not DequantizeLinear: ONNX Runtime 1.32 keeps the
                       latter in the graph, and the encoder took 1.2 times as long. Never ConvInteger: 7 times.
    embeddings         a scale for each row, applied after the row is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

BLOCK = 32  # weights that share a scale; also MatMulNBits' unit on most processors
FEWEST = 2048  # weights of a convolution or embedding; smaller ones stay fp32
CONTRIB = "com.microsoft"

Floats = NDArray[np.float32]


def quantize(exact: onnx.ModelProto, bits: Callable[[Floats], int] = lambda _: 8) -> onnx.ModelProto:
    """A copy of an fp32 graph with few bits.

    Args:
        exact: the graph.
        bits: a matrix [in, out] -> 4 or 8.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(exact)
    weights = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    weights = {name: value for name, value in weights.items() if value.dtype == np.float32}
    made: dict[str, TensorProto] = {}
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        slot = {"MatMul": 1, "Conv": 1, "Gather": 0}.get(node.op_type)
        weight = weights.get(node.input[slot]) if slot is not None else None
        if weight is None:
            nodes.append(node)
        elif node.op_type == "MatMul" and weight.ndim == 2:
            nodes.append(matmul(node, weight, bits(weight), made))
        elif node.op_type == "Conv" and weight.size >= FEWEST:
            nodes += convolution(node, weight, made)
        elif node.op_type == "Gather" and weight.ndim == 2 and weight.size >= FEWEST:
            nodes += embedding(node, weight, made)
        else:
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in proto.graph.initializer if item.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([*kept, *made.values()])
    if not any(entry.domain == CONTRIB for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return proto


def scaled(values: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 values -127..127 and the scale of each row of `values` [rows, n]."""
    scale = np.abs(values).max(axis=1) / 127
    scale[scale == 0] = 1
    return np.rint(values / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def scaled_to_four(values: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Values -8..7 and the scale of each row of `values` [rows, n], whose largest magnitude becomes -8."""
    largest = values[np.arange(len(values)), np.abs(values).argmax(axis=1)]
    scale = np.where(largest == 0, 1, largest / -8)
    return np.clip(np.rint(values / scale[:, None]), -8, 7).astype(np.int8), scale.astype(np.float32)


def keep(made: dict[str, TensorProto], name: str, value: NDArray[np.generic]) -> str:
    """Store a tensor; a weight that two nodes share is stored once."""
    if name not in made:
        made[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
    return name


def matmul(node: NodeProto, weight: Floats, bits: int, made: dict[str, TensorProto]) -> NodeProto:
    """x @ weight [K, N] with a scale for each block of BLOCK weights of a column."""
    k, n = weight.shape
    blocks = -(-k // BLOCK)
    columns = np.zeros((n, blocks * BLOCK), np.float32)
    columns[:, :k] = weight.T
    values, scales = (scaled if bits == 8 else scaled_to_four)(columns.reshape(n * blocks, BLOCK))
    stored = (values.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)  # the operator's zero point: 128 or 8
    if bits == 4:
        stored = stored[:, ::2] | stored[:, 1::2] << 4
    name = node.input[1]
    inputs = [
        node.input[0],
        keep(made, f"{name}_int{bits}", stored.reshape(n, blocks, -1)),
        keep(made, f"{name}_scale", scales.reshape(n, blocks)),
    ]
    return helper.make_node(
        "MatMulNBits", inputs, list(node.output), name=node.name, domain=CONTRIB,
        K=k, N=n, bits=bits, block_size=BLOCK, accuracy_level=4,
    )  # fmt: skip


def convolution(node: NodeProto, weight: Floats, made: dict[str, TensorProto]) -> list[NodeProto]:
    """A convolution whose weight [O, I, ..] is int8 in the file."""
    values, scales = scaled(weight.reshape(len(weight), -1))
    name = node.input[1]
    flat = (-1, *[1] * (weight.ndim - 1))
    stored = keep(made, f"{name}_int8", values.reshape(weight.shape))
    scale = keep(made, f"{name}_scale", scales.reshape(flat))
    first = [
        helper.make_node("Cast", [stored], [f"{node.name}_weight_cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{node.name}_weight_cast", scale], [f"{node.name}_weight"]),
    ]
    node.input[1] = f"{node.name}_weight"
    return [*first, node]


def embedding(node: NodeProto, weight: Floats, made: dict[str, TensorProto]) -> list[NodeProto]:
    """Rows of an int8 table [rows, D], each multiplied by its scale."""
    values, scales = scaled(weight)
    name, rows, out = node.input[0], node.input[1], node.output[0]
    stored = keep(made, f"{name}_int8", values)
    scale = keep(made, f"{name}_scale", scales[:, None])
    return [
        helper.make_node("Gather", [stored, rows], [f"{out}_int8"]),
        helper.make_node("Cast", [f"{out}_int8"], [f"{out}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [scale, rows], [f"{out}_scale"]),
        helper.make_node("Mul", [f"{out}_cast", f"{out}_scale"], [out]),
    ]
