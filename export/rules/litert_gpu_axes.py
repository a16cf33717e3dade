"""LiteRT's GPU delegate takes values of 4 axes at most."""

from collections.abc import Iterator

from export.rule import LITERT_GPU, Rule
from export.view import OPERATORS, SHAPES, GraphView

MOST = 4


def find(view: GraphView) -> Iterator[str]:
    for name, value in view.activations().items():
        if value.shape is not None and len(value.shape) > MOST:
            yield f"{name} {value}"


RULE = Rule(
    what=f"values of more than {MOST} axes",
    why="the delegate refuses the whole graph",
    source="https://github.com/google-ai-edge/LiteRT/issues/2540",
    places={"tflite": LITERT_GPU},
    find=find,
    needs=(OPERATORS, SHAPES),
)
