"""LiteRT's GPU delegate can't unpack a tensor of 5 axes (queries, keys and values in one)."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import LITERT_GPU
from export.views.graph_view import OPERATORS, SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("unpack"):
        shape = view.shape(operator.inputs[0])
        if shape is not None and len(shape) > 4:
            yield f"{operator.name} {view.values[operator.inputs[0]]}"


RULE = Rule(
    what="values of 5 axes that are unpacked",
    why="the delegate refuses the whole graph; split the last axis instead",
    source="https://github.com/google-ai-edge/LiteRT/issues/2540",
    places={"tflite": LITERT_GPU},
    find=find,
    needs=(OPERATORS, SHAPES),
)
