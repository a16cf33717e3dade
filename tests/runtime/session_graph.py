"""ONNX Runtime in the place of an engine whose graphs take one row and one bucket."""

from __future__ import annotations

from pathlib import Path

from runtime.bundle.io_spec import IOSpec
from runtime.engines.onnx import open_session
from runtime.inference.row_by_row import Values


class SessionGraph:
    """See `runtime.inference.row_by_row.Graph`."""

    def __init__(self, path: Path, spec: IOSpec, name: str) -> None:
        self.session, self.names = open_session(path, 1), spec.output_names(name)
        self.inputs = {item.name: item.zeros() for item in spec.input_spec(name, B=1)}
        self.outputs: Values = {}

    def run(self) -> None:
        self.outputs = dict(zip(self.names, self.session.run(self.names, self.inputs), strict=True))
