"""Each cast between half and full precision costs a pass over memory, so there should be none inside a graph."""

from collections.abc import Iterator

from export.lint.rule import EVERYWHERE_IN_HALF, WARNING, Rule
from export.views.graph_view import GraphView

FLOATS = {"float16", "float32"}


def find(view: GraphView) -> Iterator[str]:
    borders = {*view.inputs, *view.outputs}
    for operator in view.of_kind("cast"):
        kinds = {view.dtype(operator.inputs[0]), view.dtype(operator.outputs[0])}
        if kinds == FLOATS and not borders.intersection((*operator.inputs, *operator.outputs)):
            yield operator.name


RULE = Rule(
    what="casts between float16 and float32 inside the graph",
    why="each copies the tensor, and the graph may change processors there",
    source="https://apple.github.io/coremltools/docs-guides/source/typed-execution.html",
    places=EVERYWHERE_IN_HALF,
    find=find,
    severity=WARNING,
)
