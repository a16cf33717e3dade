"""Masks of -inf, or of float32's lowest number, become -inf in half precision, and NaN after a softmax."""

from collections.abc import Iterator

from export.lint.rule import APPLE, EVERYWHERE_IN_HALF, Rule
from export.views.graph_view import NUMBERS, OPERATORS, GraphView

HIGHEST_HALF = 65504.0


def find(view: GraphView) -> Iterator[str]:
    for name, value in view.values.items():
        if value.constant and value.floats and (value.lowest <= -HIGHEST_HALF or value.highest >= HIGHEST_HALF):
            yield f"{name}, {value.lowest:g} to {value.highest:g}"


RULE = Rule(
    what="constants beyond half precision (-inf, finfo.min)",
    why="a row that is masked whole becomes NaN; -1e4 hides as well",
    source=f"{APPLE}/common_issues.md",
    places=EVERYWHERE_IN_HALF,
    find=find,
    needs=(OPERATORS, NUMBERS),
)
