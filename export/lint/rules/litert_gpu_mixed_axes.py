"""LiteRT's GPU delegate computes some sums and products of values with different numbers of axes wrongly, because it
aligns axes in its own way."""

from collections.abc import Iterator, Sequence

from export.lint.rule import Rule
from export.places import LITERT_GPU
from export.views.graph_view import OPERATORS, SHAPES, GraphView, Size

AXES = 4


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("add", "mul", "sub"):
        if view.constants.intersection(operator.inputs):
            continue
        shapes = [shape for name in operator.inputs if (shape := view.shape(name)) is not None]
        mixed = len({len(shape) for shape in shapes if shape}) > 1
        if mixed and any(placed(shape) != aligned(shape) for shape in shapes if shape):
            yield f"{operator.name} {' and '.join(str(list(shape)) for shape in shapes)}"


def placed(shape: Sequence[Size]) -> tuple[Size, ...]:
    """The four axes that the delegate gives a value: rows first, channels last, and ones between them."""
    return (shape[0], *(1,) * (AXES - len(shape)), *shape[1:])


def aligned(shape: Sequence[Size]) -> tuple[Size, ...]:
    """The four axes that it gets when it is combined with a value of four axes."""
    return (*(1,) * (AXES - len(shape)), *shape)


RULE = Rule(
    what="elementwise operators on two computed values of different ranks that are aligned otherwise",
    why="the delegate aligns their axes from the left; a masked attention then gives other numbers",
    source="https://github.com/google-ai-edge/LiteRT/issues/8980 https://github.com/google-ai-edge/LiteRT/issues/8593",
    places={"tflite": LITERT_GPU},
    find=find,
    needs=(OPERATORS, SHAPES),
)
