"""Core ML for iOS 16 and later: a package for each cache size; fp32, fp16, and weights in fewer bits.

Decoders are laid out for the Neural Engine (`export.graphs.neural_engine`). A package's metadata tells the axes of keys
and values, and the number of heads.

A package holds a decoder for one cache size, or an encoder. If the backbone is a CNN, the encoder takes every width
bucket (enumerated shapes); otherwise it takes one, because a transformer's positions are fixed when it is traced. The
parity check runs each bucket. Packages are converted from `torch.jit.trace`. Core ML runs only on Apple's systems;
elsewhere `export.mil.program` evaluates the saved programs.

In an fp32 package all inputs and outputs are fp32. In the others caches and memory are fp16, and `image`, `logits` and
`column_logits` fp32. Token, position and width are int32.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil import Builder
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from numpy.typing import NDArray
from torch import nn

from export.checks.memory_products import Node, memory_products, refuse_weights
from export.files import opened_once
from export.graphs.contract import modules as contract_modules
from export.graphs.neural_engine import modules
from export.graphs.plain_attention import plain_attention
from export.mil.program import Program, input_names
from export.mil.state import State
from export.precision.calibration import Calibration, bits_of
from export.precision.sensitivity import matrices
from export.target import Arrays, Files, Run, Target, graph_names
from export.views.graph_view import GraphView
from export.views.mil import view
from runtime.bundle.cache_axes import NEURAL_ENGINE, as_contract, as_stored, axes_of
from runtime.bundle.io_spec import IOSpec, TensorSpec, is_decoder, kind_of
from runtime.engines.coreml import engine_of
from runtime.errors import BundleError
from runtime.inference.row_by_row import RowsEngine
from training.model.backbone import get_backbone
from training.model.music_trocr import MusicTrOCR

EXTRA = "coreml"

VARIABLE: tuple[str, ...] = ()
FEWEST = 2048  # weights of a tensor that becomes int8
FULL = ("image", "logits", "column_logits")  # fp32 at the border at every precision
HALF = ("fp16", "int8", "int4", "mixed")  # whose activations are float16
PRODUCTS = ("linear", "matmul", "conv", "einsum")
HEADS = "heads"  # in a package's metadata, beside the axes

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


def convert(
    model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path, calibration: Calibration | None = None
) -> dict[str, Files]:
    """Write `NAME.PRECISION.mlpackage` for each package and precision."""
    files: dict[str, Files] = {precision: {} for precision in precisions}
    parts, plain, spec = modules(model), contract_modules(model), replace(spec, axes=NEURAL_ENGINE)
    four = {precision: with_four_bits(plain, precision, calibration) for precision in precisions}
    for name, graphs in packages(spec, get_backbone(model.params.vision_model_name).family == "CNN").items():
        traced = trace(parts[kind_of(name)], spec, spec.input_spec(graphs[len(graphs) // 2], B=1))
        for precision in precisions:
            path = folder / f"{name}.{precision}.mlpackage"
            convert_graphs(traced, spec, graphs, precision, four[precision]).save(str(path))
            files[precision] |= dict.fromkeys(graphs, path)
    return files


def packages(spec: IOSpec, any_width: bool) -> dict[str, tuple[str, ...]]:
    """Name of a package -> the graphs in it."""
    graphs = graph_names(spec, VARIABLE)
    alone = {name: (name,) for names in graphs.values() for name in names}
    if not any_width:
        return alone
    return {"encode": graphs["encode"], **{name: (name,) for name in alone if is_decoder(name)}}


def trace(module: nn.Module, spec: IOSpec, items: Sequence[TensorSpec]) -> Any:
    """A module as TorchScript, for inputs of these sizes."""
    inputs = [torch.from_numpy(spec.stored(item).zeros()) for item in items]
    with warnings.catch_warnings(), torch.no_grad(), plain_attention():
        warnings.simplefilter("ignore")  # sizes become constants, which is meant
        return torch.jit.trace(module, tuple(inputs), check_trace=False)


def convert_graphs(
    traced: Any, spec: IOSpec, graphs: Sequence[str], precision: str, four: Collection[bytes] = ()
) -> Any:
    """An ML Program with the contract's names that takes the sizes of `graphs`; `four` see `few_bits`."""
    middle = graphs[len(graphs) // 2]
    shapes = zip(*(shapes_of(spec, graph) for graph in graphs), strict=True)  # by input
    items = [
        (item, flexible(sizes, default))
        for item, sizes, default in zip(spec.input_spec(middle), shapes, shapes_of(spec, middle), strict=True)
    ]
    return ml_program(traced, spec, items, spec.output_spec(middle), precision, four)


def ml_program(
    traced: Any, spec: IOSpec, inputs: Sequence[tuple[TensorSpec, Any]], outputs: Sequence[TensorSpec], precision: str,
    four: Collection[bytes] = (), **settings: Any,
) -> Any:  # fmt: skip
    """An ML Program with these inputs, of these shapes, and outputs.

    Args:
        four: see `few_bits`.
        settings: further settings for coremltools: another system, states.
    """
    full = precision == "fp32"
    takes = [ct.TensorType(name=item.name, shape=shape, dtype=border_type(item, full)) for item, shape in inputs]
    gives = [ct.TensorType(name=item.name, dtype=border_type(item, full)) for item in outputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coremltools 9.0 looks for the range of casts to int32, and overflows
        program = ct.convert(
            traced, convert_to="mlprogram", skip_model_load=True, inputs=takes, outputs=gives,
            compute_precision=ct.precision.FLOAT32 if full else ct.precision.FLOAT16,
            **{"minimum_deployment_target": ct.target.iOS16, **settings},
        )  # fmt: skip
    program = program if precision in ("fp32", "fp16") else few_bits(program, four)
    return described(program, spec)


def described(program: Any, spec: IOSpec) -> Any:
    """The same, with its axes and number of heads in its metadata."""
    program.user_defined_metadata.update({**spec.axes, HEADS: str(spec.heads)})
    return program


def shapes_of(spec: IOSpec, graph: str) -> list[tuple[int, ...]]:
    """Of a graph's inputs, one row."""
    return [tuple(int(size) for size in spec.stored(item).shape) for item in spec.input_spec(graph, B=1)]


def flexible(shapes: Sequence[tuple[int, ...]], default: tuple[int, ...]) -> Any:
    """One shape, or those that an input may have."""
    return default if len(set(shapes)) == 1 else ct.EnumeratedShapes(shapes=list(shapes), default=default)


def border_type(item: TensorSpec, full: bool) -> type:
    """The number type of an input or output."""
    if "int" in item.dtype:
        return np.int32
    return np.float32 if full or item.name in FULL else np.float16


def few_bits(program: Any, four: Collection[bytes] = ()) -> Any:
    """Weights in fewer bits; activations stay fp16. Most in int8, with a scale for each output channel.

    Args:
        four: values in fp16 of the matrices that have 4 bits, by which they, and runs of their rows, are known: places
            in a table of 16 values of the weight's own, which k-means finds. iOS 16 knows no other 4 bits.
    """
    config = ct.optimize.coreml
    if four:
        weights = config.get_weights_metadata(program, weight_threshold=FEWEST)
        values = {name: np.float16(weight.val).tobytes() for name, weight in weights.items()}
        names = [name for name, value in values.items() if any(value in matrix for matrix in four)]
        table = config.OpPalettizerConfig(mode="kmeans", nbits=4, weight_threshold=FEWEST)
        tables = config.OptimizationConfig(op_name_configs=dict.fromkeys(names, table))
        program = config.palettize_weights(program, tables)
    scales = config.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=FEWEST)
    return config.linear_quantize_weights(program, config.OptimizationConfig(scales))


def with_four_bits(parts: Mapping[str, nn.Module], precision: str, calibration: Calibration | None) -> frozenset[bytes]:
    """The values in fp16 of the matrices that a precision gives 4 bits."""
    found = set()
    for part in parts.values() if precision in ("int4", "mixed") else ():
        bits = bits_of(part, precision, calibration)
        four = [one for name, one in matrices(part).items() if bits[name] == 4]
        found |= {one.weight.detach().half().numpy().tobytes() for one in four}
    return frozenset(found)


def load(path: Path, _graph: str) -> Run:
    """See `Target.load`."""
    return in_contract(opened(path))


def in_contract(program: Program, state: State | None = None) -> Run:
    """A program that takes and gives keys and values in the contract's axes; with a state it changes that."""
    axes, heads = axes_in(program), int(program.metadata.get(HEADS, 1))

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        stored = {name: as_stored(value, axes_of(name, axes)) for name, value in inputs.items()}
        found = program(stored, state)
        return {name: as_contract(value, axes_of(name, axes), heads) for name, value in found.items()}

    return run


def open_engine(files: Mapping[str, Path], spec: IOSpec) -> RowsEngine:
    """The runtime's engine, with evaluated programs instead of Core ML's."""
    program = opened(next(iter(files.values())))
    return engine_of(files, replace(spec, axes=axes_in(program)), lambda path, _function: opened(path))


def axes_in(program: Program) -> dict[str, str]:
    """How a package says that it stores keys and values; nothing where it says none, as older ones."""
    return {name: program.metadata[name] for name in NEURAL_ENGINE if name in program.metadata}


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
    check_decoder(path.name, opened(path), graph, ("token", "logits", "new_k_0"))


def check_decoder(where: str, program: Program, graph: str, expected: Sequence[str]) -> None:
    """What `check` does, where `graph` is a decoder.

    Raises:
        BundleError: an expected name isn't there, or it computes keys or values of the memory.
    """
    names = {*program.function.inputs, *(var.name for var in program.function.outputs)}
    if not is_decoder(graph):
        return
    if not names.issuperset(expected):
        raise BundleError(f"{where} is no decoder of the contract: it has {', '.join(sorted(names)[:4])}, ..")
    refuse_weights(where, memory_projections(program))


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
    ("fp32", "fp16", "int8", "int4", "mixed"), convert, load, operators, check, variable=VARIABLE, minimum_os="iOS 16",
    graph_view=graph_view, half=HALF, half_caches=HALF,
    axes=NEURAL_ENGINE, engine=open_engine, lines=40,  # evaluated operator by operator
)  # fmt: skip
