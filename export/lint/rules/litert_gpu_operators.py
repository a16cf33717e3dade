"""Operators that LiteRT's GPU delegate lacks. One of them takes the whole graph off the GPU."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import LITERT_GPU
from export.views.graph_view import GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.operators:  # it computes constants, too
        if operator.kind in ("broadcast", "gather_nd"):
            yield f"{operator.name} ({operator.kind})"


RULE = Rule(
    what="BROADCAST_TO or GATHER_ND",
    why="the delegate refuses the whole graph",
    source="https://github.com/google-ai-edge/LiteRT/issues/9191 https://github.com/google-ai-edge/litert-torch/issues/925",
    places={"tflite": LITERT_GPU},
    find=find,
)
