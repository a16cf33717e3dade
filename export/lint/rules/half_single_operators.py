"""One float32 constant in a half-precision graph turns what it is combined with into float32."""

from collections.abc import Iterator

from export.lint.rule import NEURAL_ENGINE_RULES, WARNING, Rule
from export.places import HALF
from export.views.graph_view import GraphView


def find(view: GraphView) -> Iterator[str]:
    if not view.half:
        return
    borders = {*view.inputs, *view.outputs}
    for operator in view.computing():
        inside = [name for name in (*operator.inputs, *operator.outputs) if name not in borders]
        if operator.kind != "cast" and any(view.dtype(name) == "float32" for name in inside):
            yield f"{operator.name} ({operator.kind})"


RULE = Rule(
    what="operators on float32 inside a graph of half precision",
    why="the Neural Engine has no float32: the graph is cut there",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": HALF, "onnx": HALF},
    find=find,
    severity=WARNING,
)
