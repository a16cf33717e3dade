"""A target's graphs behind one call, whatever sizes each takes; and as an engine where the runtime has none here.

Rows go one by one through graphs that take one, each bucket has its graph, and memory is padded to the widest bucket
where decoders take that alone (see `Target.variable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine import ENGINES, Engine, Floats, Integers
from runtime.errors import MissingExtraError
from runtime.io_spec import IOSpec, graph_for, pad_memory

from .target import TARGETS, Arrays, Run, Target


class Graphs:
    """The graphs of one artifact, each loaded when it is first run."""

    def __init__(self, target: Target, files: Mapping[str, Path], spec: IOSpec) -> None:
        self.target, self.files, self.spec = target, files, spec
        self.loaded: dict[str, Run] = {}

    def encode(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """The encoder's outputs by name; `image` is as wide as one of the buckets."""
        return self._run("encode", inputs["image"].shape[3], inputs)

    def decode(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """One step's outputs by name."""
        if "W" not in self.target.variable:
            inputs = pad_memory(inputs, self.spec.memory[-1])
        return self._run("decode", inputs["self_k_0"].shape[2], inputs)

    def _run(self, kind: str, size: int, inputs: Arrays) -> dict[str, NDArray[Any]]:
        graph = graph_for(self.files, kind, size)
        if graph not in self.loaded:
            self.loaded[graph] = self.target.load(self.files[graph], graph)
        run = self.loaded[graph]
        if "B" in self.target.variable:
            return run(inputs)
        rows = len(next(iter(inputs.values())))
        found = [run({name: value[row : row + 1] for name, value in inputs.items()}) for row in range(rows)]
        return {name: np.concatenate([row[name] for row in found]) for name in found[0]}


class GraphsMemory:
    """What the encoder left."""

    def __init__(self, values: dict[str, NDArray[Any]]) -> None:
        self.values = values

    @property
    def batch(self) -> int:
        return len(self.values["memory_mask"])

    @property
    def column_logits(self) -> Floats | None:
        return self.values.get("column_logits")


class GraphsDecoder:
    """The cache of one batch in numpy arrays."""

    def __init__(self, graphs: Graphs, memory: GraphsMemory) -> None:
        self.graphs, self.filled = graphs, 0
        names = [*graphs.spec.caches("cross"), "memory_mask"]
        self.memory = {name: memory.values[name] for name in names}
        self.caches: dict[str, NDArray[Any]] = {}
        self._grow(memory.batch, graphs.spec.slots[0])

    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.engine.Decoder`."""
        assert position == self.filled, f"position {position} after {self.filled} tokens"
        spec = self.graphs.spec
        if position >= self.caches["self_k_0"].shape[2]:
            self._grow(len(token), spec.slots_for(position + 1))
        numbers = {"token": np.asarray(token), "position": np.full(len(token), position)}
        typed = {name: value.astype(spec.integer_dtype) for name, value in numbers.items()}
        out = self.graphs.decode({**typed, **self.caches, **self.memory})
        for old, new in zip(spec.caches("self"), spec.caches("new"), strict=True):
            self.caches[old][:, :, position] = out[new][:, :, 0]
        self.filled += 1
        return np.asarray(out["logits"], np.float32)

    def keep(self, rows: Integers) -> None:
        """See `runtime.engine.Decoder`."""
        self.memory = {name: value[rows] for name, value in self.memory.items()}
        self.caches = {name: value[rows] for name, value in self.caches.items()}

    def _grow(self, batch: int, slots: int) -> None:
        specs = {spec.name: spec for spec in self.graphs.spec.input_spec("decode", B=batch, S=slots)}
        grown = {name: specs[name].zeros() for name in self.graphs.spec.caches("self")}
        for name, old in self.caches.items():
            grown[name][:, :, : self.filled] = old[:, :, : self.filled]
        self.caches = grown


class GraphsEngine:
    """See `runtime.engine.Engine`; slow, since everything is copied at every step."""

    def __init__(self, graphs: Graphs) -> None:
        self.graphs, self.spec = graphs, graphs.spec

    def encode(self, image: Floats, valid_width: Integers) -> GraphsMemory:
        valid = np.asarray(valid_width, self.spec.integer_dtype)
        return GraphsMemory(self.graphs.encode({"image": image, "valid_width": valid}))

    def start(self, memory: GraphsMemory) -> GraphsDecoder:
        return GraphsDecoder(self.graphs, memory)


def open_engine(target: str, files: Mapping[str, Path], spec: IOSpec) -> Engine:
    """The runtime's engine of an artifact, one thread; where it can't run here, the target's own way to run graphs."""
    if target in ENGINES.names():
        with suppress(MissingExtraError):
            engine: Engine = ENGINES.get(target)(files, spec, 1)
            return engine
    entry: Target = TARGETS.get(target)
    return GraphsEngine(Graphs(entry, files, spec))
