"""ONNX Runtime's Core ML provider has no DequantizeLinear, so an int8 graph runs on the CPU, except its reshapes."""

from collections.abc import Iterator

from export.lint.rule import Rule
from export.places import ORT_COREML
from export.views.graph_view import GraphView


def find(view: GraphView) -> Iterator[str]:
    for operator in view.operators:
        if operator.kind == "dequantize":
            yield operator.name


RULE = Rule(
    what="DequantizeLinear",
    why="the provider leaves it and the products around it to the CPU; export to coreml instead",
    source="https://github.com/ekhodzitsky/gigastt/issues/42",
    places={"onnx": ORT_COREML},
    find=find,
)
