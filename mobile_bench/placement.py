"""Finds where a graph really ran: the provider of every node, from ONNX Runtime's own profile.

`session.get_providers()` only says which providers were registered, not where nodes ran.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from runtime.engines.onnx import open_session


def providers(graph: Path, feeds: Mapping[str, NDArray[Any]], threads: int = 1) -> dict[str, int]:
    """Nodes by the execution provider that ran them, e.g. {"CPUExecutionProvider": 212}.

    Args:
        graph: ONNX file.
        feeds: an array for every input.
        threads: for one operator.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(graph, threads, profile=Path(folder) / "profile")
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    return dict(Counter(event["args"]["provider"] for event in nodes))
