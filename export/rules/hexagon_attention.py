"""Qualcomm's processor has no operator for a whole attention."""

from collections.abc import Iterator

from export.rule import HEXAGON, Rule
from export.view import GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("attention"):
        yield operator.name


RULE = Rule(
    what="attention as one operator",
    why="ONNX Runtime gives it to the CPU, or refuses the graph",
    source="https://github.com/onnxruntime/onnxruntime-qnn/issues/646",
    places={"onnx": HEXAGON},
    find=find,
)
