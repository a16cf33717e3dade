"""Reads one run folder for the tables. What the folder lacks is None."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from training.config import Config, load_config
from training.loop.run_record import read_record
from training.model.backbone import backbone_name, get_backbone

Row = dict[str, Any]
SCORES = ("loss", "ser", "cer", "sequence_accuracy", "note_accuracy")


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        folder: of the run.
        config: as it was resolved.
        record: run.json; empty in runs of older versions.
        steps: lines of metrics.jsonl about training.
        checks: its lines about lines of the val split read freely.
        evaluations: what `omr-train evaluate` measured.
        quantised: what `omr-export --lines` measured.
    """

    folder: Path
    config: Config
    record: Row
    steps: list[Row]
    checks: list[Row]
    evaluations: list[Row]
    quantised: list[Row]

    @cached_property
    def backbone(self) -> str:
        return backbone_name(self.config.model.params.vision_model_name)

    @property
    def family(self) -> str:
        return get_backbone(self.backbone).family

    @property
    def technique(self) -> str:
        """With its rank where it has one: `lora 8`."""
        settings = self.config.technique
        return f"{settings.name} {settings.rank}" if settings.name in ("lora", "qlora") else settings.name

    @property
    def seed(self) -> int:
        return self.config.training.seed

    @property
    def step(self) -> int:
        """The last step that was logged or checked."""
        return max((row["step"] for row in [*self.steps, *self.checks]), default=0)

    @property
    def total(self) -> int:
        """Steps that the run was to take; 0: unknown."""
        return int(self.record.get("total_steps") or self.config.training.max_steps)

    @property
    def on_gpu(self) -> bool:
        return str(self.record.get("device", self.config.hardware.device)) == "cuda"

    @property
    def machine(self) -> str:
        """Processor, threads and number format."""
        names = self.record.get("processors") or [self.config.hardware.processor or "unknown machine"]
        names = [re.sub(r" \(.*\)$", "", name) for name in names]
        threads, processes = self.record.get("threads", self.config.hardware.threads), self.record.get("processes", 1)
        parts = [" then ".join(dict.fromkeys(names))]
        parts += [f"{threads} thread{'s' * (threads > 1)}"] if threads and not self.on_gpu else []
        parts += [f"{processes} processes"] if processes > 1 else []
        return ", ".join([*parts, self.config.hardware.precision])

    @property
    def data(self) -> str:
        """Name and the beginning of the digest."""
        known = self.record.get("data", {})
        name = known.get("name") or Path(self.config.data.dataset_id).name or "unknown data"
        return f"{name} {known['digest'][:8]}" if known.get("digest") else str(name)

    def parameters(self, which: str) -> float | None:
        """`total`, `encoder` or `trainable`, in millions."""
        count = self.record.get("parameters", {}).get(which)
        return None if count is None else count / 1e6

    def bytes_of(self, part: str) -> float | None:
        """`parameters`, `gradients`, `optimizer` or `averages`, in GB."""
        size = self.record.get("bytes", {}).get(part)
        return None if size is None else size / 1e9

    def scores(self, degrade: str) -> Row | None:
        """How the last checkpoint reads the val split, clean or under a degradation preset.

        A greedy reading by `evaluate` is preferred to the check at the end of training, which may have fewer lines.
        """
        for row in reversed(self.evaluations):
            newest = step_of(row) in (None, self.step)
            greedy = row.get("search", {}).get("width", 1) == 1
            if row.get("split") == "val" and row.get("degrade", "") == degrade and newest and greedy:
                return row
        last = self.checks[-1] if self.checks else {}
        if last.get("step") != self.step or degrade not in ("", self.config.data.degrade):
            return None
        prefix = "degraded_" if degrade else ""
        found = {name: last[prefix + name] for name in (*SCORES, "lines", "seconds") if prefix + name in last}
        return found or None

    def score(self, name: str, degrade: str) -> float | None:
        value = (self.scores(degrade) or {}).get(name)
        return None if value is None else float(value)

    @property
    def lines_a_step(self) -> float | None:
        """None where batches are filled by width."""
        training = self.config.training
        if training.batch_width:
            return None
        return training.batch_size * training.gradient_accumulation_steps * int(self.record.get("processes", 1))

    @property
    def steps_per_second(self) -> float | None:
        """Median over the log."""
        found = self.logged("steps_per_second")
        lines, size = self.logged("samples_per_second"), self.lines_a_step
        if found:
            return statistics.median(found)
        return statistics.median(lines) / size if lines and size else None

    @property
    def seconds_per_epoch(self) -> float | None:
        """Of whole epochs where the run had any; else what its lines take at the median rate."""
        known, rates = self.record.get("data", {}), self.logged("samples_per_second")
        steps = known.get("steps_per_epoch", math.inf)
        whole = [row["epoch_seconds"] for row in self.steps if row.get("epoch_steps", 0) >= steps]
        if whole:
            return float(statistics.median(whole))
        return known["lines"] / statistics.median(rates) if rates and "lines" in known else None

    @property
    def peak_gb(self) -> float | None:
        """Of the GPU, or of the process on a CPU."""
        found = self.logged("peak_vram_mb" if self.on_gpu else "peak_rss_mb")
        return max(found) / 1000 if found else None

    def logged(self, name: str) -> list[float]:
        """Values of the log, of whole lines (the first holds the start of everything, where there are more)."""
        found = [float(row[name]) for row in self.steps if row.get(name) is not None]
        return found[1:] or found


def step_of(evaluation: Row) -> int | None:
    """The step of the checkpoint that was read, from its folder's name."""
    match = re.search(r"step-(\d+)$", str(evaluation.get("checkpoint", "")))
    return int(match[1]) if match else None


def read_lines(file: Path) -> list[Row]:
    """The objects of a JSON-lines file; a last line that was cut off while it was written is left out.

    Raises:
        InputError: another line is no JSON.
    """
    texts = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    rows = []
    for number, text in enumerate(texts, 1):
        try:
            rows.append(json.loads(text))
        except ValueError as error:
            if number < len(texts):
                raise InputError(f"line {number} of {file} is no JSON: mend it, or leave that run out") from error
    return rows


def read_run(folder: Path) -> Run:
    """A run folder.

    Raises:
        OmrError: its configuration or one of its logs can't be read.
    """
    log = read_lines(folder / "metrics.jsonl")
    return Run(
        folder=folder,
        config=load_config([folder / "config.yaml"]),
        record=read_record(folder),
        steps=[row for row in log if "ser" not in row],
        checks=[row for row in log if "ser" in row],
        evaluations=read_lines(folder / "evaluations.jsonl"),
        quantised=read_lines(folder / "quantisation.jsonl"),
    )


def find_runs(places: Sequence[Path]) -> list[Run]:
    """The runs in these folders, or below them; a run that hasn't logged anything is left out.

    Raises:
        InputError: there is none.
    """
    folders: dict[Path, None] = {}
    for place in places:
        logs = [place / "metrics.jsonl"] if (place / "metrics.jsonl").is_file() else place.rglob("metrics.jsonl")
        found = sorted(log.parent for log in logs if (log.parent / "config.yaml").is_file())
        if not found:
            raise InputError(f"{place} holds no run: expected a folder with config.yaml and metrics.jsonl, or several")
        folders |= dict.fromkeys(found)
    runs = [run for run in map(read_run, folders) if run.step]
    if not runs:
        raise InputError(f"{', '.join(map(str, places))}: no run there has logged a step yet; train it further first")
    return runs
