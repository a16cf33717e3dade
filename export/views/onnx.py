"""ONNX: the nodes of the graph. Shapes come from ONNX Runtime's symbolic inference, which knows its own operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

from export.views.graph_view import GraphView, Operator, Value, kind_of_operator


def view(proto: onnx.ModelProto, graph: str) -> GraphView:
    """A model's graph; branches inside it aren't looked into, and the contract has none."""
    values = {item.name: constant(item) for item in proto.graph.initializer}
    nodes = []
    for node in proto.graph.node:
        if node.op_type == "Constant":
            tensor = next((item.t for item in node.attribute if item.name == "value"), None)
            values[node.output[0]] = constant(tensor) if tensor else Value((), "float32", constant=True)
        else:
            nodes.append(node)
    inferred = SymbolicShapeInference.infer_shapes(proto, auto_merge=True).graph
    described = [*inferred.value_info, *inferred.output, *inferred.input, *proto.graph.output, *proto.graph.input]
    values |= {item.name: value(item) for item in described if item.name not in values}
    return GraphView(
        format="onnx",
        graph=graph,
        operators=tuple(
            Operator(kind_of_operator(node.op_type), node.name or node.output[0], tuple(filter(None, node.input)),
                     tuple(filter(None, node.output)))
            for node in nodes
        ),
        values=values,
        inputs=tuple(item.name for item in proto.graph.input),
        outputs=tuple(item.name for item in proto.graph.output),
    )  # fmt: skip


def value(item: onnx.ValueInfoProto) -> Value:
    """A described tensor; an axis without size or name is "?"."""
    tensor = item.type.tensor_type
    known = tensor.HasField("shape")
    sizes = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in tensor.shape.dim]
    return Value(tuple(sizes) if known else None, name_of(tensor.elem_type))


def constant(tensor: onnx.TensorProto) -> Value:
    """A tensor in the file."""
    kind = name_of(tensor.data_type)
    numbers: Any = numpy_helper.to_array(tensor) if "float" in kind else np.zeros(0)
    lowest, highest = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    return Value(tuple(tensor.dims), kind, True, lowest, highest)


def name_of(number: int) -> str:
    """numpy's name of a type; ONNX's own where numpy has none, as for 4 bits."""
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64", "undefined": ""}.get(name, name) or str(
        helper.tensor_dtype_to_np_dtype(number) if number else ""
    )
