"""Core ML ML Programs for iOS 16 and later: fp32, fp16, and int8 weights with fp16 activations.

A package holds a decoder for one cache size, or an encoder: for every width bucket (enumerated shapes) where the
backbone is a CNN, else for one, since a transformer's positions are fixed when it is traced. The parity check runs each
bucket. Packages are converted from `torch.jit.trace`. Core ML runs on Apple's systems alone; elsewhere `export.mil`
evaluates the saved programs.

Numbers that cross the border are fp32 in an fp32 package; in the others caches and memory are fp16, and `image`,
`logits` and `column_logits` fp32. Token, position and width are int32.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil import Builder
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from torch import nn

from export.mil import Program, input_names
from export.modules import modules
from export.products import Node, memory_products, refuse_weights
from export.target import Files, Run, Target, graph_names, opened_once
from export.view import GraphView
from export.views.mil import view
from runtime.errors import BundleError
from runtime.io_spec import IOSpec, TensorSpec, kind_of
from training.backbone import get_backbone
from training.model import MusicTrOCR

EXTRA = "coreml"

VARIABLE: tuple[str, ...] = ()
FEWEST = 2048  # weights of a tensor that becomes int8
FULL = ("image", "logits", "column_logits")  # fp32 at the border at every precision
PRODUCTS = ("linear", "matmul", "conv", "einsum")

opened = opened_once(Program)


@register_torch_op(torch_alias=["int"], override=True)
def _int(context: Any, node: Any) -> None:
    """coremltools 9.0's own takes `int()` of arrays of one element, which numpy 2.4 refuses."""
    (value,) = _get_inputs(context, node, expected=1)
    if value.can_be_folded_to_const():
        whole = Builder.const(val=np.int32(np.asarray(value.val).item()), name=node.name)
    else:
        whole = Builder.cast(x=Builder.squeeze(x=value) if value.shape else value, dtype="int32", name=node.name)
    context.add(whole, node.name)


def convert(model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path) -> dict[str, Files]:
    """Write `NAME.PRECISION.mlpackage` for each package and precision."""
    files: dict[str, Files] = {precision: {} for precision in precisions}
    parts = modules(model)
    for name, graphs in packages(spec, get_backbone(model.params.vision_model_name).family == "CNN").items():
        traced = trace(parts[kind_of(name)], spec, graphs[len(graphs) // 2])
        for precision in precisions:
            path = folder / f"{name}.{precision}.mlpackage"
            convert_graphs(traced, spec, graphs, precision).save(str(path))
            files[precision] |= dict.fromkeys(graphs, path)
    return files


def packages(spec: IOSpec, any_width: bool) -> dict[str, tuple[str, ...]]:
    """Name of a package -> the graphs in it."""
    graphs = graph_names(spec, VARIABLE)
    alone = {name: (name,) for kind in ("encode", "decode") for name in graphs[kind]}
    if not any_width:
        return alone
    return {"encode": graphs["encode"], **{name: (name,) for name in graphs["decode"]}}


def trace(module: nn.Module, spec: IOSpec, graph: str) -> Any:
    """The graph as TorchScript at its own sizes, one row."""
    inputs = [torch.from_numpy(item.zeros(B=1)) for item in spec.input_spec(graph)]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # sizes become constants, which is meant
        return torch.jit.trace(module, tuple(inputs), check_trace=False)


def convert_graphs(traced: Any, spec: IOSpec, graphs: Sequence[str], precision: str) -> Any:
    """An ML Program with the contract's names that takes the sizes of `graphs`."""
    full = precision == "fp32"
    middle = graphs[len(graphs) // 2]
    shapes = zip(*(map(shape_of, spec.input_spec(graph)) for graph in graphs), strict=True)  # by input
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coremltools 9.0 looks for the range of casts to int32, and overflows
        program = ct.convert(
            traced, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS16, skip_model_load=True,
            inputs=[
                ct.TensorType(name=item.name, shape=flexible(sizes, shape_of(item)), dtype=border_type(item, full))
                for item, sizes in zip(spec.input_spec(middle), shapes, strict=True)
            ],
            outputs=[ct.TensorType(name=item.name, dtype=border_type(item, full)) for item in spec.output_spec(middle)],
            compute_precision=ct.precision.FLOAT32 if full else ct.precision.FLOAT16,
        )  # fmt: skip
    return eight_bits(program) if precision == "int8" else program


def shape_of(item: TensorSpec) -> tuple[int, ...]:
    return tuple(int(size) for size in item.sized({"B": 1}).shape)


def flexible(shapes: Sequence[tuple[int, ...]], default: tuple[int, ...]) -> Any:
    """One shape, or those that an input may have."""
    return default if len(set(shapes)) == 1 else ct.EnumeratedShapes(shapes=list(shapes), default=default)


def border_type(item: TensorSpec, full: bool) -> type:
    """The number type of an input or output."""
    if "int" in item.dtype:
        return np.int32
    return np.float32 if full or item.name in FULL else np.float16


def eight_bits(program: Any) -> Any:
    """int8 weights with a scale for each output channel; activations stay fp16."""
    config = ct.optimize.coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=FEWEST)
    return ct.optimize.coreml.linear_quantize_weights(program, ct.optimize.coreml.OptimizationConfig(config))


def load(path: Path, _graph: str) -> Run:
    """See `Target.load`."""
    return opened(path)


def operators(path: Path, _graph: str) -> Counter[str]:
    """See `Target.operators`."""
    return opened(path).operators()


def graph_view(path: Path, graph: str) -> GraphView:
    """See `Target.graph_view`."""
    inputs = ct.utils.load_spec(str(path)).description.input
    listed = any(item.type.multiArrayType.HasField("enumeratedShapes") for item in inputs)
    return view(opened(path), graph, listed)


def check(path: Path, graph: str) -> None:
    """The contract's rules for graphs.

    Raises:
        BundleError: a name differs from the contract's, or a decoder computes keys or values of the memory.
    """
    program = opened(path)
    names = {*program.function.inputs, *(var.name for var in program.function.outputs)}
    if kind_of(graph) != "decode":
        return
    if not {"token", "logits", "new_k_0"} <= names:
        raise BundleError(f"{path.name} is no decoder of the contract: it has {', '.join(sorted(names)[:4])}, ..")
    refuse_weights(path.name, memory_projections(program))


def memory_projections(program: Program) -> list[str]:
    """Weights that a decoder multiplies its cross-attention inputs by: there should be none."""
    weights = {name for name, value in program.constants.items() if is_weight(value)}
    settings = set(program.constants) - weights  # axes, modes and the like are inputs, too
    nodes = [
        Node(op.op_type, [name for name in input_names(op) if name not in settings], [var.name for var in op.outputs])
        for op in program.operations
    ]
    memory = {name for name in program.function.inputs if name.startswith("cross_")}
    return memory_products(nodes, weights, memory, PRODUCTS)


def is_weight(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0


TARGET = Target(
    ("fp32", "fp16", "int8"), convert, load, operators, check, variable=VARIABLE, minimum_os="iOS 16",
    graph_view=graph_view, half=("fp16", "int8"),
)  # fmt: skip
