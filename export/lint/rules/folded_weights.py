"""Weights that are small only in the file: when ONNX Runtime loads a graph, it computes everything that depends only on
constants."""

from collections.abc import Iterator

from export.lint.rule import WARNING, Rule
from export.places import CPU
from export.views.graph_view import OPERATORS, SHAPES, GraphView

FEWEST = 2048
SMALL = ("int8", "uint8", "int4", "uint4")


def find(view: GraphView) -> Iterator[str]:
    for operator in view.operators:
        if operator.kind not in ("dequantize", "cast") or not view.constants.issuperset(operator.inputs):
            continue
        shape, kind = view.shape(operator.inputs[0]), view.dtype(operator.inputs[0])
        if kind in SMALL and shape is not None and product(shape) >= FEWEST:
            yield f"{operator.inputs[0]} {view.values[operator.inputs[0]]}"


def product(shape: tuple[int | str, ...]) -> int:
    found = 1
    for size in shape:
        found *= size if isinstance(size, int) else 1
    return found


RULE = Rule(
    what="small weights that become float32 when the graph is loaded",
    why="they save bytes in the file, but neither memory nor time",
    source="https://github.com/microsoft/onnxruntime/issues/28491",
    places={"onnx": CPU},
    find=find,
    severity=WARNING,
    needs=(OPERATORS, SHAPES),
)
