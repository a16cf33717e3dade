"""LiteRT's GPU delegate computes attention wrongly if its products have 3 axes, without a warning."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import LITERT_GPU
from export.views.graph_view import OPERATORS, SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("matmul"):
        shapes = [view.shape(name) for name in operator.inputs[:2]]
        computed = not view.constants.intersection(operator.inputs)
        if computed and any(shape is not None and len(shape) == 3 for shape in shapes):
            yield f"{operator.name} {view.values[operator.inputs[0]]}"


RULE = Rule(
    what="products of two computed values of 3 axes",
    why="attention of that rank runs on the GPU and gives other numbers",
    source="https://github.com/google-ai-edge/LiteRT/issues/8619",
    places={"tflite": LITERT_GPU},
    find=find,
    needs=(OPERATORS, SHAPES),
)
