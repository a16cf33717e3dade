"""Qualcomm's Hexagon computes RMSNorm over the last of 4 axes wrongly; with 3 axes it is right."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import HEXAGON
from export.views.graph_view import OPERATORS, SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("rms_norm"):
        shape = view.shape(operator.inputs[0])
        if shape is not None and len(shape) == 4:
            yield f"{operator.name} {view.values[operator.inputs[0]]}"


RULE = Rule(
    what="RMSNorm of 4 axes",
    why="it runs and gives other numbers",
    source="https://github.com/onnxruntime/mobius/pull/372",
    places={"onnx": HEXAGON},
    find=find,
    needs=(OPERATORS, SHAPES),
)
