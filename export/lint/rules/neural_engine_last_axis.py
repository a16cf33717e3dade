"""The Neural Engine pads the last axis to 64 bytes. An axis of fewer than 32 half-precision values wastes the rest."""

from collections.abc import Iterator

from export.lint.rule import WARNING, Rule
from export.places import NEURAL_ENGINE
from export.views.graph_view import OPERATORS, SHAPES, GraphView

FEWEST = 32


def find(view: GraphView) -> Iterator[str]:
    for name, value in view.activations().items():
        if not value.floats or not value.shape or len(value.shape) < 3:
            continue
        if isinstance(value.shape[-1], int) and value.shape[-1] < FEWEST and any(n != 1 for n in value.shape):
            yield f"{name} {value}"


RULE = Rule(
    what=f"values whose last axis is under {FEWEST}",
    why="the last axis is padded to 64 bytes: one of size 1 takes 32 times its memory",
    source="https://machinelearning.apple.com/research/neural-engine-transformers",
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
    severity=WARNING,
    needs=(OPERATORS, SHAPES),
)
