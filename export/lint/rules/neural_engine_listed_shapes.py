"""A graph with several listed shapes and with layer norms leaves the Neural Engine."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import NEURAL_ENGINE
from export.views.graph_view import GraphView


def find(view: GraphView) -> Iterator[str]:
    if view.enumerated:
        for operator in view.of_kind("layer_norm"):
            yield operator.name


RULE = Rule(
    what="layer norms in a graph of listed shapes",
    why="such a graph leaves the Neural Engine, one of a fixed shape doesn't",
    source="https://github.com/apple/coremltools/issues/1909",
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
)
