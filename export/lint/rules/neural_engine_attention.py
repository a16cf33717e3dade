"""iOS 26's Neural Engine computes fused attention inexactly, but products and softmax right."""

from export.lint.rule import Rule, of_kinds
from export.places import NEURAL_ENGINE

RULE = Rule(
    what="fused attention",
    why="iOS 26 computes scaled_dot_product_attention inexactly; write it as products and a softmax",
    source="https://github.com/pytorch/executorch/issues/15833 https://github.com/pytorch/executorch/pull/16144",
    places={"mlprogram": NEURAL_ENGINE},
    find=of_kinds("attention"),
)
