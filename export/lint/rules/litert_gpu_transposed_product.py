"""LiteRT's GPU delegate ignores the flag that transposes an operand of a batched product."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import LITERT_GPU
from export.views.graph_view import GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("matmul"):
        if operator.settings.get("transposed"):
            yield operator.name


RULE = Rule(
    what="batched products that transpose an operand (adj_x, adj_y)",
    why="the GPU multiplies the matrix as it lies",
    source="https://github.com/google-ai-edge/LiteRT/issues/8913",
    places={"tflite": LITERT_GPU},
    find=find,
)
