"""TFLite, for LiteRT: one file for each precision, with a signature for each width and cache size; fp32, fp16 and fewer
bits.

The signatures share their weights, so another bucket costs only kilobytes. Integers have 32 bits, as phones' delegates
want.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ai_edge_quantizer
import litert_torch
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager
from numpy.typing import NDArray
from torch import Tensor, nn

from export.checks.memory_products import Node, memory_products, refuse_weights
from export.files import opened_once
from export.graphs.contract import modules
from export.graphs.four_axes import four_axes
from export.precision.calibration import Calibration, bits_of
from export.precision.sensitivity import matrices
from export.precision.static import tflite as static
from export.target import Files, Run, Target, called, graph_names
from export.views.graph_view import GraphView
from export.views.tflite import view
from runtime.bundle.io_spec import IOSpec, is_decoder, kind_of
from runtime.engines.tflite import LitertGraph, open_interpreter
from runtime.errors import BundleError
from training.model.decoder import Decoder
from training.model.music_trocr import MusicTrOCR

EXTRA = "tflite"

Recipe = qtyping.ModelQuantizationRecipe

VARIABLE: tuple[str, ...] = ()
PRODUCTS = ("FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D")
BRANCHES = ("IF", "WHILE", "STABLEHLO_WHILE", "STABLEHLO_CASE")
OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


class Named(nn.Module):
    """A graph of the contract with names: litert-torch takes those of keyword arguments and of a dict's keys."""

    def __init__(self, module: nn.Module, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def forward(self, **values: Tensor) -> dict[str, Tensor]:
        found = self.module(*[values[name] for name in self.inputs])
        return dict(zip(self.outputs, found, strict=True))


def convert(
    model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path, calibration: Calibration | None = None
) -> dict[str, Files]:
    """Write `model.PRECISION.tflite` for each precision."""
    parts = modules(model)
    fold_gains(parts["decode"].decoder)  # which the graph of chunks has, too
    graphs = [name for group in graph_names(spec, VARIABLE).values() for name in group]
    converter: Any = litert_torch
    with quiet(), four_axes(model):
        for name in graphs:
            module = parts[kind_of(name)].requires_grad_(False)
            named = Named(module, spec.input_names(name), spec.output_names(name)).eval()
            inputs = {item.name: torch.from_numpy(item.zeros(B=1)) for item in spec.input_spec(name)}
            converter = converter.signature(name, named, sample_kwargs=inputs)
        exact = converter.convert()
    float_path = folder / "model.fp32.tflite"
    exact.export(str(float_path))
    files = {}
    for precision in precisions:
        path = folder / f"model.{precision}.tflite"
        if precision == "fp16":
            quantize(float_path, halved(), path)
        elif precision == "int8_static":
            assert calibration is not None
            ranges = static.ranges(float_path, {name: calibration.rows(name, spec) for name in graphs})
            quantize(float_path, static.recipe(), path, ranges)
        elif precision != "fp32":
            quantize(float_path, few_bits(float_path, with_four_bits(parts, precision, calibration)), path)
        files[precision] = dict.fromkeys(graphs, path)
    return files


@torch.no_grad()
def fold_gains(decoder: Decoder) -> None:
    """Multiply the gains of norms into the matrices that read them.

    The converter does this for several tokens at once and not for one, and then the two graphs couldn't share these
    matrices.
    """
    readers = [(decoder.norm, [decoder.head])]
    for layer in decoder.layers:
        readers += [
            (layer.self_norm, [layer.self_qkv]), (layer.cross_norm, [layer.cross_query]),
            (layer.feed_norm, [layer.feed_gate, layer.feed_up]),
        ]  # fmt: skip
    for norm, matrices_after in readers:
        for matrix in matrices_after:
            matrix.weight *= norm.weight
        norm.weight = None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The converter prints its progress on stdout, where a command's answer belongs, and warns of every integer."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def with_four_bits(
    parts: Mapping[str, nn.Module], precision: str, calibration: Calibration | None
) -> list[NDArray[np.float32]]:
    """The matrices that a precision gives 4 bits."""
    found = []
    for part in parts.values() if precision != "int8" else ():
        bits = bits_of(part, precision, calibration)
        found += [one.weight.detach().numpy() for name, one in matrices(part).items() if bits[name] == 4]
    return found


def quantize(source: Path, chosen: Recipe, path: Path, ranges: Mapping[str, Any] | None = None) -> None:
    """Write a file's weights in fewer bits, and activations that have `ranges`; they stay fp32 at every border."""
    with quiet():
        found = ai_edge_quantizer.Quantizer(str(source), chosen).quantize(ranges)
        found.export_model(str(path), overwrite=True)


def halved() -> Recipe:
    """Weights in fp16, but for embeddings, of which LiteRT's GPU delegate reads tables in fp32 and int8."""
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=16,
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )  # fmt: skip
    manager.add_quantization_config(
        regex=".*", operation_name=qtyping.TFLOperationName.EMBEDDING_LOOKUP,
        algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
    )  # fmt: skip
    return manager.get_quantization_recipe()


def few_bits(source: Path, four: Sequence[NDArray[np.float32]] = ()) -> Recipe:
    """Weights in int8, a scale for each output channel; some matrices in 4 bits, with a scale for each block of a row.

    Args:
        four: those matrices, which are known in `source` by their values.
    """
    manager = recipe_manager.RecipeManager()
    manager.add_dynamic_config(regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=8)
    for scope in scopes(source, four):
        manager.add_dynamic_config(
            regex=f"^{re.escape(scope)};$", operation_name=qtyping.TFLOperationName.FULLY_CONNECTED, num_bits=4,
            granularity=qtyping.QuantGranularity.BLOCKWISE_32,
        )  # fmt: skip
    return manager.get_quantization_recipe()


def scopes(source: Path, four: Sequence[NDArray[np.float32]]) -> list[str]:
    """What the quantiser calls the products with some matrices: the names of their outputs."""
    model = unpacked(source)
    found, known = [], dict[int, bool]()
    for subgraph in model.subgraphs if four else ():
        for node in nodes(model, subgraph):
            if node.kind == "FULLY_CONNECTED":
                weight = subgraph.tensors[int(node.inputs[1])]
                if weight.buffer not in known:
                    values = np.frombuffer(bytes(model.buffers[weight.buffer].data), np.float32).reshape(weight.shape)
                    known[weight.buffer] = any(is_scaled(values, matrix) for matrix in four)
                if known[weight.buffer]:
                    found.append(subgraph.tensors[int(node.outputs[0])].name.decode())
    return found


def is_scaled(found: NDArray[np.float32], matrix: NDArray[np.float32]) -> bool:
    """Whether weights are a matrix; the converter may have multiplied its columns by the gains of a norm before it."""
    if found.shape != matrix.shape:
        return False
    lengths = np.linalg.norm(found, axis=0) * np.linalg.norm(matrix, axis=0)
    return bool(np.all(np.abs((found * matrix).sum(axis=0)) >= (1 - 1e-4) * lengths))


def load(path: Path, graph: str) -> Run:
    """See `Target.load`."""
    return called(LitertGraph(open_interpreter(path, threads=1), path, graph))


@opened_once
def unpacked(path: Path) -> Any:
    """A file as LiteRT's schema has it."""
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def signature(path: Path, graph: str) -> tuple[Any, Any, Any]:
    """The model in a file, the signature of one of its graphs and the subgraph."""
    model = unpacked(path)
    for found in model.signatureDefs:
        if found.signatureKey.decode() == graph:
            return model, found, model.subgraphs[found.subgraphIndex]
    raise BundleError(f"{path} holds no graph {graph}; export it again")


def nodes(model: Any, subgraph: Any) -> list[Node]:
    """The operators of a subgraph; tensors are named by their numbers."""
    kinds = [OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    return [
        Node(kinds[item.opcodeIndex], [str(n) for n in item.inputs if n >= 0], [str(n) for n in item.outputs])
        for item in subgraph.operators
    ]


def operators(path: Path, graph: str) -> Counter[str]:
    """See `Target.operators`."""
    model, _, subgraph = signature(path, graph)
    return Counter(node.kind for node in nodes(model, subgraph))


def graph_view(path: Path, graph: str) -> GraphView:
    """See `Target.graph_view`."""
    return view(*signature(path, graph), graph)


def check(path: Path, graph: str) -> None:
    """The contract's rules for graphs.

    Raises:
        BundleError: the graph branches, or a decoder computes keys or values of the memory.
    """
    model, found, subgraph = signature(path, graph)
    listed = nodes(model, subgraph)
    branches = sorted({node.kind for node in listed} & set(BRANCHES))
    if branches:
        raise BundleError(f"{graph} of {path.name} holds {branches[0]}; the contract's graphs don't branch")
    if not is_decoder(graph):
        return
    weights = {str(n) for n, tensor in enumerate(subgraph.tensors) if is_stored(model, tensor)}
    memory = [str(item.tensorIndex) for item in found.inputs if item.name.decode().startswith("cross_")]
    products = memory_products(listed, weights, memory, PRODUCTS)
    refuse_weights(f"{graph} of {path.name}", [subgraph.tensors[int(number)].name.decode() for number in products])


def is_stored(model: Any, tensor: Any) -> bool:
    """Whether a tensor's values are in the file."""
    data = model.buffers[tensor.buffer]
    return data.data is not None and len(data.data) > 0 or bool(data.size)


TARGET = Target(
    ("fp32", "fp16", "int8", "int8_static", "int4", "mixed"), convert, load, operators, check, VARIABLE,
    graph_view=graph_view,
)  # fmt: skip
