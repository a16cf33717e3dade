"""TFLite: the operators of a signature's subgraph, as the flatbuffer has them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.views.graph_view import GraphView, Operator, Value, kind_of_operator

EXTRA = "tflite"

OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
TYPES = {number: name.lower() for name, number in vars(schema.TensorType).items() if not name.startswith("_")}
LONGEST = 60  # letters of a name: the converter writes the whole way through the modules


def view(model: Any, signature: Any, subgraph: Any, graph: str) -> GraphView:
    """A signature of a model."""
    borders = {item.tensorIndex: item.name.decode() for item in (*signature.inputs, *signature.outputs)}
    names = [borders.get(number, f"{number}") for number in range(len(subgraph.tensors))]
    return GraphView(
        format="tflite",
        graph=graph,
        operators=tuple(operator(model, subgraph, item, names) for item in subgraph.operators),
        values={name: value(model, tensor) for name, tensor in zip(names, subgraph.tensors, strict=True)},
        inputs=tuple(item.name.decode() for item in signature.inputs),
        outputs=tuple(item.name.decode() for item in signature.outputs),
    )


def operator(model: Any, subgraph: Any, item: Any, names: Collection[str]) -> Operator:
    """One operator; it is called after its first output."""
    code = model.operatorCodes[item.opcodeIndex]
    own = OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    if own == "STABLEHLO_COMPOSITE":
        own = item.builtinOptions2.name.decode()
    listed = list(names)
    inputs = tuple(listed[number] for number in item.inputs if number >= 0)
    outputs = tuple(listed[number] for number in item.outputs)
    where = subgraph.tensors[item.outputs[0]].name.decode() if len(item.outputs) else own
    options = item.builtinOptions
    turned = any(getattr(options, side, False) for side in ("adjX", "adjY"))
    return Operator(kind_of_operator(own), where[-LONGEST:], inputs, outputs, {"transposed": True} if turned else {})


def value(model: Any, tensor: Any) -> Value:
    """A tensor; an axis of size -1 in its signature is variable."""
    signature = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    sizes = [] if signature is None else [int(size) if size >= 0 else "?" for size in signature]
    kind = TYPES[tensor.type]
    data = model.buffers[tensor.buffer].data
    stored = (data is not None and len(data) > 0) or bool(model.buffers[tensor.buffer].size)
    if not stored or "float" not in kind or data is None:
        return Value(tuple(sizes), kind, stored)
    numbers = np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind)
    return Value(tuple(sizes), kind, True, float(numbers.min()), float(numbers.max()))
