"""A layer norm that is split into operators squares values in half precision, where 256 squared is infinite. The output
stays finite and hides it."""

from collections.abc import Iterator

from export.checks.activation_ranges import LEAST_BITS
from export.lint.rule import EVERYWHERE_IN_HALF, Rule
from export.views.graph_view import GraphView, Operator

STEPS = 3  # operators between a mean of squares and its root: an epsilon is added, maybe a cast


def find(view: GraphView) -> Iterator[str]:
    if view.headroom is not None and view.headroom["bits"] >= LEAST_BITS:
        return  # its squares were measured and fit
    for mean in view.of_kind("mean"):
        squares = view.producers.get(mean.inputs[0])
        if squares is not None and is_square(squares) and rooted(view, mean, STEPS):
            yield mean.name


def is_square(operator: Operator) -> bool:
    return operator.kind in ("square", "pow") or (operator.kind == "mul" and len(set(operator.inputs)) == 1)


def rooted(view: GraphView, operator: Operator, steps: int) -> bool:
    """Whether a root follows."""
    after = view.consumers.get(operator.outputs[0], [])
    return any(one.kind == "root" or (steps > 1 and rooted(view, one, steps - 1)) for one in after)


RULE = Rule(
    what="layer norms in pieces whose squares weren't measured",
    why="a square over 65,504 gives an infinite variance and an output of zeros: finite and wrong",
    source="https://github.com/microsoft/onnxruntime/issues/31626",
    places=EVERYWHERE_IN_HALF,
    find=find,
)
