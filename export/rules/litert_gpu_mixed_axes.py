"""Sums and products of values with different numbers of axes come out wrong on LiteRT's GPU delegate."""

from collections.abc import Iterator

from export.rule import LITERT_GPU, Rule
from export.view import OPERATORS, SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("add", "mul", "sub"):
        if view.constants.intersection(operator.inputs):
            continue
        shapes = [shape for name in operator.inputs if (shape := view.shape(name)) is not None]
        if len({len(shape) for shape in shapes if shape}) > 1:
            yield f"{operator.name} {' and '.join(str(list(shape)) for shape in shapes)}"


RULE = Rule(
    what="elementwise operators on two computed values of different ranks",
    why="the delegate aligns their axes from the left; a masked attention then gives other numbers",
    source="https://github.com/google-ai-edge/LiteRT/issues/8980 https://github.com/google-ai-edge/LiteRT/issues/8593",
    places={"tflite": LITERT_GPU},
    find=find,
    needs=(OPERATORS, SHAPES),
)
