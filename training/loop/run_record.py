"""Writes `run.json`, the record of a run beside its log, when the run begins, and completes it when it ends.

`omr-train results` makes its tables from it: parameters, machine, data, tool versions, and where the memory went.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.output import write_whole

from ..data.dataset.build import digest
from ..hardware.precision import processor_name
from ..hardware.sharding import own_part
from ..model.backbone import backbone_name, get_backbone
from .parameter_counts import count_parameters, counts_of
from .run import Material, Run

RECORD = "run.json"
TOOLS = ("torch", "timm", "accelerate", "datasets", "numpy")


def read_record(folder: Path) -> dict[str, Any]:
    """A run's record; empty where there is none (runs of older versions)."""
    file = folder / RECORD
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def record_start(run: Run, material: Material) -> None:
    """Write what is known before the first step. A resumed run keeps when and where it began."""
    if not run.accelerator.is_main_process:
        return
    before, config = read_record(run.folder), run.config
    name = config.model.params.vision_model_name
    counts = count_parameters(config)
    processor = processor_name(run.accelerator.device)
    write(run.folder, {
        "backbone": backbone_name(name),
        "family": get_backbone(name).family,
        "technique": config.technique.name,
        "parameters": {
            "total": counts.total, "encoder": counts.backbone, "trainable": counts_of(run.model).trainable
        },
        "data": {
            "name": Path(config.data.dataset_id).name,
            "digest": before.get("data", {}).get("digest") or data_digest(Path(config.data.dataset_id)),
            "lines": len(material.lines),
            "steps_per_epoch": material.plan.steps(),
        },
        "total_steps": run.total,
        "device": run.accelerator.device.type,
        "processors": list(dict.fromkeys([*before.get("processors", []), processor])),
        "threads": torch.get_num_threads(),
        "processes": run.accelerator.num_processes,
        "precision": config.hardware.precision,
        "tools": {"python": platform.python_version(), **{tool: version(tool) for tool in TOOLS}},
        "started": before.get("started") or now(),
    })  # fmt: skip


def record_end(run: Run) -> None:
    """Add the step that was reached, and the bytes of what was in memory (in this process, where there are several)."""
    if not run.accelerator.is_main_process:
        return
    trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    states = [value for state in run.optimizer.state.values() for value in state.values()]
    write(run.folder, read_record(run.folder) | {
        "step": run.step,
        "ended": now(),
        "bytes": {
            "parameters": size([*run.model.parameters(), *run.model.buffers()]),
            "gradients": size(trained),
            "optimizer": size(value for value in states if isinstance(value, Tensor)),
            "averages": size(run.averages.average.values()),
        },
    })  # fmt: skip


def write(folder: Path, content: dict[str, Any]) -> None:
    write_whole(folder / RECORD, (json.dumps(content, indent=1) + "\n").encode())


def data_digest(folder: Path) -> str:
    """What "the same data" means, for data sets of our own; empty for others."""
    return digest(folder) if (folder / "recipe.json").is_file() else ""


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes that this process holds."""
    return sum(part.numel() * part.element_size() for part in map(own_part, tensors))


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
