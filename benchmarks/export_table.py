"""Exports every model to every format and measures each, for the table in docs/export/figures.md.

    make setup-phones
    make export-table                                                         # hours; it goes on where it stopped
    python benchmarks/export_table.py --models pocket --targets onnx --out /tmp/table.jsonl

Models are the shipped `pocket` with all its buckets, and the study's seven at their own size with random weights under
which every branch is alive, 448 and 896 px wide, with 256 and 2,048 cache slots and without the graphs of several given
tokens (their decoders are all of one size). Each format is converted and measured in a process of its own, so that its
memory is freed. A row a precision is added to --out, whether it passed or what stopped it; rows that are there
aren't measured again (delete a line to have it again). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from export.bundle.write import tools
from export.checks.artifact_checks import Checks
from export.checks.parity import failures
from export.files import size_of
from export.graphs.contract import io_spec
from export.target import TARGETS, Files, Target
from runtime.bundle.io_spec import IOSpec
from runtime.bundle.tokenizer import AtomTokenizer
from runtime.errors import run_command
from tests.source import ROOT
from tests.weights import enliven
from training.config import load_config
from training.loading.batches import make_preparation
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import SHIPPED, Loaded, load_checkpoint

ROWS = ROOT / "docs" / "measured" / "export.jsonl"
BACKBONES = ROOT / "configs" / "backbones"
MODELS = ("pocket", *sorted(path.stem for path in BACKBONES.glob("*.yaml")))
PRECISIONS = {"onnx": "fp32,int8", "coreml": "fp16,int8", "tflite": "fp32,int8", "executorch": "fp32,int8"}
VOCABULARY = 4096  # of the study; its tokenizer is gated, and random weights read none of it
WIDTHS, SLOTS = (448, 896), (256, 2048)
HOURS = 2  # most for one format of one model


def made(name: str) -> tuple[Loaded, IOSpec]:
    """A model, and the sizes that it is exported in."""
    if name == "pocket":
        loaded = load_checkpoint(SHIPPED)
        return loaded, io_spec(loaded.model, loaded.preparation)
    overrides = ["model.params.pretrained=false", "tokenizer_id=atoms", f"width_buckets={list(WIDTHS)}"]
    config = load_config([BACKBONES / f"{name}.yaml"], overrides)
    preparation = make_preparation(config)
    torch.manual_seed(0)
    model = MusicTrOCR(config.model.params, VOCABULARY, preparation.height, preparation.channels, False)
    enliven(model, preparation.channels, preparation.height, WIDTHS[0])
    loaded = Loaded(BACKBONES, config, AtomTokenizer(), preparation, model)
    return loaded, replace(io_spec(model, preparation, chunk=0), slots=SLOTS)


def cell(name: str, target: str, precisions: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Rows of one format of one model."""
    loaded, spec = made(name)
    entry: Target = TARGETS.get(target)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        converted = entry.convert(loaded.model, spec, precisions, Path(folder))
        seconds = time.perf_counter() - began
        checks = Checks(loaded, spec)
        for precision, files in converted.items():
            began = time.perf_counter()
            numerics, _ = checks.numbers(target, precision, files)
            yield {
                "precision": precision, "bytes": bytes_of(files), "convert_seconds": round(seconds, 1),
                "check_seconds": round(time.perf_counter() - began, 1),
                "failed": next(failures(precision, numerics), None), "numerics": numerics,
            }  # fmt: skip


def bytes_of(files: Files) -> int:
    """Of all graphs; several may lie in one file."""
    return sum(size_of(path) for path in set(files.values()))


def known(file: Path) -> list[dict[str, Any]]:
    """Rows measured so far."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def measured(name: str, target: str, precisions: list[str]) -> list[dict[str, Any]]:
    """Rows of one format of one model from a process of its own; what stopped it where it stopped."""
    command = [sys.executable, __file__, "--cell", name, target, ",".join(precisions)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HOURS * 3600)
        code, output, error = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, output, error = 1, str(late.stdout or ""), f"it took more than {HOURS} hours"
    found = {row["precision"]: row for row in map(json.loads, filter(lambda s: s.startswith("{"), output.splitlines()))}
    if code:
        print(error[-2000:], file=sys.stderr)
    reason = (error.strip().splitlines() or ["nothing was said"])[-1] if code > 0 else f"killed by signal {-code}"
    return [found.get(precision, {"precision": precision, "failed": reason}) for precision in precisions]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/export_table.py", description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help=f"with commas between (default: {','.join(MODELS)})")
    parser.add_argument("--targets", default=",".join(PRECISIONS), help=f"(default: {','.join(PRECISIONS)})")
    parser.add_argument("--out", type=Path, default=ROWS, help=f"rows (default: {ROWS.relative_to(ROOT)})")
    parser.add_argument("--cell", nargs=3, metavar=("MODEL", "TARGET", "PRECISIONS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cell:
        name, target, precisions = options.cell
        for row in cell(name, target, tuple(precisions.split(","))):
            print(json.dumps(row), flush=True)
        return 0
    there = {(row["model"], row["target"], row["precision"]) for row in known(options.out)}
    for target in options.targets.split(","):
        for name in options.models.split(","):
            missing = [p for p in PRECISIONS[target].split(",") if (name, target, p) not in there]
            for row in measured(name, target, missing) if missing else ():
                outcome = row["failed"] or f"{row['convert_seconds']} + {row['check_seconds']} s"
                print(f"{name} {target} {row['precision']}: {outcome}", file=sys.stderr, flush=True)
                with options.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"model": name, "target": target, **row, "tools": tools()}) + "\n")
    rows = known(options.out)
    failed = [f"{row['model']} {row['target']} {row['precision']}" for row in rows if row["failed"]]
    counts = {"rows": len(rows), "passed": len(rows) - len(failed), "failed": failed}
    print(json.dumps(counts | {"file": str(options.out)}))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
