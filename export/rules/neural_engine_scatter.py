"""Caches are not written by scatter on the Neural Engine: give the new slice out, and let the host write it."""

from collections.abc import Iterator

from export.rule import NEURAL_ENGINE, NEURAL_ENGINE_RULES, Rule
from export.view import GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("scatter"):
        yield operator.name


RULE = Rule(
    what="scatter",
    why="the Neural Engine rejects it",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
)
