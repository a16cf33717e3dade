"""The Neural Engine can't write caches by scatter: return the new slice, and let the host write it."""

from export.lint.rule import NEURAL_ENGINE_RULES, Rule, of_kinds
from export.places import NEURAL_ENGINE

RULE = Rule(
    what="scatter",
    why="the Neural Engine rejects it",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": NEURAL_ENGINE},
    find=of_kinds("scatter"),
)
