"""LiteRT's GPU delegate takes values of 4 axes at most."""

from export.lint.rule import Rule, axes_above
from export.places import LITERT_GPU
from export.views.graph_view import OPERATORS, SHAPES

MOST = 4

RULE = Rule(
    what=f"values of more than {MOST} axes",
    why="the delegate refuses the whole graph",
    source="https://github.com/google-ai-edge/LiteRT/issues/2540",
    places={"tflite": LITERT_GPU},
    find=axes_above(MOST),
    needs=(OPERATORS, SHAPES),
)
