"""In real readings, activations must stay below half of the highest number in half precision, 65,504."""

from collections.abc import Iterator

from export.checks.activation_ranges import LEAST_BITS
from export.lint.rule import EVERYWHERE_IN_HALF, Rule
from export.views.graph_view import HEADROOM, GraphView


def find(view: GraphView) -> Iterator[str]:
    if view.headroom is not None and view.headroom["bits"] < LEAST_BITS:
        yield f"{view.headroom['operator']}, {view.headroom['bits']} bits"


RULE = Rule(
    what=f"less than {LEAST_BITS:g} bit from the highest activation to half precision's highest number",
    why="another line may overflow, and what follows is wrong without being infinite",
    source="https://github.com/microsoft/onnxruntime/issues/31626",
    places=EVERYWHERE_IN_HALF,
    find=find,
    needs=(HEADROOM,),
)
