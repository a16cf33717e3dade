"""Core ML on macOS: decoder packages for each cache size, and an encoder package for all widths or for each.

Each package is compiled once in a process. Keys and values are stored in the package's axes; the host sees them in the
contract's, without a copy. Core ML itself chooses between CPU, GPU and Neural Engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import coremltools as ct
import numpy as np
from numpy.typing import NDArray

from ..bundle.cache_axes import as_contract, axes_of
from ..bundle.io_spec import IOSpec, TensorSpec
from ..errors import BundleError
from ..inference.row_by_row import RowsEngine, Values

EXTRA = "coreml"
SYSTEM = "Darwin"

MAIN = "main"  # the function of a package that has one


class Model(Protocol):
    """What `coremltools.models.CompiledMLModel` and `export.mil.program.Program` have in common."""

    def predict(self, inputs: Values, state: Any = None) -> Values:
        """Outputs by name."""

    def make_state(self) -> Any:
        """States of zeros, with `read_state(name)` and `write_state(name, value)`."""


OpenModel = Callable[[Path, str], Model]  # package, function


def open_model(path: Path, function: str) -> Model:
    """One function of a package, compiled for this machine.

    Raises:
        BundleError: Core ML can't load it.
    """
    try:
        name = None if function == MAIN else function
        model: Model = ct.models.CompiledMLModel(compiled(path), function_name=name)
        return model
    except Exception as error:  # coremltools raises plain exceptions
        reason = str(error).splitlines()[0][:200]
        raise BundleError(f"{path} can't be loaded by Core ML ({reason})") from error


@lru_cache
def compiled(path: Path) -> str:
    """Folder of the compiled package, which lasts as long as the process."""
    return str(ct.utils.compile_model(str(path)))


def array_of(item: TensorSpec, spec: IOSpec) -> NDArray[Any]:
    """Zeros for an input or state of one row as the package has it; Core ML takes fp32 where it holds fp16."""
    stored = spec.stored(item)
    return np.zeros([int(size) for size in stored.shape], np.int32 if "int" in item.dtype else np.float32)


def seen(values: Mapping[str, NDArray[Any]], spec: IOSpec) -> Values:
    """What a package takes or gives, in the contract's axes."""
    return {name: as_contract(value, axes_of(name, spec.axes), spec.heads) for name, value in values.items()}


class CoremlGraph:
    """One function; see `runtime.inference.row_by_row.Graph`."""

    def __init__(self, model: Model, spec: IOSpec, name: str) -> None:
        self.model, self.spec = model, spec
        self.stored = {item.name: array_of(item, spec) for item in spec.input_spec(name, B=1)}
        self.inputs = seen(self.stored, spec)
        self.outputs: Values = {}

    def run(self) -> None:
        """See `runtime.inference.row_by_row.Graph`."""
        found = self.model.predict(self.stored)
        self.outputs = seen({name: np.asarray(value, np.float32) for name, value in found.items()}, self.spec)


def engine_of(files: Mapping[str, Path], spec: IOSpec, open_model: OpenModel) -> RowsEngine:
    """An engine of packages with a function each."""
    return RowsEngine(files.keys(), lambda name: CoremlGraph(open_model(files[name], MAIN), spec, name), spec)


def open_engine(files: Mapping[str, Path], spec: IOSpec, _threads: int) -> RowsEngine:
    """See `runtime.inference.engine.EngineFactory`; Core ML counts its own threads."""
    return engine_of(files, spec, open_model)


ENGINE = open_engine
