"""An expand that changes no size still copies its tensor. A decoder with one copies its caches at every step."""

from collections.abc import Iterator

from export.lint.rule import WARNING, Rule
from export.places import CPU
from export.views.graph_view import OPERATORS, SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("broadcast"):
        before, after = view.shape(operator.inputs[0]), view.shape(operator.outputs[0])
        if before is not None and before == after:
            yield f"{operator.name} {view.values[operator.inputs[0]]}"


RULE = Rule(
    what="expands that change no size",
    why="each copies its tensor; they are left of products of 4 axes, which become products of 3",
    source="https://github.com/pytorch/executorch/pull/10487",
    places={"pte": CPU, "tflite": CPU, "onnx": CPU},
    find=find,
    severity=WARNING,
    needs=(OPERATORS, SHAPES),
)
