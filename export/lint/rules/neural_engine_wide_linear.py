"""Linear maps with many outputs run better on the Neural Engine if they are split."""

from collections.abc import Iterator

from export.lint.rule import WARNING, Rule
from export.places import NEURAL_ENGINE
from export.views.graph_view import OPERATORS, SHAPES, GraphView

MOST = 1024


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("linear", "conv"):
        weights = [view.shape(name) for name in operator.inputs if name in view.constants]
        outputs = max((shape[0] for shape in weights if shape and len(shape) > 1), key=size, default=0)
        if size(outputs) > MOST:
            yield f"{operator.name}, {outputs} outputs"


def size(axis: int | str) -> int:
    return axis if isinstance(axis, int) else 0


RULE = Rule(
    what=f"linear maps with more than {MOST} outputs in one piece",
    why="executorch's models for the Neural Engine cut them there",
    source="https://github.com/pytorch/executorch/pull/8436",
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
    severity=WARNING,
    needs=(OPERATORS, SHAPES),
)
