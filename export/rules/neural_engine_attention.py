"""Fused attention gives other numbers on iOS 26's Neural Engine; products and softmax don't."""

from collections.abc import Iterator

from export.rule import NEURAL_ENGINE, Rule
from export.view import GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("attention"):
        yield operator.name


RULE = Rule(
    what="fused attention",
    why="iOS 26 computes scaled_dot_product_attention inexactly; write it as products and a softmax",
    source="https://github.com/pytorch/executorch/issues/15833 https://github.com/pytorch/executorch/pull/16144",
    places={"mlprogram": NEURAL_ENGINE},
    find=find,
)
