"""Core ML on macOS 15 and later: a function for each width and cache size, self-attention caches as states.

Each row of a batch has its own states, which the decoder updates in place: token and position go in, and scores come
out. When the cache must grow, the states are copied into those of a larger function.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle.cache_axes import as_contract, as_stored, axes_of
from ..bundle.io_spec import IOSpec, graph_for, pad_memory
from ..inference.engine import Floats, Integers
from ..inference.row_by_row import RowsEngine, RowsMemory, Values
from .coreml import CoremlGraph, Model, OpenModel, open_model

EXTRA = "coreml"
SYSTEM = "Darwin"


class StatesEngine(RowsEngine):
    """See `runtime.inference.engine.Engine`; encodes as any engine of rows does."""

    def __init__(self, files: Mapping[str, Path], spec: IOSpec, open_model: OpenModel) -> None:
        super().__init__(files.keys(), lambda name: CoremlGraph(open_model(files[name], name), spec, name), spec)
        self.files, self.open_model = files, open_model
        self.models: dict[str, Model] = {}

    def model(self, slots: int) -> Model:
        """The decoder of a cache size, loaded when it is first needed."""
        name = graph_for(self.files, "decode", slots)
        if name not in self.models:
            self.models[name] = self.open_model(self.files[name], name)
        return self.models[name]

    def start(self, memory: RowsMemory) -> StatesDecoder:  # type: ignore[override]  # the same interface
        """See `runtime.inference.engine.Engine`."""
        return StatesDecoder(self, memory)


class StatesDecoder:
    """The states of one batch; see `runtime.inference.engine.Decoder`."""

    def __init__(self, engine: StatesEngine, memory: RowsMemory) -> None:
        self.engine, self.spec = engine, engine.spec
        self.filled, self.slots = 0, engine.spec.slots[0]
        self.model = engine.model(self.slots)
        self.memory = [self._memory(memory, row) for row in range(memory.batch)]
        self.states: list[Any] = [self.model.make_state() for _ in self.memory]
        self.logits: Floats = self.spec.output_spec("decode", B=len(self.memory))[0].zeros()

    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        assert position == self.filled, f"position {position} after {self.filled} tokens"
        if position >= self.slots:
            self._grow(self.spec.slots_for(position + 1))
        for row, one in enumerate(token):
            numbers = {"token": np.array([one], np.int32), "position": np.array([position], np.int32)}
            self.logits[row] = self.model.predict({**numbers, **self.memory[row]}, self.states[row])["logits"][0]
        self.filled += 1
        return self.logits

    def score(self, tokens: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`; step by step."""
        steps = [self.step(tokens[:, n], position + n).copy() for n in range(tokens.shape[1])]
        return np.stack(steps, axis=1)

    def keep(self, rows: Integers) -> None:
        """See `runtime.inference.engine.Decoder`."""
        self.memory = [self.memory[row] for row in rows]
        self.logits = self.logits[rows]
        first = {int(row): place for place, row in reversed(list(enumerate(rows)))}
        self.states = [
            self.states[row] if first[int(row)] == place else self._copied(self.states[row])
            for place, row in enumerate(rows)
        ]

    def _memory(self, memory: RowsMemory, row: int) -> Values:
        """One row's cross-attention inputs as the package has them, in the widest bucket."""
        names = [*self.spec.caches("cross"), "memory_mask"]
        widest = pad_memory({name: memory.values[name][row : row + 1] for name in names}, self.spec.memory[-1])
        return {name: as_stored(value, axes_of(name, self.spec.axes)) for name, value in widest.items()}

    def _grow(self, slots: int) -> None:
        """States of this size, what is filled copied over."""
        self.slots, self.model = slots, self.engine.model(slots)
        self.states = [self._copied(state) for state in self.states]

    def _copied(self, state: Any) -> Any:
        """New states of the present size that hold what is filled of others."""
        new = self.model.make_state()
        for name in self.spec.caches("self"):
            axes = axes_of(name, self.spec.axes)
            value, old = (np.ascontiguousarray(one.read_state(name)) for one in (new, state))
            old = as_contract(old, axes, self.spec.heads)
            as_contract(value, axes, self.spec.heads)[:, :, : self.filled] = old[:, :, : self.filled]
            new.write_state(name, value)
        return new


def open_engine(files: Mapping[str, Path], spec: IOSpec, _threads: int) -> StatesEngine:
    """See `runtime.inference.engine.EngineFactory`; Core ML counts its own threads."""
    return StatesEngine(files, spec, open_model)


ENGINE = open_engine
