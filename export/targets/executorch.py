"""ExecuTorch with XNNPACK: one `.pte` for each precision, with a method for each width and cache size; fp32, fp16 and
fewer bits.

The methods share their weights. XNNPACK's part of a program can't be inspected, so the contract is checked before the
program is lowered.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.dialects._ops import ops as exir_ops
from executorch.exir.pass_base import ExportPass
from executorch.exir.passes import MemoryPlanningPass
from torch import nn
from torchao.quantization.pt2e.observer import PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from export.checks.memory_products import Node, memory_products, refuse_weights
from export.files import opened_once
from export.graphs.contract import modules
from export.precision.calibration import Calibration, bits_of
from export.precision.half_program import halved
from export.precision.sensitivity import matrices
from export.target import Files, Run, Target, called, graph_names
from export.views.graph_view import GraphView
from export.views.pte import view
from runtime.bundle.io_spec import IOSpec, is_decoder, kind_of
from runtime.engines.executorch import DTYPES, ExecutorchGraph, open_program
from runtime.errors import BundleError
from training.model.music_trocr import MusicTrOCR

EXTRA = "executorch"

# XNNPACK's quantiser makes smaller scales 2**-12, which costs the study's decoders 5 dB.
EXACT = PerChannelMinMaxObserver.with_args(eps=torch.finfo(torch.float32).tiny)
PRODUCTS = ("aten.linear.default", "aten.matmul.default", "aten.mm.default", "aten.bmm.default")
VARIABLE: tuple[str, ...] = ()

Program = torch.export.ExportedProgram
Kinds = tuple[torch._ops.OpOverload, ...]
LINEAR: Kinds = (torch.ops.aten.linear.default,)
CONVOLUTIONS: Kinds = (torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default)


def convert(
    model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path, calibration: Calibration | None = None
) -> dict[str, Files]:
    """Write `model.PRECISION.pte` for each precision."""
    files = {}
    with quiet():
        exact = exported(model, spec)
        for precision in precisions:
            path = folder / f"model.{precision}.pte"
            if precision == "int8":
                content = eight_bits(exact, lambda name, kinds: few_bits(exact[name], of_kinds(kinds)))
            elif precision == "int8_static":
                content = eight_bits(exact, partial(calibrated, exact, spec, calibration))
            elif precision == "fp16":
                content = lowered(in_half(exact, TARGET.io(spec, precision)), XnnpackPartitioner())
            elif precision in ("int4", "mixed"):
                parts = modules(model)
                bits = {kind: bits_by_module(part, precision, calibration) for kind, part in parts.items()}
                programs = {name: few_bits(program, named(bits[kind_of(name)])) for name, program in exact.items()}
                content = lowered(programs, XnnpackPartitioner())
            else:
                content = lowered(exact, XnnpackPartitioner())
            path.write_bytes(content)
            files[precision] = dict.fromkeys(exact, path)
    return files


def in_half(exact: Mapping[str, Program], spec: IOSpec) -> dict[str, Program]:
    """The programs in half precision, with the types of `spec` at their border."""
    types = {name: [[item.dtype for item in listed] for listed in (spec.input_spec(name), spec.output_spec(name))]
             for name in exact}  # fmt: skip
    return {name: halved(program, *types[name]) for name, program in exact.items()}


def eight_bits(exact: Mapping[str, Program], in_int8: Callable[[str, Kinds], Program]) -> bytes:
    """A file of int8; convolutions stay fp32 in networks that ExecuTorch can't lower with them.

    1.5's `ChannelsLastTaggedReshapePass` fails on MobileViT's.

    Args:
        exact: graphs by name.
        in_int8: (name, kinds of operators) -> the graph with those in int8.
    """
    try:
        return lowered({name: in_int8(name, (*LINEAR, *CONVOLUTIONS)) for name in exact}, XnnpackPartitioner())
    except Exception:  # of no narrower class
        return lowered({name: in_int8(name, LINEAR) for name in exact}, XnnpackPartitioner())


def calibrated(
    exact: Mapping[str, Program], spec: IOSpec, calibration: Calibration | None, name: str, kinds: Kinds
) -> Program:
    """One of the graphs with activations in int8, too, and scales that a histogram of the calibration lines gave."""
    assert calibration is not None
    runs = ([torch.from_numpy(row[item]) for item in spec.input_names(name)] for row in calibration.rows(name, spec))
    return few_bits(exact[name], of_kinds(kinds, fixed=True), runs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """ExecuTorch 1.5 warns of deprecations inside itself, and its partitioners tell of every node."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def exported(model: MusicTrOCR, spec: IOSpec) -> dict[str, Program]:
    """Every graph, of one row, checked."""
    parts = {kind: part.requires_grad_(False) for kind, part in modules(model).items()}
    programs = {}
    for name in [name for group in graph_names(spec, VARIABLE).values() for name in group]:
        inputs = tuple(torch.from_numpy(item.zeros(B=1)) for item in spec.input_spec(name))
        programs[name] = torch.export.export(parts[kind_of(name)], inputs)
        refuse_products(programs[name], name)
    return programs


def few_bits(
    program: Program, quantizer: XNNPACKQuantizer, runs: Iterable[Sequence[torch.Tensor]] | None = None
) -> Program:
    """Weights with a scale for each output channel; inputs of linear maps are quantised as they come, or as `runs`,
    inputs of the program in its order, gave scales."""
    inputs, _ = program.example_inputs
    prepared = prepare_pt2e(program.module(), quantizer)
    for run in runs or [inputs]:
        prepared(*run)
    return torch.export.export(convert_pt2e(prepared), inputs)


def quantized(bits: int, fixed: bool = False) -> Any:
    """How an operator with weights of so many bits is quantised; the scales of its activations may be fixed."""
    most = 2 ** (bits - 1) - 1
    least = -most if bits == 8 else -most - 1
    config = get_symmetric_quantization_config(
        is_per_channel=True, is_dynamic=not fixed, weight_qmin=least, weight_qmax=most
    )
    return replace(config, weight=replace(config.weight, observer_or_fake_quant_ctr=EXACT))


def named(bits: Mapping[str, int]) -> XNNPACKQuantizer:
    """Linear map -> bits; convolutions have 8. If modules are named, ExecuTorch 1.5 leaves convolutions unchanged; if
    no kind of operator is given, it leaves everything without a name unchanged."""
    quantizer = of_kinds(CONVOLUTIONS)
    for name, number in bits.items():
        quantizer.set_module_name(name, quantized(number))
    return quantizer


def of_kinds(kinds: Kinds, fixed: bool = False) -> XNNPACKQuantizer:
    """Operators of these kinds have 8 bits; `fixed` see `quantized`."""
    quantizer = XNNPACKQuantizer()
    for kind in kinds:
        quantizer.set_operator_type(kind, quantized(8, fixed))
    return quantizer


def bits_by_module(module: nn.Module, precision: str, calibration: Calibration | None) -> dict[str, int]:
    """Bits of each linear map at `int4` or `mixed`."""
    bits = bits_of(module, precision, calibration)
    four = {part for name, part in matrices(module).items() if bits[name] == 4}
    return {name: 4 if part in four else 8 for name, part in module.named_modules() if isinstance(part, nn.Linear)}


class SameSize(ExportPass):
    """Leaves out expands that change no size: they are left of products of 4 axes, and would copy the caches."""

    def call_operator(self, op: Any, args: Any, kwargs: Any, meta: Any) -> Any:
        idle = op == exir_ops.edge.aten.expand_copy.default and args[0].data.shape == meta["val"].shape
        return args[0] if idle else super().call_operator(op, args, kwargs, meta)


def lowered(programs: dict[str, Program], partitioner: Any) -> bytes:
    """A file with a method for each program; what the partitioner's delegate can run is its."""
    edge = to_edge_transform_and_lower(programs, [SameSize()], partitioner=[partitioner])
    # The caller's memory is read in place: caches are not copied at every step.
    planning = MemoryPlanningPass(alloc_graph_input=False)
    return bytes(edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer)


def refuse_products(program: Program, name: str) -> None:
    """See `export.checks.memory_products`.

    Raises:
        BundleError: a decoder computes keys or values of the memory.
    """
    if not is_decoder(name):
        return
    signature = program.graph_signature
    weights = [
        *signature.inputs_to_parameters, *signature.inputs_to_buffers, *signature.inputs_to_lifted_tensor_constants,
    ]  # fmt: skip
    layers = (len(signature.user_inputs) - 3) // 4
    memory = [str(item) for item in signature.user_inputs[2 + 2 * layers : -1]]
    nodes = [
        Node(str(node.target), [argument.name for argument in node.all_input_nodes], [node.name])
        for node in program.graph.nodes
        if node.op == "call_function"
    ]
    refuse_weights(name, memory_products(nodes, weights, memory, PRODUCTS))


def load(path: Path, graph: str) -> Run:
    """See `Target.load`."""
    program = open_program(path)
    return called(ExecutorchGraph(program, path, graph, sizes(program.method_meta(graph), graph)))


def sizes(meta: Any, graph: str) -> IOSpec:
    """The contract's sizes, as far as one method shows them: its inputs and outputs have no names."""
    took = [tuple(meta.input_tensor_meta(number).sizes()) for number in range(meta.num_inputs())]
    gave = [tuple(meta.output_tensor_meta(number).sizes()) for number in range(meta.num_outputs())]
    if is_decoder(graph):
        _, heads, slots, width = took[2]
        return IOSpec(
            layers=len(gave) // 2, heads=heads, head_dim=width, vocab_size=gave[0][-1], channels=1, height=1,
            widths=(1,), memory=took[-1][3:], slots=(slots,), cache_dtype=DTYPES[meta.input_tensor_meta(2).dtype()],
        )  # fmt: skip
    _, channels, height, picture = took[0]
    _, heads, columns, width = gave[0]
    head = {"all": gave[-1][2]} if len(gave[-1]) == 3 else {}
    return IOSpec(
        layers=(len(gave) - 1) // 2, heads=heads, head_dim=width, vocab_size=1, channels=channels, height=height,
        widths=(picture,), memory=(columns,), columns=head, cache_dtype=DTYPES[meta.output_tensor_meta(0).dtype()],
    )  # fmt: skip


@opened_once
def unpacked(path: Path) -> Any:
    """A file as ExecuTorch's schema has it: the program, and data that its delegates name."""
    return deserialize_pte_binary(path.read_bytes())


def plan(path: Path, graph: str) -> Any:
    """How a method is executed."""
    for found in unpacked(path).program.execution_plan:
        if found.name == graph:
            return found
    raise BundleError(f"{path} holds no graph {graph}; export it again")


def operators(path: Path, graph: str) -> Counter[str]:
    """See `Target.operators`; what a delegate runs counts as one."""
    found = plan(path, graph)
    counts: Counter[str] = Counter()
    for chain in found.chains:
        for step in chain.instructions:
            call = step.instr_args
            if hasattr(call, "op_index"):
                counts[found.operators[call.op_index].name] += 1
            elif hasattr(call, "delegate_index"):
                counts[found.delegates[call.delegate_index].id] += 1
    return counts


def graph_view(path: Path, graph: str) -> GraphView:
    """See `Target.graph_view`."""
    return view(plan(path, graph), graph)


def check(path: Path, graph: str) -> None:
    """The contract's rules that can be seen from outside; the others were checked before XNNPACK took its part.

    Raises:
        BundleError: the graph isn't there, or branches.
    """
    for chain in plan(path, graph).chains:
        if any(type(step.instr_args).__name__ == "JumpFalseCall" for step in chain.instructions):
            raise BundleError(f"{graph} of {path.name} branches; the contract's graphs don't")


TARGET = Target(
    ("fp32", "fp16", "int8", "int8_static", "int4", "mixed"), convert, load, operators, check, VARIABLE,
    graph_view=graph_view, half=("fp16",), exact_norms=True, half_caches=("fp16",),
)  # fmt: skip
