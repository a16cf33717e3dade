"""The Neural Engine has no operator silu. It has x * sigmoid(x), if the converter doesn't fuse that into a silu
again."""

from export.lint.rule import NEURAL_ENGINE_RULES, Rule, of_kinds
from export.places import NEURAL_ENGINE

RULE = Rule(
    what="silu as one operator",
    why="it leaves the Neural Engine; coremltools fuses x * sigmoid(x) to it, so look at the result",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": NEURAL_ENGINE},
    find=of_kinds("silu"),
)
