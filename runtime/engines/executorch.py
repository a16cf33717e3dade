"""ExecuTorch on the CPU, through XNNPACK: `.pte` files with a method for each graph.

Inputs are torch tensors that share numpy's memory. ExecuTorch reads them in place, because exported programs plan no
memory for inputs. Inputs and outputs have no names in ExecuTorch; they come in the contract's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import portable_lib

from ..bundle.io_spec import IOSpec
from ..errors import BundleError
from ..inference.row_by_row import RowsEngine
from ..inference.threads import default_threads

EXTRA = "executorch"

DTYPES = {4: "int64", 5: "float16", 6: "float32"}  # as PyTorch numbers them (c10::ScalarType)


def open_program(path: Path) -> Any:
    """A file's program; its methods are prepared when they are opened.

    Raises:
        BundleError: ExecuTorch can't load the file.
    """
    try:
        return portable_lib._load_program(str(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise BundleError(f"{path} can't be loaded by ExecuTorch ({reason})") from error


class ExecutorchGraph:
    """One method; see `runtime.inference.row_by_row.Graph`."""

    def __init__(self, program: Any, path: Path, name: str, spec: IOSpec) -> None:
        names = [program.get_method_name(number) for number in range(program.num_methods())]
        if name not in names:
            raise BundleError(f"{path} holds no graph {name} (known: {', '.join(names)}); export it again")
        check_border(program.method_meta(name), spec, path, name)
        self.method = program.load_method(name)
        self.inputs = {item.name: item.zeros() for item in spec.input_spec(name, B=1)}
        self.tensors = [torch.from_numpy(value) for value in self.inputs.values()]
        self.names = spec.output_names(name)
        self.run()

    def run(self) -> None:
        """See `runtime.inference.row_by_row.Graph`."""
        self.method.set_inputs(self.tensors)
        self.method.execute()
        found = self.method.get_outputs(clone_outputs=False)
        self.outputs = {name: value.numpy() for name, value in zip(self.names, found, strict=True)}


def check_border(meta: Any, spec: IOSpec, path: Path, name: str) -> None:
    """A method's inputs and outputs must have the contract's shapes and types, in its order.

    Raises:
        BundleError: they have others.
    """
    items = [*spec.input_spec(name, B=1), *spec.output_spec(name, B=1)]
    found = [
        *(meta.input_tensor_meta(number) for number in range(meta.num_inputs())),
        *(meta.output_tensor_meta(number) for number in range(meta.num_outputs())),
    ]
    if [(item.shape, item.dtype) for item in items] != [(tuple(one.sizes()), DTYPES.get(one.dtype())) for one in found]:
        raise BundleError(f"{path} is no {name} graph of this bundle: its shapes or types differ; export it again")


def open_engine(files: Mapping[str, Path], spec: IOSpec, threads: int) -> RowsEngine:
    """See `runtime.inference.engine.EngineFactory`; all of ExecuTorch's graphs in a process share their threads."""
    programs: dict[Path, Any] = {}
    portable_lib._unsafe_reset_threadpool(threads or default_threads())

    def open_graph(name: str) -> ExecutorchGraph:
        path = files[name]
        if path not in programs:
            programs[path] = open_program(path)
        return ExecutorchGraph(programs[path], path, name, spec)

    return RowsEngine(files.keys(), open_graph, spec)


ENGINE = open_engine
