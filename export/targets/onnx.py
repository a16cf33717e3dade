"""ONNX: one encoder and one decoder for any number of rows, any width and any cache size; fp32, fp16 and fewer bits.

The graph for several given tokens has no weights of its own: it reads those in the step's file.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from export.checks.memory_products import Node, memory_products, refuse_weights
from export.graphs.contract import modules
from export.precision.calibration import Calibration, bits_of
from export.precision.half_onnx import halved
from export.precision.quantize_onnx import quantize
from export.precision.sensitivity import matrices
from export.precision.static.onnx import quantize_static
from export.target import Arrays, Files, Run, Target
from export.views.graph_view import GraphView
from export.views.onnx import view
from runtime.bundle.io_spec import IOSpec, is_decoder
from runtime.engines.onnx import DTYPES, open_session
from runtime.errors import BundleError
from training.model.music_trocr import MusicTrOCR

EXTRA = "export"

# Sizes the graphs are traced with: all different and none 0 or 1, since torch.export takes equal sizes for the
# same one and 0 and 1 for constants.
TRACED = {"B": 2, "S": 24}
FEWEST = 256  # bytes of a tensor that is looked for in another file
BRANCHES = ("If", "Loop", "Scan")
PROJECTIONS = ("MatMul", "MatMulNBits", "Gemm", "MatMulInteger", "Conv")


def convert(
    model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path, calibration: Calibration | None = None
) -> dict[str, Files]:
    """Write `GRAPH.PRECISION.onnx` for each graph and precision."""
    files: dict[str, Files] = {precision: {} for precision in precisions}
    parts = modules(model)
    for graph in spec.kinds:
        exact = trace(parts[graph], spec, graph)
        for precision in precisions:
            path = folder / f"{graph}.{precision}.onnx"
            proto = written(exact, precision, TARGET.io(spec, precision), parts[graph], calibration)
            if graph in spec.chunked:
                proto = borrowed(proto, files[precision]["decode"])
            onnx.save(proto, path)
            files[precision][graph] = path
    return files


def written(
    exact: onnx.ModelProto, precision: str, spec: IOSpec, module: nn.Module, calibration: Calibration | None
) -> onnx.ModelProto:
    """An fp32 graph at a precision, whose sizes and types at the border are `spec`."""
    if precision == "fp32":
        return exact
    if precision == "fp16":
        return halved(exact, spec)
    if precision == "int8":
        return quantize(exact)
    if precision == "int8_static":
        assert calibration is not None
        return quantize(quantize_static(exact, calibration.inputs(exact.graph.name)))
    return quantize(exact, bits_by_value(module, bits_of(module, precision, calibration)))


def bits_by_value(module: nn.Module, bits: Mapping[str, int]) -> Callable[[NDArray[np.float32]], int]:
    """A matrix [in, out] -> its bits; the exporter renames and transposes weights, their values stay."""
    known = {part.weight.detach().numpy().T.tobytes(): bits[name] for name, part in matrices(module).items()}
    return lambda weight: known.get(weight.tobytes(), 8)


def borrowed(proto: onnx.ModelProto, lender: Path) -> onnx.ModelProto:
    """A copy whose large weights are those in another file of the same folder, as ONNX's external data."""
    content = lender.read_bytes()
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for item in copy.graph.initializer:
        start = content.find(item.raw_data) if len(item.raw_data) >= FEWEST else -1
        if start < 0:
            continue
        place = {"location": lender.name, "offset": start, "length": len(item.raw_data)}
        item.ClearField("raw_data")
        item.data_location = onnx.TensorProto.EXTERNAL
        for key, value in place.items():
            item.external_data.add(key=key, value=str(value))
    return copy


def trace(module: nn.Module, spec: IOSpec, graph: str) -> onnx.ModelProto:
    """The fp32 graph, with the contract's names."""
    width = spec.widths[min(1, len(spec.widths) - 1)]
    sizes = {**TRACED, "W": width, "T": spec.memory_size(width)}
    inputs = [torch.from_numpy(item.zeros(**sizes)) for item in spec.input_spec(graph)]
    axes = [{axis: torch.export.Dim.DYNAMIC for axis in spec.dynamic_axes(graph)[n]} for n in spec.input_names(graph)]
    shapes = tuple(axes) if graph == "encode" else (*axes[:2], tuple(axes[2:]))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecations inside torch 2.13's own exporter
        program = torch.onnx.export(
            module, tuple(inputs), dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False,
            input_names=spec.input_names(graph), output_names=spec.output_names(graph),
        )  # fmt: skip
    assert program is not None
    return tidy(program.model_proto, spec, graph)


def tidy(proto: onnx.ModelProto, spec: IOSpec, graph: str) -> onnx.ModelProto:
    """The contract's dimension names, and no traces of where the graph was made.

    The exporter writes the source line of every node, with this machine's paths, into its metadata.
    """
    shapes = {item.name: item.shape for item in spec.input_spec(graph) + spec.output_spec(graph)}
    for value in [*proto.graph.input, *proto.graph.output]:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dimension.Clear()
            if isinstance(size, str):
                dimension.dim_param = size
            else:
                dimension.dim_value = size
    parts: Iterable[Any] = [
        proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer,
    ]  # fmt: skip
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    del proto.graph.value_info[:]
    proto.graph.name = graph
    onnx.checker.check_model(proto, full_check=True)
    return proto


def load(path: Path, _graph: str = "") -> Run:
    """See `Target.load`."""
    session = open_session(path, threads=1)
    takes = {item.name: DTYPES[item.type] for item in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        given = {name: inputs[name].astype(dtype, copy=False) for name, dtype in takes.items()}
        found = session.run(names, given)
        return {name: value.astype(np.float32, copy=False) for name, value in zip(names, found, strict=True)}

    return run


def operators(path: Path, _graph: str = "") -> Counter[str]:
    """See `Target.operators`."""
    return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)


def graph_view(path: Path, graph: str) -> GraphView:
    """See `Target.graph_view`."""
    return view(onnx.load(path), graph)


def check(path: Path, graph: str) -> None:
    """The contract's rules for graphs.

    Raises:
        BundleError: the graph branches, or a decoder computes keys or values of the memory.
    """
    proto = onnx.load(path)
    branches = sorted({node.op_type for node in proto.graph.node} & set(BRANCHES))
    if branches:
        raise BundleError(f"{path.name} holds {branches[0]}; the contract's graphs don't branch")
    if is_decoder(graph):
        refuse_weights(path.name, memory_projections(proto))


def memory_projections(proto: onnx.ModelProto) -> list[str]:
    """Weights that a decoder multiplies its cross-attention inputs by: there should be none."""
    nodes = [Node(node.op_type, [*filter(None, node.input)], list(node.output)) for node in proto.graph.node]
    weights = {item.name for item in proto.graph.initializer}
    memory = {item.name for item in proto.graph.input if item.name.startswith("cross_")}
    return memory_products(nodes, weights, memory, PROJECTIONS)


TARGET = Target(
    ("fp32", "fp16", "int8", "int8_static", "int4", "mixed"), convert, load, operators, check, graph_view=graph_view,
    half=("fp16",), exact_norms=True, half_caches=("fp16",),
)  # fmt: skip
