"""Qualcomm's Hexagon has no operator for a whole attention."""

from export.rule import HEXAGON, Rule, of_kinds

RULE = Rule(
    what="attention as one operator",
    why="ONNX Runtime gives it to the CPU, or refuses the graph",
    source="https://github.com/onnxruntime/onnxruntime-qnn/issues/646",
    places={"onnx": HEXAGON},
    find=of_kinds("attention"),
)
