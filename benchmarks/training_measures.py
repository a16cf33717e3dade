"""Measures for `training.py` how our training compares with Hugging Face's: speed in turns, memory one way after the
other.

Both sides train a DeiT-Small and a decoder of 6 layers from random weights, in one precision, with one number of
threads, batch size and optimizer; `training_sides.py` says how. Hugging Face's batches are drawn in random order and
by `group_by_length`, and padded to their own widest picture; `fixed` are our batches as they are. All ways take turns,
a step at a time, so that other work on the machine affects them alike. One thread is timed in processor seconds.

With `--steps N` each epoch's batches are sorted by padded size and cut into N equal parts; one batch drawn from each
part stands for all of it. Peak memory is that of two steps with our epoch's widest batch, in a process of its own for
each way: resident memory over what it was with the data open and no model built, or what the GPU's allocator gave.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.training_sides import (
    Material,
    Setup,
    clock_of,
    epoch_orders,
    make_sides,
    open_lines,
)
from runtime.errors import InputError
from runtime.page.preparation import bucket_for
from training.data.dataset.build import Recipe, build
from training.hardware.precision import processor_name, settle_device
from training.model.activation_checkpointing import CHOICES

WAYS = {  # name -> whose batches
    **{f"ours, {where}": "ours" for where in CHOICES},
    "hf fixed": "ours", "hf random": "random", "hf grouped": "grouped",
}  # fmt: skip
MEMORY = [name for name, order in WAYS.items() if order == "ours"]
TARGETS = {  # what the ratios ought to be at least (speed) or at most (memory)
    "random": 1.5, "grouped": 1.0, "fixed": 1.0, "memory none": 0.95, "memory decoder": 0.82, "memory all": 0.65
}  # fmt: skip


def padded_size(way: str, batch: list[int], material: Material) -> int:
    """Pixels along the lines of a batch, padding included."""
    widest = max(material.plan.widths[index] for index in batch)
    own = WAYS[way] != "ours"
    return len(batch) * (widest if own else bucket_for(widest, material.lines.preparation))


def sample(batches: list[list[int]], sizes: list[int], count: int, rng: np.random.Generator) -> list[tuple[int, float]]:
    """Batches drawn from an epoch, and how many batches each stands for: (index, weight), in the epoch's order."""
    ascending = np.argsort(sizes, kind="stable")
    parts = np.array_split(ascending, min(count, len(batches)) if count else len(batches))
    return sorted((int(rng.choice(part)), float(len(part))) for part in parts)


def time_steps(setup: Setup, material: Material, steps: int) -> dict[str, dict[str, float]]:
    """Of each way: lines a second over an epoch, the batches measured, and the share of padding among its pixels."""
    orders = epoch_orders(material, setup.seed)
    chosen: dict[str, list[tuple[int, float]]] = {}
    sides, parameters = make_sides(material, list(WAYS))
    print("parameters: " + ", ".join(f"{name} {count:,}" for name, count in parameters.items()))
    padding = {}
    for way, order in WAYS.items():
        sizes = [padded_size(way, batch, material) for batch in orders[order]]
        padding[way] = 1 - sum(material.plan.widths[i] for batch in orders[order] for i in batch) / sum(sizes)
        chosen[way] = sample(orders[order], sizes, steps, np.random.default_rng(setup.seed))
        indices = [index for index, _ in chosen[way]]
        sides[way].start([orders[order][index] for index in (indices[0], *indices)])  # the first one warms up
    seconds = {way: 0.0 for way in WAYS}
    lines = {way: 0.0 for way in WAYS}
    clock = clock_of(setup)[0]
    most = max(len(batches) for batches in chosen.values())
    for turn in tqdm(range(most + 1), unit="turn", desc="training"):
        for way in np.roll(list(WAYS), turn).tolist():
            if turn > len(chosen[way]):
                continue
            start = clock()
            sides[way].advance()
            took = clock() - start
            if turn:
                index, weight = chosen[way][turn - 1]
                seconds[way] += weight * took
                lines[way] += weight * len(orders[WAYS[way]][index])
    return {
        way: {
            "lines_per_second": lines[way] / seconds[way], "batches": len(chosen[way]),
            "batches_an_epoch": len(orders[WAYS[way]]), "padding": padding[way],
            "parameters": parameters["ours" if way.startswith("ours") else "hf"],
        }
        for way in WAYS
    }  # fmt: skip


def resident(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines[name].split()[0])


def peak_memory(setup: Setup, way: str) -> int:
    """Bytes that two steps with our epoch's widest batch take, model included; in this process."""
    material = open_lines(setup)
    batches = epoch_orders(material, setup.seed)["ours"]
    widest = max(batches, key=lambda batch: padded_size(way, batch, material))
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident size so far
    before = resident("VmRSS")
    side = make_sides(material, [way])[0][way]
    side.start([widest] * 3)
    for _ in range(2):  # the optimizer's state comes with the first
        side.advance()
    if setup.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM") - before


def measure_memory(setup: Setup) -> dict[str, int]:
    """Peak bytes of each way, one process after the other."""
    found = {}
    for way in MEMORY:
        asked = json.dumps({"way": way, **asdict(setup)}, default=str)
        command = [sys.executable, str(Path(__file__).with_name("training.py")), "--memory-of", asked]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[way] = int(done.stdout.splitlines()[-1])
        print(f"{way}: {found[way] / 2**20:.0f} MiB at most", file=sys.stderr)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare our training with that of Hugging Face's VisionEncoderDecoderModel and Trainer."
    )
    parser.add_argument("--data", type=Path, default=Path("runs/benchmark-lines"), metavar="DIR",
                        help="a folder made by omr-data build; built if it isn't there")  # fmt: skip
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=0, help="batches measured of each epoch; 0: all")
    parser.add_argument("--batch", type=int, default=8, help="lines in a batch")
    parser.add_argument("--height", type=int, default=224, help="of the pictures in px")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that load lines, on each side")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("speed", "memory"), help="measure nothing else")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.memory_of:
        settings = json.loads(args.memory_of)
        way, settings["data"] = settings.pop("way"), Path(settings["data"])
        setup = Setup(**settings)
        torch.set_num_threads(setup.threads)
        print(peak_memory(setup, way))
        return 0
    device = settle_device(args.device)
    setup = Setup(args.data, args.lines, args.batch, args.height, args.precision, args.threads, device.type,
                  args.workers, args.seed)  # fmt: skip
    torch.set_num_threads(args.threads)
    if not args.data.exists():
        build(args.data, Recipe(round(1.25 * args.lines), args.seed, splits=("train", "val")))
    material = open_lines(setup)
    if len(material.lines) < args.lines:
        raise InputError(f"data set {args.data} has {len(material.lines)} lines to learn from; give --lines no more")
    speed = time_steps(setup, material, args.steps) if args.only != "memory" else {}
    memory = measure_memory(setup) if args.only != "speed" else {}
    report(setup, args.steps, processor_name(device), speed, memory)
    return 0


def ratios_of(speed: dict[str, dict[str, float]], memory: dict[str, int]) -> dict[str, float]:
    """Ours over Hugging Face's: lines a second (more is better), peak memory (less is)."""
    found: dict[str, float] = {}
    for where in CHOICES:
        mine = f"ours, {where}"
        for theirs in ("random", "grouped", "fixed"):
            if speed:
                name = theirs if where == "none" else f"{theirs}, ours checkpointed: {where}"
                found[name] = speed[mine]["lines_per_second"] / speed[f"hf {theirs}"]["lines_per_second"]
        if memory:
            found[f"memory {where}"] = memory[mine] / memory["hf fixed"]
    return {name: round(value, 3) for name, value in found.items()}


def report(setup: Setup, steps: int, machine: str, speed: dict[str, dict[str, float]], memory: dict[str, int]) -> None:
    """The tables, and the line of JSON."""
    _, unit = clock_of(setup)
    how = f"{unit}, estimated from {steps} batches of each epoch" if steps else f"{unit} over a whole epoch"
    print(f"{setup.lines} lines {setup.height} px high, batches of {setup.batch}, {setup.precision}, "
          f"{setup.threads} threads, {machine}; {how}")  # fmt: skip
    for way, found in speed.items():
        print(f"{way:16} {found['lines_per_second']:8.3f} lines/s   {found['padding']:5.1%} of the pixels are padding")
    for way, found in memory.items():
        print(f"{way:16} {found / 2**20:8.0f} MiB at most")
    ratios = ratios_of(speed, memory)
    for name, value in ratios.items():
        target = f"   (aim: {'<=' if 'memory' in name else '>='} {TARGETS[name]})" if name in TARGETS else ""
        print(f"{name:40} {value:6.3f} x Hugging Face{target}")
    versions = {name: __import__(name).__version__ for name in ("torch", "timm", "transformers", "accelerate")}
    print(json.dumps({
        **{name: str(value) if isinstance(value, Path) else value for name, value in asdict(setup).items()},
        "steps": steps, "clock": unit, "machine": machine, "python": platform.python_version(), "versions": versions,
        "ways": {way: {k: round(v, 4) for k, v in found.items()} for way, found in speed.items()},
        "peak_bytes": memory, "ratios": ratios, "aims": TARGETS,
    }))  # fmt: skip
