"""Neural processors need fixed sizes on every axis."""

from collections.abc import Iterator

from export.lint.rule import NEURAL_ENGINE_RULES, Rule
from export.places import HEXAGON, NEURAL_ENGINE
from export.views.graph_view import SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for name in view.inputs:
        shape = view.shape(name)
        if shape is not None and not all(isinstance(size, int) for size in shape):
            yield f"{name} {view.values[name]}"


RULE = Rule(
    what="inputs with variable axes",
    why="the graph goes to the CPU; write one for each size",
    source=f"{NEURAL_ENGINE_RULES} https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html",
    places={"mlprogram": NEURAL_ENGINE, "onnx": HEXAGON},
    find=find,
    needs=(SHAPES,),
)
