"""All checks that an artifact must pass before it is written, prepared once for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.bundle.io_spec import IOSpec
from runtime.inference.engine import Engine
from training.saving.checkpoint import Loaded

from ..target import TARGETS, Target
from .activation_ranges import HalfPrecision
from .loaded_graphs import open_engine
from .parity import measure
from .probe import Probe
from .reading_trial import Trial
from .torch_engine import TorchEngine


class Checks:
    """Figures of artifacts of one checkpoint.

    Args:
        loaded: the checkpoint.
        spec: sizes of its graphs.
        trial: data set, split and number of lines to count errors on.
    """

    def __init__(self, loaded: Loaded, spec: IOSpec, trial: tuple[str, str, int] | None = None) -> None:
        self.loaded, self.spec = loaded, spec
        self.probe = Probe(loaded.preparation)
        self.reference = TorchEngine(loaded.model, spec)
        self.tried = Trial.of_data_set(loaded, self.reference, *trial) if trial else None
        self.shipped = Trial.shipped(loaded, self.reference)
        self.half = HalfPrecision(loaded.model, spec, loaded.tokenizer, self.probe)

    def numbers(self, name: str, precision: str, files: Mapping[str, Path]) -> tuple[dict[str, Any], Engine]:
        """What was measured of a target's graphs, and an engine of them.

        Raises:
            BundleError: a graph breaks the contract's rules, or half precision doesn't hold its activations.
        """
        target: Target = TARGETS.get(name)
        for graph, path in files.items():
            target.check(path, graph)
        numerics = self.half.numbers(name, target, precision)
        spec = target.io(self.spec, precision)
        numerics |= measure(self.loaded.model, spec, self.loaded.tokenizer, self.probe, name, files)
        if target.delegate:  # nothing here can run it, so the self-test holds PyTorch's reading
            return numerics, self.reference
        engine = open_engine(name, files, spec)
        if self.shipped is not None:
            lines = self.shipped.first(target.lines)
            numerics["held_out"] = lines.numbers(self.loaded, engine, f"{name} {precision}")
        if self.tried is not None:
            numerics["reading"] = self.tried.numbers(self.loaded, engine, f"{name} {precision}")
        return numerics, engine
