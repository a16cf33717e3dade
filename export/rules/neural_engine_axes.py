"""The Neural Engine takes values of 5 axes at most."""

from collections.abc import Iterator

from export.rule import NEURAL_ENGINE, NEURAL_ENGINE_RULES, Rule
from export.view import OPERATORS, SHAPES, GraphView

MOST = 5


def find(view: GraphView) -> Iterator[str]:
    for name, value in view.activations().items():
        if value.shape is not None and len(value.shape) > MOST:
            yield f"{name} {value}"


RULE = Rule(
    what=f"values of more than {MOST} axes",
    why="the compiler rejects them, and the graph goes to the GPU or the CPU",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
    needs=(OPERATORS, SHAPES),
)
