"""The interface of export targets: each is a file in `export/targets/` and has that file's name.

Whatever is special about a target (its precisions, the oldest system that runs it, its variable axes) is a field of its
entry. The engine in `runtime/engines/` that runs its files has the same name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.io_spec import IOSpec, is_decoder, named
from runtime.errors import OmrError
from runtime.inference.engine import Engine
from runtime.inference.row_by_row import Graph
from runtime.registry import Registry

from .places import CPU
from .views.graph_view import GraphView

TARGETS = Registry("export.targets", "TARGET", "target")

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], dict[str, NDArray[Any]]]  # inputs by name -> outputs by name
Files = dict[str, Path]  # graph name -> file, or folder where a format is one
CALIBRATED = ("mixed", "int8_static")  # precisions that are chosen or calibrated on lines


@dataclass(frozen=True)
class Target:
    """One format that models are exported to.

    Attributes:
        precisions: what it can write.
        convert: (model, its sizes, precisions, folder) -> precision -> graph -> the file written there. Where a
            precision is one of CALIBRATED, a `Calibration` is the fifth argument.
        load: (file, graph name) -> a function that runs the graph: inputs by name -> outputs by name, in the
            contract's types. For parity checks; an engine of the runtime does the same without copies.
        operators: (file, graph name) -> how often each operator occurs in the graph.
        check: (file, graph name) -> refuses a graph that breaks the contract.
        variable: axes of the contract that stay variable: B rows, W width (with T), S cache slots. Without B, graphs
            take one row; without W, there is an `encode_W` for each width, and decoders take the widest bucket's
            memory; without S, there is a `decode_S` (and `decode_Sx8`) for each cache size.
        minimum_os: oldest system that runs it, empty where any does.
        lines: of those shipped with the project, how many its check reads.
        graph_view: (file, graph name) -> the graph as rules of `omr-export lint` see it; None where it can't be shown.
        runs_on: places that an artifact claims to run in, as `export.places` names them; rules about others only warn.
        half: precisions whose activations are float16.
        exact_norms: whether the target computes layer norms in fp32.
        axes: how its graphs store keys and values, see `runtime.bundle.cache_axes`; empty: as the contract has them.
            `load` takes and gives the contract's axes all the same.
        half_caches: precisions whose keys, values and memory's mask are float16 at the border, too. `load` takes and
            gives float32 all the same.
        engine: (files, sizes) -> the runtime's engine on evaluated programs, for machines where the engine can't run.
            Without it an engine is made from `load`.
        delegate: name of a delegate that runs all graphs and that nothing here can run or evaluate. Then nothing is
            measured, and the manifest says so.
    """

    precisions: tuple[str, ...]
    convert: Callable[..., dict[str, Files]]
    load: Callable[[Path, str], Run]
    operators: Callable[[Path, str], Counter[str]]
    check: Callable[[Path, str], None]
    variable: tuple[str, ...] = ("B", "W", "S")
    minimum_os: str = ""
    lines: int = 200
    graph_view: Callable[[Path, str], GraphView] | None = None
    runs_on: tuple[str, ...] = (CPU,)
    half: tuple[str, ...] = ()
    exact_norms: bool = False
    axes: Mapping[str, str] = field(default_factory=dict)
    half_caches: tuple[str, ...] = ()
    engine: Callable[[Mapping[str, Path], IOSpec], Engine] | None = None
    delegate: str = ""

    def io(self, spec: IOSpec, precision: str) -> IOSpec:
        """A model's sizes, and how an artifact of this target stores keys and values."""
        half = precision in self.half_caches
        return replace(spec, axes=dict(self.axes), cache_dtype="float16" if half else "float32")


def graph_names(spec: IOSpec, variable: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The graphs of a model by kind: one that takes any size, or one a bucket where the axis isn't `variable`."""
    found = {}
    for kind in spec.kinds:
        axis, sizes = ("S", spec.slots) if is_decoder(kind) else ("W", spec.widths)
        found[kind] = (kind,) if axis in variable else tuple(named(kind, size) for size in sizes)
    return found


def called(graph: Graph) -> Run:
    """A loaded graph, whose inputs are written in place, as `Target.load` gives it."""

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        for name, value in inputs.items():
            graph.inputs[name][:] = value
        graph.run()
        return {name: np.array(value, np.float32) for name, value in graph.outputs.items()}

    return run


def chosen(targets: str, precisions: str) -> dict[str, tuple[str, ...]]:
    """What a command asks for: `onnx,coreml` and `fp32,int8` -> target -> precisions, in the order given.

    Raises:
        OmrError: an unknown name, or nothing at all.
    """
    wanted = {}
    for name in names(targets, "target"):
        target: Target = TARGETS.get(name)
        wanted[name] = names(precisions, "precision")
        for precision in wanted[name]:
            if precision not in target.precisions:
                known = ", ".join(target.precisions)
                raise OmrError(f"target {name!r} has no precision {precision!r} (known: {known})")
    return wanted


def names(text: str, noun: str) -> tuple[str, ...]:
    """Comma-separated names, each once."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise OmrError(f"no {noun} is given in {text!r}; write names with commas between them")
    return found
