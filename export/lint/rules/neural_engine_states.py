"""A package fails on the Neural Engine if the sizes of its states aren't multiples of 32."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import NEURAL_ENGINE
from export.views.graph_view import SHAPES, GraphView

MULTIPLE = 32


def find(view: GraphView) -> Iterator[str]:
    for name in view.states:
        shape = view.shape(name)
        if shape and not (isinstance(shape[-1], int) and shape[-1] % MULTIPLE == 0):
            yield f"{name} {view.values[name]}"


RULE = Rule(
    what=f"states whose last axis is no multiple of {MULTIPLE}",
    why="the package fails on the Neural Engine, though it runs on CPU and GPU",
    source="https://github.com/apple/coremltools/issues/2631",
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
    needs=(SHAPES,),
)
