"""Swin cuts windows of attention with reshapes of 5 or 6 axes, whose sizes must be fixed."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import CPU, NEURAL_ENGINE
from export.views.graph_view import OPERATORS, SHAPES, GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.of_kind("reshape"):
        shape = view.shape(operator.outputs[0])
        fixed_rows = shape is None or all(isinstance(size, int) for size in shape[1:])
        if shape is not None and len(shape) > 4 and not fixed_rows:
            yield f"{operator.name} {view.values[operator.outputs[0]]}"


RULE = Rule(
    what="windows of variable size",
    why="a graph traced at one width then fails at another, or runs on the CPU",
    source="https://github.com/huggingface/pytorch-image-models/issues/1844",
    places={"onnx": CPU, "tflite": CPU, "pte": CPU, "mlprogram": NEURAL_ENGINE},
    find=find,
    severity="warning",
    needs=(OPERATORS, SHAPES),
)
