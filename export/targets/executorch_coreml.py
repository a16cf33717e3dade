"""ExecuTorch on Core ML: one `.pte` for each precision, which Core ML runs as a whole; fp16 and int8.

For apps on ExecuTorch, iOS 18 and later. The delegate takes every operator of every graph. The file contains one
package with several functions, which share their weights. ExecuTorch's Core ML runs only on Apple's systems, so the
check takes the package out of the file and evaluates it, called as the file's instructions call it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import coremltools as ct
from executorch.backends.apple.coreml import executorchcoreml
from executorch.backends.apple.coreml.compiler import CoreMLBackend
from executorch.backends.apple.coreml.partition import CoreMLPartitioner
from numpy.typing import NDArray

from export.files import opened_once
from export.graphs.plain_attention import plain_attention
from export.mil.program import Program
from export.target import Arrays, Files, Run, Target
from export.targets.executorch import VARIABLE, check, exported, lowered, operators, plan, quiet, sizes, unpacked
from export.views.graph_view import GraphView
from export.views.mil import view
from runtime.bundle.io_spec import IOSpec
from runtime.engines.executorch import open_program
from runtime.errors import BundleError
from training.model.music_trocr import MusicTrOCR

EXTRA = "executorch"

OLDEST = ct.target.iOS18  # the oldest that takes several functions
FEWEST = 2048  # weights of a tensor that becomes int8
EIGHT_BITS = {"mode": "linear_symmetric", "dtype": "int8", "granularity": "per_channel", "weight_threshold": FEWEST}


def convert(model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path) -> dict[str, Files]:
    """Write `model.coreml.PRECISION.pte` for each precision."""
    files = {}
    with quiet():
        with plain_attention():
            programs = exported(model, replace(spec, chunk=0))
        for precision in precisions:
            settings = CoreMLBackend.generate_compile_specs(
                minimum_deployment_target=OLDEST, op_linear_quantizer_config=EIGHT_BITS if precision == "int8" else None
            )
            path = folder / f"model.coreml.{precision}.pte"
            path.write_bytes(lowered(programs, CoreMLPartitioner(compile_specs=settings, lower_full_graph=True)))
            files[precision] = dict.fromkeys(programs, path)
    return files


class Delegated(NamedTuple):
    """One method: the function that Core ML runs for it, and the names by which that takes and gives values."""

    program: Program
    inputs: list[str]
    outputs: list[str]


@opened_once
def delegated(path: Path) -> dict[str, Delegated]:
    """The functions of the package in a file, by method.

    Raises:
        BundleError: there is no such package.
    """
    data = unpacked(path).named_data
    blobs = [bytes(data.buffers[entry.buffer_index]) for entry in data.pte_data.values()]
    if len(blobs) != 1:
        raise BundleError(f"{path} holds {len(blobs)} Core ML packages, one is expected; export it again")
    with TemporaryDirectory() as folder:
        executorchcoreml.unflatten_directory_contents(blobs[0], folder)
        (package,) = Path(folder).iterdir()
        methods = json.loads((package / "metadata.json").read_text(encoding="utf-8"))["methods"]
        return {
            name: Delegated(Program(package / "model.mlpackage", name), method["inputNames"], method["outputNames"])
            for name, method in methods.items()
        }


def load(path: Path, graph: str) -> Run:
    """See `Target.load`."""
    method, (taken, given) = delegated(path)[graph], places(path, graph)
    spec = sizes(open_program(path).method_meta(graph), graph)
    takes = dict(zip(method.inputs, (spec.input_names(graph)[place] for place in taken), strict=True))
    gives = dict(zip(method.outputs, (spec.output_names(graph)[place] for place in given), strict=True))

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        found = method.program({own: inputs[name] for own, name in takes.items()})
        return {name: found[own] for own, name in gives.items()}

    return run


def graph_view(path: Path, graph: str) -> GraphView:
    """See `Target.graph_view`; of the program inside the delegate."""
    return view(delegated(path)[graph].program, graph, enumerated=False)


def places(path: Path, graph: str) -> tuple[list[int], list[int]]:
    """Which of a method's inputs and outputs, by number, each value is that its only instruction takes and gives.

    Raises:
        BundleError: the method is more than one call of a delegate.
    """
    found = plan(path, graph)
    steps = [step.instr_args for chain in found.chains for step in chain.instructions]
    if len(steps) != 1 or not hasattr(steps[0], "delegate_index"):
        raise BundleError(f"{graph} of {path.name} isn't all Core ML's; it has {dict(operators(path, graph))}")
    values = list(steps[0].args)
    taken = [found.inputs.index(value) for value in values if value in found.inputs]
    return taken, [found.outputs.index(value) for value in values if value in found.outputs]


TARGET = Target(("fp16", "int8"), convert, load, operators, check, VARIABLE, minimum_os="iOS 18",
                graph_view=graph_view, half=("fp16", "int8"))  # fmt: skip
