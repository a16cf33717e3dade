"""Calls a target's graphs, whatever sizes each takes, and makes an engine of them if the runtime's can't run here.

If a graph takes one row, rows go one by one. If there is a graph for each bucket, the right one is taken. If decoders
take only the memory of the widest bucket, it is padded (see `Target.variable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.io_spec import IOSpec, graph_for, pad_memory
from runtime.errors import UnavailableError
from runtime.inference.engine import ENGINES, Engine
from runtime.inference.row_by_row import RowsEngine, Values

from ..target import TARGETS, Arrays, Run, Target


class Graphs:
    """The graphs of one artifact, each loaded when it is first run."""

    def __init__(self, target: Target, files: Mapping[str, Path], spec: IOSpec) -> None:
        self.target, self.files, self.spec = target, files, spec
        self.loaded: dict[str, Run] = {}

    def encode(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """The encoder's outputs by name; `image` is as wide as one of the buckets."""
        return self._run("encode", inputs["image"].shape[3], inputs)

    def decode(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """A step's outputs by name, or a chunk's where there are several tokens a row."""
        if "W" not in self.target.variable:
            inputs = pad_memory(inputs, self.spec.memory[-1])
        kind = "decode" if inputs["token"].ndim == 1 else self.spec.chunked[0]
        return self._run(kind, inputs["self_k_0"].shape[2], inputs)

    def load(self, graph: str) -> Run:
        """One of them as a function."""
        if graph not in self.loaded:
            self.loaded[graph] = self.target.load(self.files[graph], graph)
        return self.loaded[graph]

    def _run(self, kind: str, size: int, inputs: Arrays) -> dict[str, NDArray[Any]]:
        run = self.load(graph_for(self.files, kind, size))
        if "B" in self.target.variable:
            return run(inputs)
        rows = len(next(iter(inputs.values())))
        found = [run({name: value[row : row + 1] for name, value in inputs.items()}) for row in range(rows)]
        return {name: np.concatenate([row[name] for row in found]) for name in found[0]}


class InPlace:
    """One graph of one bucket with inputs that are written in place; see `runtime.inference.row_by_row.Graph`."""

    def __init__(self, graphs: Graphs, name: str) -> None:
        self.compute = graphs.load(name)
        self.inputs = {item.name: item.zeros() for item in graphs.spec.input_spec(name, B=1)}
        self.outputs: Values = {}

    def run(self) -> None:
        """See `runtime.inference.row_by_row.Graph`."""
        self.outputs = self.compute(self.inputs)


def engine_of(graphs: Graphs) -> RowsEngine:
    """An engine of graphs of one bucket each."""
    return RowsEngine(graphs.files.keys(), lambda name: InPlace(graphs, name), graphs.spec)


def open_engine(target: str, files: Mapping[str, Path], spec: IOSpec) -> Engine:
    """The runtime's engine of an artifact, one thread; where it can't run here, the target's own way to run graphs.

    Args:
        spec: with the axes of the artifact; without any, those that the target writes now are taken.
    """
    entry: Target = TARGETS.get(target)
    if target in ENGINES.names():
        with suppress(UnavailableError):
            engine: Engine = ENGINES.get(target)(files, replace(spec, axes=spec.axes or dict(entry.axes)), 1)
            return engine
    return entry.engine(files, spec) if entry.engine else engine_of(Graphs(entry, files, spec))
