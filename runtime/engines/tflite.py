"""LiteRT (TensorFlow Lite) on the CPU, through XNNPACK: `.tflite` files with a signature for each graph.

Inputs and outputs are views of LiteRT's own memory, so the cache is never copied. LiteRT's Python interface offers such
views only for a file's first signature. The class below it, which `SignatureRunner` also uses, offers them for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from ..bundle.io_spec import IOSpec, is_decoder, kind_of
from ..errors import BundleError
from ..inference.row_by_row import RowsEngine, Values
from ..inference.threads import default_threads

EXTRA = "tflite"


def open_interpreter(path: Path, threads: int) -> Any:
    """A file's interpreter; its graphs are prepared when they are opened.

    Raises:
        BundleError: LiteRT can't load the file.
    """
    try:
        return Interpreter(model_path=str(path), num_threads=threads)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise BundleError(f"{path} can't be loaded by LiteRT ({reason})") from error


class LitertGraph:
    """One signature; see `runtime.inference.row_by_row.Graph`."""

    def __init__(self, interpreter: Any, path: Path, name: str) -> None:
        signatures = interpreter._get_full_signature_list()
        if name not in signatures:
            raise BundleError(f"{path} holds no graph {name} (known: {', '.join(signatures)}); export it again")
        self.interpreter = interpreter._interpreter
        self.subgraph = self.interpreter.GetSubgraphIndexFromSignature(name)
        self.interpreter.AllocateTensors(self.subgraph)
        self.inputs = self._views(signatures[name]["inputs"])
        for value in self.inputs.values():
            value[:] = 0
        self.interpreter.Invoke(self.subgraph)
        self.outputs = self._views(signatures[name]["outputs"])

    def _views(self, tensors: Mapping[str, int]) -> Values:
        view = self.interpreter.tensor
        return {name: view(self.interpreter, index, self.subgraph) for name, index in tensors.items()}

    def run(self) -> None:
        """See `runtime.inference.row_by_row.Graph`."""
        self.interpreter.Invoke(self.subgraph)


def check_names(graph: LitertGraph, spec: IOSpec, path: Path, name: str) -> None:
    """A graph's inputs and outputs must be the contract's, in name and shape.

    Raises:
        BundleError: they are others.
    """
    expected = {item.name: item.shape for item in spec.input_spec(name, B=1) + spec.output_spec(name, B=1)}
    found = {key: value.shape for key, value in {**graph.inputs, **graph.outputs}.items()}
    if expected != found:
        odd = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
        raise BundleError(f"{path} is no {name} graph of this bundle: {odd[:4]} differ; export it again")


def open_engine(files: Mapping[str, Path], spec: IOSpec, threads: int) -> RowsEngine:
    """See `runtime.inference.engine.EngineFactory`."""
    interpreters: dict[tuple[Path, str], Any] = {}

    def open_graph(name: str) -> LitertGraph:
        path, kind = files[name], kind_of(name)
        if (path, kind) not in interpreters:
            weights = path.stat().st_size if is_decoder(kind) else None
            interpreters[path, kind] = open_interpreter(path, threads or default_threads(weights))
        graph = LitertGraph(interpreters[path, kind], path, name)
        check_names(graph, spec, path, name)
        return graph

    return RowsEngine(files.keys(), open_graph, spec)


ENGINE = open_engine
