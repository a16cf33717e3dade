"""What a rule of `omr-export lint` is to the rest: one entry a file in `export/lint/rules/`, found by the file's
name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runtime.registry import Registry

from ..places import HALF
from ..views.graph_view import FORMATS, OPERATORS, GraphView

RULES = Registry("export.lint.rules", "RULE", "rule")

EVERYWHERE_IN_HALF = dict.fromkeys(FORMATS, HALF)

ERROR, WARNING = "error", "warning"

# What Apple's engineers write for those who author models for the Neural Engine.
APPLE = "https://github.com/apple/coreai-models/blob/main/skills/skills/model-authoring/references"
NEURAL_ENGINE_RULES = f"{APPLE}/neural_engine_rules.md"


Find = Callable[[GraphView], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """Something that a graph must not hold where it shall run.

    Attributes:
        what: is found, in words.
        why: it matters.
        source: where that is known from: addresses with spaces between them.
        places: format -> the place that the rule is about; graphs of other formats aren't looked at.
        find: graph -> where it is broken, in words; nothing where it is kept.
        severity: "error" where the graph doesn't run or computes something else, "warning" where it is slow or
            large. An error is a warning where the artifact doesn't claim to run in that place.
        needs: facts that it looks at; where one is unseen, the rule can't pass (see `GraphView.unseen`).
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
