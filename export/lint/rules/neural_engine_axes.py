"""The Neural Engine takes values of 5 axes at most."""

from export.lint.rule import NEURAL_ENGINE_RULES, Rule, axes_above
from export.places import NEURAL_ENGINE
from export.views.graph_view import OPERATORS, SHAPES

MOST = 5

RULE = Rule(
    what=f"values of more than {MOST} axes",
    why="the compiler rejects them, and the graph goes to the GPU or the CPU",
    source=NEURAL_ENGINE_RULES,
    places={"mlprogram": NEURAL_ENGINE},
    find=axes_above(MOST),
    needs=(OPERATORS, SHAPES),
)
