"""Compares planned with measured memory, for every backbone with every technique, or for some of them.

    python benchmarks/memory.py                                  # on a CPU: 2 lines of 224 x 448 px; 10 minutes
    python benchmarks/memory.py --backbones resnet50 --techniques full lora
    python benchmarks/memory.py --techniques full --checkpointing decoder all    # with gradient checkpointing
    python benchmarks/memory.py --device cuda --out gpu.jsonl    # on a GPU: the study's batch, bf16
    python benchmarks/memory.py --tiers docs/measured/memory-tiers.json    # nothing is measured: the plans of the tiers

On a CPU the measured peak is the profiler's, of a step for which the optimizer already has its states. On a GPU it is
`torch.cuda.max_memory_allocated` of the second and third step; it also prints what the allocator and the CUDA context
take on top, which the planner only estimates. With --out every case is added to the file as a line, and cases that are
there aren't done again. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tqdm import tqdm

from runtime.errors import OmrError, run_command
from runtime.output import write_whole
from training.config import Config, load_config
from training.hardware.precision import processor_name, settle_device
from training.loop.technique import TECHNIQUES
from training.model.activation_checkpointing import CHOICES
from training.planner.advice import GB, Wish, estimate, most_of
from training.planner.measured_peak import cpu_peak, gpu_peak
from training.planner.rehearsal import plan_of_checkpoint, rehearse
from training.planner.sizes import Sizes, precision_of, sizes_of, splits
from training.planner.tiers import PUBLISHED, TIERS, recommend

CONFIGS = Path(__file__).parent.parent / "configs"
TEACHER = CONFIGS / "backbones" / "deit_small.yaml"
TYPICAL = Wish(width=1216, tokens=512)  # of the tiers: a line of common width, 512 px at a height of 96


def configure(backbone: str, technique: str, *overrides: str) -> Config:
    """The study's configuration with a technique, without downloads."""
    files = [CONFIGS / "backbones" / f"{backbone}.yaml", CONFIGS / "techniques" / f"{technique}.yaml"]
    return load_config(files, [*overrides, *([f"technique.teacher={TEACHER}"] if technique == "distill" else [])])


def case(
    backbone: str, technique: str, checkpointing: str, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Plan and measure one run."""
    config = configure(backbone, technique, f"hardware.gradient_checkpointing={checkpointing}")
    precision = options.precision or (precision_of(config) if device.type == "cuda" else "fp32")
    batches = 2 if device.type == "cuda" else 1
    sizes = Sizes(options.lines, options.height, options.width, options.tokens, precision, batches)
    planned = rehearse(config, sizes, device.type)
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no" if precision == "fp32" else precision)
    measure = gpu_peak if device.type == "cuda" else cpu_peak
    measured = measure(config, sizes, accelerator, plan_of_checkpoint)
    gc.collect()
    peak = measured["allocated"] if isinstance(measured, dict) else measured
    return {
        "backbone": backbone, "technique": technique, "checkpointing": checkpointing, "lines": sizes.lines,
        "height": sizes.height, "width": sizes.width, "tokens": sizes.tokens, "precision": precision,
        "planned": planned.total, "measured": peak, "ratio": round(planned.total / peak, 4), "bytes": planned.bytes,
        **({"gpu": measured} if isinstance(measured, dict) else {}),
        "device": processor_name(device), "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip


def cases(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Backbones and techniques in diagonals, so that a run that is stopped has seen something of all."""
    count = len(options.techniques)
    return [
        (backbone, options.techniques[(place + shift) % count], checkpointing)
        for checkpointing in options.checkpointing
        for shift in range(count)
        for place, backbone in enumerate(options.backbones)
    ]


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All cases that are asked for and not known yet."""
    device = settle_device(options.device)
    known = []
    if options.out and options.out.exists():
        known = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {(row["backbone"], row["technique"], row["checkpointing"]) for row in known}
    rows = []
    for asked in tqdm([each for each in cases(options) if each not in done], unit="case"):
        rows.append(row := case(*asked, device, options))
        planned, measured = f"{row['planned'] / GB:6.3f} GB", f"{row['measured'] / GB:6.3f} GB"
        name = "{:16} {:8} {:8}".format(*asked)
        print(f"{name} planned {planned}, measured {measured}, {row['ratio'] - 1:+.1%}", flush=True)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with options.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
    ratios = [row["ratio"] for row in known + rows]
    if not ratios:
        raise OmrError("no case was asked for: name --backbones, --techniques and --checkpointing")
    return {"device": processor_name(device), "cases": len(ratios), "lowest": min(ratios), "highest": max(ratios)}


def tiers(out: Path, backbones: Sequence[str]) -> dict[str, Any]:
    """Plans for the study's three GPUs, and what its decision tree says; written to `out`, where others' rows stay."""
    known = json.loads(out.read_text())["rows"] if out.exists() else []
    rows = [row for row in known if row["backbone"] not in backbones]
    for backbone in tqdm(backbones, unit="backbone"):
        for technique in ("full", "frozen", "lora", "qlora"):
            config = configure(backbone, technique)
            planned, sizes = estimate(config, TYPICAL), batches(config)
            fitting = [most_of(sizes, TYPICAL, tier) for tier in TIERS]
            rows.append({
                "backbone": backbone, "technique": technique, "trained": planned.peak.trainable,
                "bytes": planned.peak.bytes | {"framework": planned.framework},
                "lines": {str(tier): count and sizes[count - 1].training.batch_size
                          for tier, count in zip(TIERS, fitting, strict=True)},
            })  # fmt: skip
    rows.sort(key=lambda row: list(PUBLISHED).index(row["backbone"]))
    tree = {str(tier): told(recommend(configure("deit_small", "full"), TYPICAL, tier)) for tier in (8, *TIERS)}
    found = {"sizes": vars(sizes_of(configure("deit_small", "full"), TYPICAL.width, TYPICAL.tokens)), "rows": rows,
             "tree": tree, "torch": torch.__version__}  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, (json.dumps(found, indent=1) + "\n").encode())
    return {"tiers": str(out), "rows": len(rows)}


def batches(config: Config) -> list[Config]:
    """The study's 32 lines a step in batches of 1, 2, 4 ... lines, and one batch of 64."""
    training = config.training
    return [*splits(config), replace(config, training=replace(training, batch_size=64, gradient_accumulation_steps=1))]


def told(found: Any) -> dict[str, Any]:
    """A recommendation in a few values."""
    training, config = found.config.training, found.config
    return {
        "backbone": config.model.params.vision_model_name, "technique": config.technique.name,
        "batch_size": training.batch_size, "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "total": found.total,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbones", nargs="*", default=list(PUBLISHED))
    parser.add_argument("--techniques", nargs="*", default=TECHNIQUES.names())
    parser.add_argument("--checkpointing", nargs="*", default=["none"], choices=CHOICES, help="(default: none)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--lines", type=int, help="of a batch (default: 2 on a CPU, 8 on a GPU)")
    parser.add_argument("--height", type=int, default=224, help="px")
    parser.add_argument("--width", type=int, help="px (default: 448 on a CPU, 1216 on a GPU)")
    parser.add_argument("--tokens", type=int, help="of a label (default: 128 on a CPU, 512 on a GPU)")
    parser.add_argument("--precision", help="fp32, bf16 or fp16 (default: fp32 on a CPU, bf16 on a GPU)")
    parser.add_argument("--out", type=Path, help="JSON lines, one a case")
    parser.add_argument("--tiers", type=Path, help="write the plans of the tiers instead, of --backbones")
    options = parser.parse_args()
    if options.tiers:
        found = tiers(options.tiers, options.backbones)
    else:
        gpu = settle_device(options.device).type == "cuda"
        options.lines = options.lines or (8 if gpu else 2)
        options.width = options.width or (1216 if gpu else 448)
        options.tokens = options.tokens or (512 if gpu else 128)
        found = compare(options)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
