"""An ONNX graph in half precision: weights and activations float16, by ONNX Runtime's own converter.

Pictures and scores stay float32 at the border and are cast there once; keys, values and the memory's mask, which are
the bulk of what a step reads, are float16 outside, too. What computes angles for sinusoidal positions stays float32:
128 has a neighbour at 127.94 in half precision, which is another angle.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import TensorProto
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass
from onnxruntime.transformers.float16 import convert_float_to_float16

from runtime.io_spec import IOSpec

OF_ANGLES = ("Sin", "Cos")


def halved(exact: onnx.ModelProto, spec: IOSpec) -> onnx.ModelProto:
    """A copy of an fp32 graph of the contract in half precision.

    Args:
        exact: the graph.
        spec: the types at its border.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(exact)
    graph = exact.graph.name
    border = [*spec.input_spec(graph), *spec.output_spec(graph)]
    proto = convert_float_to_float16(
        proto, keep_io_types=[item.name for item in border if item.dtype == "float32"],
        node_block_list=leading_to(exact, OF_ANGLES),
    )  # fmt: skip
    skip_round_trips(proto)
    del proto.graph.value_info[:]
    model = ir.from_proto(proto)
    for tidy in (RemoveUnusedNodesPass(), TopologicalSortPass()):  # the converter appends its casts at the end
        tidy(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def leading_to(proto: onnx.ModelProto, kinds: tuple[str, ...]) -> list[str]:
    """Names of the nodes of some kinds and of those that compute what they take, but for sizes of tensors."""
    wanted, found = set[str](), list[str]()
    for node in reversed(proto.graph.node):
        if node.op_type in kinds or (wanted.intersection(node.output) and node.op_type != "Shape"):
            wanted.update(node.input)
            found.append(node.name)
    return found


def skip_round_trips(proto: onnx.ModelProto) -> None:
    """Let what reads a float32 value that was cast to float16 and back read that value."""
    casts = {node.output[0]: node for node in proto.graph.node if node.op_type == "Cast"}
    same = {}
    for name, node in casts.items():
        before = casts.get(node.input[0])
        if before is not None and to(node) == TensorProto.FLOAT and before.name.endswith("_cast_to_fp16_node"):
            same[name] = before.input[0]
    for node in proto.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]


def to(cast: onnx.NodeProto) -> int:
    """The type that a Cast gives."""
    return next(int(item.i) for item in cast.attribute if item.name == "to")
