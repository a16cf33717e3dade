"""Converts an ONNX graph to half precision: float16 weights and activations, with ONNX Runtime's own converter.

Pictures and scores that go in and come out stay float32. Keys, values and the memory's mask, which are most of what a
step reads, are float16 outside the graph, too. Three things are computed in fp32, which costs no time on a CPU:

    angles    of sinusoidal positions: 128 has a neighbour at 127.94 in half precision, which is another angle
    norms     their squares may be too large, and their weights, rounded, turn every value of a channel the same way
    scores    by the product that gives them: near 10 half precision has steps of 0.008, and two may be closer;
              its weights are float16 in the file

With norms and scores in half precision, too, the distance between the two highest scores of `pocket` was off by 0.0029
in the median, instead of 0.0009 (held-out lines).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass
from onnxruntime.transformers.float16 import convert_float_to_float16

from runtime.bundle.io_spec import IOSpec

OF_ANGLES = ("Sin", "Cos")
NORMS = ("LayerNormalization",)
PRODUCTS = ("MatMul", "Gemm", "Conv")


def halved(exact: onnx.ModelProto, spec: IOSpec) -> onnx.ModelProto:
    """A copy of an fp32 graph of the contract in half precision.

    Args:
        exact: the graph.
        spec: the types at its border.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(exact)
    graph = exact.graph.name
    single = [item.name for item in (*spec.input_spec(graph), *spec.output_spec(graph)) if item.dtype == "float32"]
    nodes = exact.graph.node
    angles = {name for node in nodes if node.op_type in OF_ANGLES for name in node.output}
    proto = convert_float_to_float16(
        proto, keep_io_types=single,
        node_block_list=[
            *leading_to(exact, angles | {*single}), *(node.name for node in nodes if node.op_type in NORMS),
        ],
    )  # fmt: skip
    skip_round_trips(proto)
    store_in_half(proto)
    del proto.graph.value_info[:]
    model = ir.from_proto(proto)
    for tidy in (RemoveUnusedNodesPass(), TopologicalSortPass()):  # the converter appends its casts at the end
        tidy(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def leading_to(proto: onnx.ModelProto, values: set[str]) -> list[str]:
    """Names of the nodes that compute some values, back to the products there, but for sizes of tensors."""
    wanted, found = set(values), list[str]()
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output) and node.op_type != "Shape":
            found.append(node.name)
            if node.op_type not in PRODUCTS:
                wanted.update(node.input)
    return found


def skip_round_trips(proto: onnx.ModelProto) -> None:
    """Let what reads a float32 value that was cast to float16 and back read that value, an output, too."""
    casts = {node.output[0]: node for node in proto.graph.node if node.op_type == "Cast"}
    outputs = {item.name for item in proto.graph.output}
    same, renamed = {}, {}
    for name, node in casts.items():
        before = casts.get(node.input[0])
        if before is not None and to(node) == TensorProto.FLOAT and before.name.endswith("_cast_to_fp16_node"):
            same[name] = before.input[0]
            if name in outputs:  # the value takes its name
                node.output[0] = f"{name}_of_half"
                renamed[before.input[0]] = name
    for node in proto.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]


def store_in_half(proto: onnx.ModelProto) -> None:
    """Float32 matrices as float16 and a cast, which a runtime computes once."""
    for weight in proto.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and len(weight.dims) > 1:
            name, stored = weight.name, f"{weight.name}_stored"
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), stored))
            proto.graph.node.append(helper.make_node("Cast", [stored], [name], f"{name}_widened", to=TensorProto.FLOAT))


def to(cast: onnx.NodeProto) -> int:
    """The type that a Cast gives."""
    return next(int(item.i) for item in cast.attribute if item.name == "to")
