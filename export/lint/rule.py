"""The interface of lint rules: each is a file in `export/lint/rules/` and has that file's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runtime.registry import Registry

from ..places import HALF
from ..views.graph_view import FORMATS, OPERATORS, GraphView

RULES = Registry("export.lint.rules", "RULE", "rule")

EVERYWHERE_IN_HALF = dict.fromkeys(FORMATS, HALF)

ERROR, WARNING = "error", "warning"

# Advice by Apple's engineers for models on the Neural Engine.
APPLE = "https://github.com/apple/coreai-models/blob/main/skills/skills/model-authoring/references"
NEURAL_ENGINE_RULES = f"{APPLE}/neural_engine_rules.md"


Find = Callable[[GraphView], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """Something that a graph must not contain if it is to run well in some place.

    Attributes:
        what: what the rule finds, in words.
        why: why it matters.
        source: addresses that say so, separated by spaces.
        places: format -> the place that the rule is about; graphs of other formats aren't looked at.
        find: graph -> the places where the rule is broken, in words.
        severity: "error" if the graph doesn't run or computes wrong numbers, "warning" if it is slow or large. An error
            becomes a warning if the artifact doesn't claim to run in that place.
        needs: facts that the rule looks at. If one can't be seen, the rule can't pass (see `GraphView.unseen`).
    """

    what: str
    why: str
    source: str
    places: Mapping[str, str]
    find: Find
    severity: str = ERROR
    needs: tuple[str, ...] = (OPERATORS,)


def of_kinds(*kinds: str) -> Find:
    """Finds operators of some kinds, as `export.views.graph_view` calls them."""

    def find(view: GraphView) -> Iterator[str]:
        for operator in view.of_kind(*kinds):
            yield operator.name

    return find


def axes_above(most: int) -> Find:
    """Finds values of more than so many axes."""

    def find(view: GraphView) -> Iterator[str]:
        for name, value in view.activations().items():
            if value.shape is not None and len(value.shape) > most:
                yield f"{name} {value}"

    return find
