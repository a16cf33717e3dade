"""An engine for phones' formats, whose graphs each take one row and one size.

Rows go one by one through the graph of their bucket. A graph's inputs stay in place, so a reading of one row copies
only the new slice. With several rows, the filled part of a row's cache is copied in before its step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle.io_spec import MASKED, IOSpec, graph_for, kind_of
from .chunked_scoring import in_chunks
from .engine import Floats, Integers

Values = dict[str, NDArray[Any]]


class Graph(Protocol):
    """One graph, loaded: inputs are written in place, outputs hold until the next run."""

    inputs: Values
    outputs: Values

    def run(self) -> None:
        """Compute the outputs."""


class RowsMemory:
    """Encoder outputs of all rows, by name."""

    def __init__(self, values: Values) -> None:
        self.values = values

    @property
    def batch(self) -> int:
        return len(self.values["memory_mask"])

    @property
    def column_logits(self) -> Floats | None:
        return self.values.get("column_logits")


class RowsEngine:
    """See `runtime.inference.engine.Engine`.

    Args:
        names: of the artifact's graphs.
        open_graph: loads one of them; its inputs hold finite numbers.
        spec: the contract's sizes.
    """

    def __init__(self, names: Collection[str], open_graph: Callable[[str], Graph], spec: IOSpec) -> None:
        self.spec = spec
        self.names, self.open_graph = names, open_graph
        self.graphs: dict[str, Graph] = {}
        # Whose row a decoder graph's inputs hold, and how many of its tokens.
        self.resident: dict[str, tuple[RowsDecoder, int, int]] = {}
        self.chunk = spec.chunk if {*spec.chunked} <= {*map(kind_of, names)} else 0

    def graph(self, kind: str, size: int) -> tuple[str, Graph]:
        """The graph of a bucket and its name, loaded when it is first needed."""
        name = graph_for(self.names, kind, size)
        if name not in self.graphs:
            self.graphs[name] = self.open_graph(name)
        return name, self.graphs[name]

    def encode(self, image: Floats, valid_width: Integers) -> RowsMemory:
        """See `runtime.inference.engine.Engine`."""
        _, graph = self.graph("encode", image.shape[3])
        rows: list[Values] = []
        for picture, width in zip(image, valid_width, strict=True):
            graph.inputs["image"][0] = picture
            graph.inputs["valid_width"][0] = width
            graph.run()
            rows.append({name: value.copy() for name, value in graph.outputs.items()})
        return RowsMemory({name: np.concatenate([row[name] for row in rows]) for name in rows[0]})

    def start(self, memory: RowsMemory) -> RowsDecoder:
        """See `runtime.inference.engine.Engine`."""
        return RowsDecoder(self, memory)


class RowsDecoder:
    """The caches of one batch; see `runtime.inference.engine.Decoder`."""

    def __init__(self, engine: RowsEngine, memory: RowsMemory) -> None:
        self.engine, self.spec = engine, engine.spec
        self.filled = 0
        self.memory = {name: memory.values[name] for name in [*self.spec.caches("cross"), "memory_mask"]}
        self.caches: Values = {}
        self.logits: Floats = self.spec.output_spec("decode", B=memory.batch)[0].zeros()
        self._grow(self.spec.slots[0])

    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        self._read("decode", token, position, 1, self.logits)
        return self.logits

    def score(self, tokens: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        return in_chunks(self, tokens, position, self.engine.chunk)

    def chunk(self, tokens: Integers, position: int, count: int) -> Floats:
        """See `runtime.inference.chunked_scoring.Chunks`."""
        logits: Floats = np.empty((*tokens.shape, self.spec.vocab_size), self.logits.dtype)
        self._read(self.spec.chunked[0], tokens, position, count, logits)
        return logits

    def _read(self, kind: str, token: Integers, position: int, count: int, logits: Floats) -> None:
        """Read `count` tokens of every row with graphs of one kind; their slices go into the caches."""
        assert position == self.filled, f"position {position} after {self.filled} tokens"
        end = position + count
        if end > self.slots:
            self._grow(self.spec.slots_for(end))
        name, graph = self.engine.graph(kind, self.slots)
        for row, given in enumerate(token):
            self._load(name, graph.inputs, row)
            graph.inputs["token"][0] = given
            graph.inputs["position"][0] = position
            graph.run()
            logits[row] = graph.outputs["logits"][0]
            for old, new in self.writes:
                slices = graph.outputs[new][0, :, :count]
                self.caches[old][row, :, position:end] = graph.inputs[old][0, :, position:end] = slices
            self.engine.resident[name] = (self, row, end)
        self.filled = end

    def keep(self, rows: Integers) -> None:
        """See `runtime.inference.engine.Decoder`."""
        if len(rows) == len(self.logits) and np.array_equal(rows, np.arange(len(rows))):
            return
        self.memory = {name: value[rows] for name, value in self.memory.items()}
        self.caches = {name: cache[rows] for name, cache in self.caches.items()}
        self.logits = self.logits[rows]
        for name in [name for name, (owner, *_) in self.engine.resident.items() if owner is self]:
            del self.engine.resident[name]

    @property
    def slots(self) -> int:
        return int(self.caches["self_k_0"].shape[2])

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Each cache and the output that holds its new slice."""
        return list(zip(self.spec.caches("self"), self.spec.caches("new"), strict=True))

    def _load(self, graph: str, inputs: Values, row: int) -> None:
        """Copy into a graph's inputs what they lack of one row's caches and memory. The rest of the inputs is
        masked."""
        owner, owned_row, tokens = self.engine.resident.get(graph, (None, 0, 0))
        is_resident = owner is self and owned_row == row
        new = slice(tokens if is_resident else 0, self.filled)
        if new.start < new.stop:
            for name, cache in self.caches.items():
                inputs[name][0, :, new] = cache[row, :, new]
        if is_resident:
            return
        inputs["memory_mask"][:] = MASKED
        for name, value in self.memory.items():
            shape = tuple(slice(size) for size in value[row].shape)
            inputs[name][0][shape] = value[row]

    def _grow(self, slots: int) -> None:
        """Caches of this size, what is filled copied over."""
        old = self.caches
        specs = {item.name: item for item in self.spec.input_spec("decode", B=len(self.logits), S=slots)}
        self.caches = {name: specs[name].zeros() for name in self.spec.caches("self")}
        for name, cache in old.items():
            self.caches[name][:, :, : self.filled] = cache[:, :, : self.filled]
