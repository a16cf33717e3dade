"""Core ML for iOS 18 and later: two packages with a function for each size, caches as states; fp16, int8, and
int8_static for Neural Engines that compute with int8 activations (A17 Pro, M4).

The functions of a package share their weights, and each has fixed sizes, so no flexible shape keeps the encoder from
the Neural Engine. Decoders update their self-attention caches themselves, one slice each, and return only the scores.
States are half precision, so there is no fp32.

Reported problems of states: they don't work with flexible shapes (coremltools #2548), and sizes must be multiples of 32
(#2631). The target `coreml` has neither states nor functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import coremltools as ct
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export import places
from export.files import opened_once
from export.graphs.neural_engine import Encoder, StatefulStep, modules
from export.mil.program import Program
from export.precision.calibration import Calibration
from export.precision.static.coreml import activation_scales, fixed_scales
from export.target import Arrays, Files, Run, Target, graph_names
from export.targets.coreml import HEADS, axes_in, check_decoder, described, in_contract, ml_program, shapes_of, trace
from export.views.graph_view import GraphView
from export.views.mil import view
from runtime.bundle.cache_axes import NEURAL_ENGINE, as_contract, as_stored, axes_of
from runtime.bundle.io_spec import IOSpec, TensorSpec, kind_of
from runtime.engines.coreml_ios18 import StatesEngine
from runtime.errors import BundleError
from training.model.music_trocr import MusicTrOCR

EXTRA = "coreml"

VARIABLE: tuple[str, ...] = ()
MULTIPLE = 32  # of a state's slots
STATIC = "int8_static"
HALF = ("fp16", "int8", STATIC)  # their activations are float16, except where they are int8


def convert(
    model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path, calibration: Calibration | None = None
) -> dict[str, Files]:
    """Write `encode.PRECISION.mlpackage` and `decode.PRECISION.mlpackage`, with a function for each size."""
    odd = [size for size in spec.slots if size % MULTIPLE]
    if odd:
        raise BundleError(f"a cache of {odd[0]} slots can't be a state; give a model.params.max_seq_len of {MULTIPLE}s")
    spec = replace(spec, axes=NEURAL_ENGINE, chunk=0)  # given tokens are read step by step into the states
    files: dict[str, Files] = {precision: {} for precision in precisions}
    for kind, graphs in graph_names(spec, VARIABLE).items():
        scales: dict[str, float] = {}
        if STATIC in precisions:
            assert calibration is not None
            scales = activation_scales(modules(model)[kind], runs(calibration, spec, kind))
        with TemporaryDirectory(dir=folder) as parts:
            for graph, precision, program in programs(model, spec, graphs, precisions, scales):
                program.save(str(Path(parts) / f"{graph}.{precision}.mlpackage"))
            for precision in precisions:
                path = folder / f"{kind}.ios18.{precision}.mlpackage"
                join({graph: Path(parts) / f"{graph}.{precision}.mlpackage" for graph in graphs}, spec, path)
                files[precision] |= dict.fromkeys(graphs, path)
    return files


def runs(calibration: Calibration, spec: IOSpec, kind: str) -> Iterator[list[Tensor]]:
    """Inputs of a graph in its order, keys and values stored as its sizes say, for each calibration run."""
    for inputs in calibration.inputs(kind):
        yield [torch.from_numpy(as_stored(inputs[name], axes_of(name, spec.axes))) for name in spec.input_names(kind)]


def programs(
    model: MusicTrOCR, spec: IOSpec, graphs: Sequence[str], precisions: Sequence[str], scales: Mapping[str, float]
) -> Iterator[tuple[str, str, Any]]:
    """Each graph at each precision: (graph, precision, program); `scales` of activations are for STATIC."""
    for graph in graphs:
        decodes = kind_of(graph) == "decode"
        module = StatefulStep(model.decoder, spec.bucket(graph)["S"]) if decodes else Encoder(model)
        states, items, outputs = borders(spec, graph)
        settings: dict[str, Any] = {"minimum_deployment_target": ct.target.iOS18}
        if decodes:
            settings["states"] = states
        traced: dict[bool, Any] = {}  # with roundings of activations and without
        for precision in precisions:
            static = precision == STATIC
            if static not in traced:
                with fixed_scales(module.eval(), scales if static else {}):
                    traced[static] = trace(module, spec, [item for item, _ in items])
            yield graph, precision, ml_program(traced[static], spec, items, outputs, precision, **settings)


def borders(spec: IOSpec, graph: str) -> tuple[list[Any], list[tuple[TensorSpec, tuple[int, ...]]], list[TensorSpec]]:
    """States, inputs with their shapes, and outputs of a graph."""
    items = list(zip(spec.input_spec(graph, B=1), shapes_of(spec, graph), strict=True))
    states = [
        ct.StateType(wrapped_type=ct.TensorType(shape=shape, dtype=np.float16), name=item.name)
        for item, shape in items
        if item.name.startswith("self_")
    ]
    inputs = [(item, shape) for item, shape in items if not item.name.startswith("self_")]
    return states, inputs, [item for item in spec.output_spec(graph, B=1) if not item.name.startswith("new_")]


def join(parts: Mapping[str, Path], spec: IOSpec, path: Path) -> None:
    """Packages of one function each as one, whose functions are named after the graphs."""
    joined = ct.utils.MultiFunctionDescriptor()
    for graph, part in parts.items():
        joined.add_function(str(part), src_function_name="main", target_function_name=graph)
    joined.default_function_name = next(iter(parts))
    bare = path.with_name(f"bare.{path.name}")
    ct.utils.save_multifunction(joined, str(bare))
    described(ct.models.MLModel(str(bare), skip_model_load=True), spec).save(str(path))


@opened_once
def opened(path: Path) -> dict[str, Program]:
    """A package's functions that were looked at, by name."""
    return {}


def program_of(path: Path, graph: str) -> Program:
    """One function of a package, read once."""
    programs = opened(path)
    if graph not in programs:
        programs[graph] = Program(path, graph)
    return programs[graph]


def load(path: Path, graph: str) -> Run:
    """See `Target.load`; states are filled before each run, and new slices read from them."""
    program = program_of(path, graph)
    if not program.states:
        return in_contract(program)
    axes, heads = axes_in(program), int(program.metadata[HEADS])

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        state, place = program.make_state(), int(inputs["position"][0])
        for name in program.states:
            state.write_state(name, as_stored(inputs[name], axes_of(name, axes)))
        found = in_contract(program, state)({n: value for n, value in inputs.items() if n not in program.states})
        for name in program.states:
            cache = as_contract(state.read_state(name), axes_of(name, axes), heads)
            found[name.replace("self", "new")] = cache[:, :, place : place + 1].astype(np.float32)
        return found

    return run


def open_engine(files: Mapping[str, Path], spec: IOSpec) -> StatesEngine:
    """The runtime's engine, with evaluated programs instead of Core ML's."""
    graph, path = next(iter(files.items()))
    return StatesEngine(files, replace(spec, axes=axes_in(program_of(path, graph))), program_of)


def operators(path: Path, graph: str) -> Counter[str]:
    """See `Target.operators`."""
    return program_of(path, graph).operators()


def graph_view(path: Path, graph: str) -> GraphView:
    """See `Target.graph_view`."""
    return view(program_of(path, graph), graph, enumerated=False)


def check(path: Path, graph: str) -> None:
    """The contract's rules for graphs.

    Raises:
        BundleError: a name differs from the contract's, or a decoder computes keys or values of the memory.
    """
    check_decoder(f"{graph} of {path.name}", program_of(path, graph), graph, ("token", "logits", "self_k_0"))


TARGET = Target(
    HALF, convert, load, operators, check, variable=VARIABLE, minimum_os="iOS 18", axes=NEURAL_ENGINE,
    engine=open_engine, graph_view=graph_view, runs_on=(places.CPU, places.NEURAL_ENGINE), half=HALF, half_caches=HALF,
    lines=40,
)  # fmt: skip
