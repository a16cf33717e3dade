"""Run folders with made-up numbers, written as training, evaluate and export write theirs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.source import ROOT
from training.config import load_config, save_config

# Backbone -> SER in percent, parameters in millions (encoder, whole), steps a second, peak memory in GB.
BACKBONES = {
    "vit_small": (24.0, 21.6, 58.6, 2.9, 6.1), "deit_small": (21.0, 21.6, 58.6, 2.4, 6.0),
    "resnet50": (15.0, 23.5, 61.3, 2.4, 9.5), "convnext_tiny": (12.0, 27.8, 64.9, 2.2, 11.0),
    "swin_tiny": (18.0, 27.5, 64.6, 2.0, 19.0), "efficientnet_b0": (20.0, 4.0, 41.4, 1.9, 7.0),
    "mobilevit_s": (19.0, 4.9, 42.0, 1.5, 8.0),
}  # fmt: skip
# Technique and rank -> SER lost against full in points, share trained, speed and memory against full.
TECHNIQUES = {
    ("full", 0): (0.0, 1.0, 1.0, 1.0), ("frozen", 0): (6.0, 0.6, 1.9, 0.5), ("lora", 4): (3.0, 0.01, 1.2, 0.7),
    ("lora", 8): (2.0, 0.02, 1.2, 0.72), ("lora", 16): (1.5, 0.04, 1.1, 0.75), ("qlora", 8): (2.5, 0.02, 0.8, 0.45),
}  # fmt: skip
STEPS = 200


def write_run(
    folder: Path, ser: float, *overrides: str, seed: int = 1, encoder: float = 21.6, total: float = 58.6,
    trained: float = 1.0, speed: float = 2.0, peak: float = 8.0, device: str = "cuda", record: bool = True,
) -> Path:  # fmt: skip
    """One finished run."""
    settings = [
        f"training.max_steps={STEPS}", f"training.seed={seed}", "data.dataset_id=runs/lines",
        "model.params.pretrained=false", f"hardware.device={device}", "hardware.precision=fp32", *overrides,
    ]  # fmt: skip
    config = load_config([ROOT / "configs" / "backbones" / "resnet50.yaml"], settings)
    folder.mkdir(parents=True)
    save_config(config, folder / "config.yaml")
    rng = np.random.default_rng([seed, round(1000 * ser)])
    log: list[dict[str, Any]] = []
    vram = {"peak_vram_mb": 1000 * peak} if device == "cuda" else {}
    for step in range(10, STEPS + 1, 10):
        token = 3.0 * float(np.exp(-step / 60)) + ser / 80 + 0.05 * float(rng.normal())
        log.append({
            "step": step, "loss": 2 * token, "token": token, "lr": 1e-3, "samples_per_second": 32 * speed,
            "steps_per_second": speed, "peak_rss_mb": 1000 * peak, **vram,
        })  # fmt: skip
        if step % 50 == 0:
            log.append({"step": step, **scores(ser + 60 * float(np.exp(-step / 50)), config.data.degrade)})
    write_lines(folder / "metrics.jsonl", log)
    if record:
        size = {"parameters": 4e6 * total, "gradients": 4e6 * total * trained, "optimizer": 8e6 * total * trained}
        (folder / "run.json").write_text(json.dumps({
            "parameters": {"encoder": encoder * 1e6, "total": total * 1e6, "trainable": total * trained * 1e6},
            "data": {"name": "lines", "digest": "0123456789abcdef" * 4, "lines": 3200, "steps_per_epoch": 100},
            "total_steps": STEPS, "device": device, "processors": ["Made-Up 9000 (avx2)"], "threads": 1,
            "processes": 1, "tools": {"torch": "2.13.0"}, "bytes": size | {"averages": 4e6 * total * trained},
        }))  # fmt: skip
    return folder


def scores(ser: float, degrade: str) -> dict[str, float]:
    found = {"loss": ser / 60, "ser": ser, "cer": 0.8 * ser, "sequence_accuracy": max(0.0, 60 - ser), "lines": 64,
             "seconds": 8.0}  # fmt: skip
    return found | ({f"degraded_{name}": value for name, value in found.items()} if degrade else {})


def evaluated(run: Path, ser: float, degrade: str) -> None:
    """As `omr-train evaluate` adds to a run."""
    row = scores(ser, "") | {"checkpoint": f"{run}/checkpoints/step-{STEPS:08d}", "split": "val", "degrade": degrade}
    with (run / "evaluations.jsonl").open("a") as out:
        out.write(json.dumps(row) + "\n")


def write_lines(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_sweep(
    root: Path,
    seeds: Sequence[int] = (1, 2, 3),
    device: str = "cuda",
    adapted: Sequence[str] = ("resnet50", "vit_small"),
) -> Path:
    """Every backbone trained on clean lines, some adapted in every way, a distilled pair, three decoders."""
    for seed in seeds:
        chance = np.random.default_rng(seed)
        for name, (ser, encoder, total, speed, peak) in BACKBONES.items():
            sizes = {"seed": seed, "encoder": encoder, "total": total, "device": device}
            here = f"vision_model_name={name}"
            clean = write_run(
                root / f"clean-{name}-s{seed}", ser + float(chance.normal()), here, speed=speed, peak=peak, **sizes
            )
            evaluated(clean, ser + 50, "phone")
            for (technique, rank), (lost, trained, faster, smaller) in TECHNIQUES.items() if name in adapted else ():
                told = [f"technique.name={technique}", *([f"technique.rank={rank}"] if rank else [])]
                told += ["data.degrade=phone", f"training.init_from={clean}", here]
                write_run(
                    root / f"phone-{name}-{technique}{rank}-s{seed}", ser + 5 + lost + float(chance.normal()), *told,
                    trained=trained, speed=speed * faster, peak=peak * smaller, **sizes,
                )  # fmt: skip
        teacher = root / f"clean-convnext_tiny-s{seed}"
        write_run(
            root / f"taught-s{seed}", 16 + float(chance.normal()), "vision_model_name=mobilevit_s",
            "technique.name=distill", f"technique.teacher={teacher}", seed=seed, encoder=4.9, total=42.0,
            device=device,
        )  # fmt: skip
        for layers in (2, 4):
            write_run(
                root / f"decoder-{layers}-s{seed}", 25 - 2 * layers + float(chance.normal()),
                f"n_decoder_layers={layers}", seed=seed, encoder=23.5, total=38 + layers * 4.0,
                speed=4 - 0.3 * layers, device=device,
            )  # fmt: skip
    rows = [("fp32", 15.0, 244.0, 30.0), ("int8", 15.6, 66.0, 70.0)]
    write_lines(root / f"clean-resnet50-s{seeds[0]}" / "quantisation.jsonl", [
        {"target": "onnx", "precision": name, "ser": ser, "size_mb": size, "lines_per_second": speed, "lines": 100,
         "dataset": "lines", "split": "val", "machine": "Made-Up 9000, 1 thread", "date": "2026-11-24"}
        for name, ser, size, speed in rows
    ])  # fmt: skip
    return root
