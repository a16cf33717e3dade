"""Records what quantisation costs with the run that was exported: `quantisation.jsonl` gets an object for each artifact
and each export with `--lines`. `omr-train results` makes the study's Table 11 from it.

    target, precision          of the artifact
    ser, ser_pytorch           symbol error rates over tokens, percent
    size_mb                    both graphs
    lines_per_second           read greedily from prepared pictures, eight at a time; timed once
    dataset, split, lines      what was read
    checkpoint, machine, tools, date
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from runtime.bundle.manifest import Manifest
from training.hardware.precision import processor_name
from training.saving.checkpoint import Loaded

FILE = "quantisation.jsonl"


def record(loaded: Loaded, manifest: Manifest, sizes: Mapping[str, int]) -> Path | None:
    """Add a row for each artifact that has read lines.

    Args:
        loaded: the checkpoint that was exported.
        manifest: of the bundle.
        sizes: bytes of each of its files.

    Returns:
        The file; None if nothing was read, or if the checkpoint isn't in a run's folder.
    """
    folder = loaded.folder.resolve()
    artifacts = [artifact for artifact in manifest.artifacts if "reading" in artifact.numerics]
    if folder.parent.name != "checkpoints" or not folder.name.startswith("step-") or not artifacts:
        return None
    file = folder.parent.parent / FILE
    with file.open("a", encoding="utf-8") as out:
        for artifact in artifacts:
            reading = artifact.numerics["reading"]
            row: dict[str, Any] = {
                "target": artifact.target,
                "precision": artifact.precision,
                "ser": reading["ser_percent"],
                "ser_pytorch": reading["ser_pytorch_percent"],
                "size_mb": round(sum(sizes[name] for name in artifact.graphs_by_file()) / 1e6, 3),
                "lines_per_second": reading["lines_per_second"],
                "dataset": Path(reading["dataset"]).name,
                "split": reading["split"],
                "lines": reading["lines"],
                "checkpoint": folder.name,
                "machine": f"{processor_name(torch.device('cpu'))}, 1 thread",
                "tools": manifest.tools,
                "date": manifest.created,
            }
            out.write(json.dumps(row) + "\n")
    return file
