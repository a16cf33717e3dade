"""Compares decoding at the study's size with Hugging Face's `generate`, and with the speed of memory.

    pip install -e '.[bench]'
    python benchmarks/decode.py                     # some minutes on a quiet machine
    python benchmarks/decode.py --tokens 64 --rounds 1 --layers 2 --width 128      # a rehearsal

Both sides have a decoder of 6 layers, d 512, 8 heads, feed-forward weights of equal size, 4,096 tokens and random
weights, and read 392 memory tokens; the encoder is left out on both. Ours is the exported graph in ONNX Runtime, with
each cache size in each precision, and our decoder in PyTorch. Given tokens are scored step by step and in chunks.
`generate` decodes greedily with its
cache, growing and static. All ways take turns, so that other work on the machine affects them alike. A figure is the
best of the rounds.

The floor of a step is the bytes it has to read (weights, its cache's slots, keys and values of the memory) divided by
the speed at which this machine reads a large matrix. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from benchmarks.decode_sides import Graphs, HuggingFace, Size, Way
from runtime.errors import run_command


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def read_speed(threads: int) -> float:
    """Bytes a second at which a matrix much larger than the caches is read for a product with a vector."""
    torch.set_num_threads(threads)
    matrix, vector = torch.ones(16384, 8192), torch.ones(8192)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        torch.mv(matrix, vector)
        best = min(best, time.perf_counter() - start)
    return matrix.numel() * 4 / best


def take_turns(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Seconds of each way, the best of some rounds after one that warms up."""
    best = dict.fromkeys(ways, float("inf"))
    with tqdm(total=(rounds + 1) * len(ways), unit="run", desc="decoding") as bar:
        for turn in range(rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                if turn:
                    best[name] = min(best[name], time.perf_counter() - start)
                bar.update()
    return best


def speeds(graphs: Graphs, other: HuggingFace, threads: int, rows: int, rounds: int) -> dict[str, float]:
    """Tokens a second of each way, all rows together."""
    tokens = graphs.size.tokens
    fitting = [slots for slots in (256, 512, graphs.size.longest) if slots >= tokens]
    ways = {"Hugging Face, growing cache": other.way(threads, rows, None)}
    ways["Hugging Face, static cache"] = other.way(threads, rows, "static")
    ways[f"PyTorch, {fitting[0]} slots"] = graphs.in_pytorch(threads, rows, fitting[0])
    for precision in graphs.files:
        for slots in fitting:
            ways[f"ONNX {precision}, {slots} slots"] = graphs.way(precision, threads, rows, slots)
    return {name: rows * tokens / seconds for name, seconds in take_turns(ways, rounds).items()}


def scorings(graphs: Graphs, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Given tokens of one sequence, step by step and in chunks."""
    slots = next(size for size in (256, 512, 1024, 2048) if size >= graphs.size.tokens)
    ways = {
        (precision, name): graphs.scoring(precision, threads, name == "chunks", slots)
        for precision in graphs.files
        for name in ("steps", "chunks")
    }
    seconds = take_turns({" ".join(key): way for key, way in ways.items()}, rounds)
    rows = []
    for precision in graphs.files:
        steps, chunks = (graphs.size.tokens / seconds[f"{precision} {name}"] for name in ("steps", "chunks"))
        rows.append({
            "precision": precision, "threads": threads, "steps_tokens_per_second": round(steps, 1),
            "chunks_tokens_per_second": round(chunks, 1), "ratio": round(chunks / steps, 2),
        })  # fmt: skip
    return rows


def step_at(graphs: Graphs, precision: str, threads: int, position: int) -> float:
    """Seconds of a step there with the cache that the engine would have, the best of 100."""
    slots = next(size for size in (256, 512, 1024, 2048) if size > position)
    decoder = graphs.start(graphs.session(precision, threads), 1, slots)
    best = float("inf")
    for _ in range(100):
        decoder.filled = position
        start = time.perf_counter()
        decoder.step(np.zeros(1, np.int64), position)
        best = min(best, time.perf_counter() - start)
    return best


def floors(graphs: Graphs, threads: int) -> list[dict[str, Any]]:
    """Compares the time of a step of one sequence with the time that reading its bytes takes."""
    speed = read_speed(threads)
    late = min(2000, graphs.size.longest - 1)
    rows = []
    for precision in graphs.files:
        early, far = (step_at(graphs, precision, threads, position) for position in (64, late))
        slots = next(size for size in (256, 512, 1024, 2048) if size > late)
        expected = early + (graphs.caches(slots) - graphs.caches(256)) / speed
        rows.append({
            "precision": precision, "threads": threads, "gigabytes_a_second": round(speed / 1e9, 1),
            "step_ms": round(1e3 * early, 3),
            "floor_ms": round(1e3 * (graphs.weights(precision) + graphs.caches(256)) / speed, 3),
            "step_over_floor": round(early * speed / (graphs.weights(precision) + graphs.caches(256)), 2),
            "late_position": late, "late_step_ms": round(1e3 * far, 3), "late_over_expected": round(far / expected, 2),
        })  # fmt: skip
    return rows


def show(found: dict[str, float], threads: int, rows: int) -> list[dict[str, Any]]:
    """Print and return one setting's rows."""
    base = found["Hugging Face, growing cache"]
    print(f"\n{rows} sequence{'s' * (rows > 1)}, {threads} thread{'s' * (threads > 1)}")
    for name, speed in found.items():
        print(f"  {name:30} {speed:9.1f} tokens/s {speed / base:6.2f} x")
    return [
        {"way": name, "rows": rows, "threads": threads, "tokens_per_second": round(speed, 1),
         "ratio": round(speed / base, 3)}
        for name, speed in found.items()
    ]  # fmt: skip


def main() -> int:
    size = Size()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=size.tokens, help="that each way decodes")
    parser.add_argument("--layers", type=int, default=size.layers)
    parser.add_argument("--width", type=int, default=size.width)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=10, metavar="ROWS", help="of the batched setting")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    size = replace(size, tokens=args.tokens, layers=args.layers, width=args.width)
    with tempfile.TemporaryDirectory() as folder:
        graphs, other = Graphs(size, Path(folder)), HuggingFace(size)
        ours, theirs = parameters(graphs.decoder), parameters(other.decoder)
        print(f"parameters of the decoders: {ours:,} ours, {theirs:,} Hugging Face's ({ours / theirs:.3f} x)")
        rows = []
        settings = [(threads, 1) for threads in args.threads] + [(max(args.threads), args.batch)]
        for threads, batch in settings:
            rows += show(speeds(graphs, other, threads, batch, args.rounds), threads, batch)
        steps = [row for threads in args.threads for row in floors(graphs, threads)]
        scored = [row for threads in args.threads for row in scorings(graphs, threads, args.rounds)]
    print("\nsteps of one sequence against reading their bytes")
    for row in steps:
        print("  " + ", ".join(f"{name} {value}" for name, value in row.items()))
    print(f"\n{size.tokens} given tokens of one sequence")
    for row in scored:
        print("  " + ", ".join(f"{name} {value}" for name, value in row.items()))
    found = {"decoding": rows, "steps": steps, "scoring": scored}
    print(json.dumps({"size": vars(size), "parameters": [ours, theirs], **found}))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
