"""ExecuTorch: the instructions of a method. What a delegate runs can't be seen and is reported as unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from export.views.graph_view import NUMBERS, OPERATORS, SHAPES, GraphView, Operator, Value, kind_of_operator

EXTRA = "executorch"

TYPES = {
    "BYTE": "uint8", "CHAR": "int8", "SHORT": "int16", "INT": "int32", "LONG": "int64", "HALF": "float16",
    "FLOAT": "float32", "DOUBLE": "float64", "BOOL": "bool",
}  # fmt: skip


def view(plan: Any, graph: str) -> GraphView:
    """A method, from its plan. Values are named by their numbers."""
    values = {str(number): value(item.val) for number, item in enumerate(plan.values) if is_tensor(item.val)}
    hidden: Counter[str] = Counter()
    operators = []
    for chain in plan.chains:
        for number, step in enumerate(chain.instructions):
            call = step.instr_args
            if hasattr(call, "delegate_index"):
                hidden[plan.delegates[call.delegate_index].id] += 1
            if hasattr(call, "op_index"):
                tensors = list(dict.fromkeys(str(n) for n in call.args if str(n) in values))
                operators.append(operator(plan.operators[call.op_index], number, tensors))
    return GraphView(
        format="pte",
        graph=graph,
        operators=tuple(operators),
        values=values,
        inputs=tuple(str(number) for number in plan.inputs if str(number) in values),
        outputs=tuple(str(number) for number in plan.outputs if str(number) in values),
        unseen=inside(hidden),
    )


def operator(own: Any, number: int, tensors: list[str]) -> Operator:
    """An instruction; its last tensors are what it writes to, as many as the operator's schema returns."""
    namespace, _, name = own.name.partition("::")
    found = getattr(getattr(getattr(torch.ops, namespace), name, None), own.overload or "default", None)
    outputs = len(found._schema.returns) if found is not None else 1
    where = f"instruction {number}, {own.name}"
    return Operator(kind_of_operator(own.name), where, tuple(tensors[:-outputs]), tuple(tensors[-outputs:]))


def inside(hidden: Mapping[str, int]) -> dict[str, str]:
    """What delegates hide."""
    if not hidden:
        return {}
    words = "the inside of " + ", ".join(f"{count} parts of {name}" for name, count in hidden.items())
    return {fact: words for fact in (OPERATORS, SHAPES, NUMBERS)}


def is_tensor(item: Any) -> bool:
    return hasattr(item, "scalar_type") and hasattr(item, "sizes")


def value(tensor: Any) -> Value:
    """A tensor. A constant's numbers are in another part of the file, which isn't read."""
    constant = bool(tensor.data_buffer_idx) and tensor.allocation_info is None
    return Value(tuple(tensor.sizes), TYPES.get(tensor.scalar_type.name, tensor.scalar_type.name.lower()), constant)
