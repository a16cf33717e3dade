"""The operator silu isn't the Neural Engine's; x * sigmoid(x) is, if the converter doesn't fuse it again."""

from export.lint.rule import NEURAL_ENGINE_RULES, Rule, of_kinds
from export.places import NEURAL_ENGINE

RULE = Rule(
    what="silu as one operator",
    why="it leaves the Neural Engine; coremltools fuses x * sigmoid(x) to it, so look at the result",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": NEURAL_ENGINE},
    find=of_kinds("silu"),
)
