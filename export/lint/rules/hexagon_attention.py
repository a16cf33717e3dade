"""Qualcomm's Hexagon has no operator for a whole attention."""

from export.lint.rule import Rule, of_kinds
from export.places import HEXAGON

RULE = Rule(
    what="attention as one operator",
    why="ONNX Runtime gives it to the CPU, or refuses the graph",
    source="https://github.com/onnxruntime/onnxruntime-qnn/issues/646",
    places={"onnx": HEXAGON},
    find=of_kinds("attention"),
)
