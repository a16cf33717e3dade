"""Core ML: the operators of an ML Program, as `export.mil.program` reads them from a package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import types

from export.mil.program import Program, input_names
from export.views.graph_view import GraphView, Operator, Value, kind_of_operator

EXTRA = "coreml"

TYPES = {"fp16": "float16", "fp32": "float32"}


def view(program: Program, graph: str, enumerated: bool) -> GraphView:
    """A program.

    Args:
        program: read from a package.
        graph: its name.
        enumerated: whether the package lists several shapes; the program itself doesn't show it.
    """
    function = program.function
    variables = [*function.inputs.values(), *(var for op in function.operations for var in op.outputs)]
    values = {var.name: described(var) for var in variables}
    constants = {op.outputs[0].name: op.outputs[0].val for op in function.operations if op.op_type == "const"}
    values |= {name: constant(number, values[name]) for name, number in constants.items()}
    states = tuple(name for name, var in function.inputs.items() if types.is_state(var.sym_type))
    return GraphView(
        format="mlprogram",
        graph=graph,
        operators=tuple(operators(program, values)),
        values=values,
        inputs=tuple(name for name in function.inputs if name not in states),
        outputs=tuple(var.name for var in function.outputs),
        states=states,
        enumerated=enumerated,
    )


def operators(program: Program, values: dict[str, Value]) -> Iterator[Operator]:
    """All but the constants; texts and truth values among the inputs are left out."""
    for op in program.operations:
        tensors = [name for name in input_names(op) if values[name].dtype not in ("str", "bool") or not
                   values[name].constant]  # fmt: skip
        outputs = tuple(var.name for var in op.outputs)
        yield Operator(kind_of_operator(op.op_type), outputs[0] if outputs else op.name, tuple(tensors), outputs)


def described(var: Any) -> Value:
    """A variable. An axis that isn't fixed has its symbol's name."""
    shape = tuple(int(size) if isinstance(size, (int, np.integer)) else str(size) for size in var.shape or ())
    kind = getattr(var.dtype, "__name__", str(var.dtype))
    return Value(shape, TYPES.get(kind, kind))


def constant(number: Any, value: Value) -> Value:
    """A constant with the range of its floats."""
    array = np.asarray(number)
    if array.dtype.kind != "f" or not array.size:
        return Value(value.shape, value.dtype, constant=True)
    return Value(value.shape, value.dtype, True, float(array.min()), float(array.max()))
