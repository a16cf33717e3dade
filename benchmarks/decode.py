"""Measures decoding at the study's size beside Hugging Face's `generate`, and against the memory's speed.

    pip install -e '.[bench]'
    python benchmarks/decode.py                     # some minutes on a quiet machine
    python benchmarks/decode.py --tokens 64 --rounds 1 --layers 2 --width 128      # a rehearsal

Both sides have a decoder of 6 layers, d 512, 8 heads, feed-forward weights of equal size, 4,096 tokens and random
weights, and read 392 memory tokens; the encoder is left out on both. Ours is the exported graph in ONNX Runtime, with
each number of cache slots in each precision; beside it our decoder in PyTorch. Tokens that are given, not chosen, are
scored step by step and in chunks. `generate` decodes greedily with its
cache, growing and static. All ways take turns, so that what else the machine does strikes them alike; a figure is the
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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn
from tqdm import tqdm

from export.modules import DecoderChunk, DecoderStep, folded
from export.quantize import quantize
from export.targets.onnx import borrowed, trace
from runtime.engines.onnx import OnnxDecoder, OnnxMemory, open_session
from runtime.errors import MissingExtraError, run_command
from runtime.io_spec import CHUNK, CHUNKED, IOSpec
from training.backbone import declare_torchvision_operators
from training.decoder import Decoder, KeysValues

EXTRA = "bench"
Way = Callable[[], None]  # decodes all tokens once


@dataclass(frozen=True)
class Size:
    """Of the decoder and of what it decodes; the defaults are the study's."""

    layers: int = 6
    width: int = 512
    heads: int = 8
    vocabulary: int = 4096
    memory: int = 392
    tokens: int = 256
    longest: int = 2048

    @property
    def feed_forward(self) -> int:
        """Inside SwiGLU; two matrices of one and a half times that are as large as its three."""
        return 4 * self.width

    def spec(self, slots: tuple[int, ...]) -> IOSpec:
        """The contract's sizes; the encoder's don't matter here."""
        return IOSpec(
            self.layers, self.heads, self.width // self.heads, self.vocabulary, 3, 224, (448,), (self.memory,), slots,
            chunk=CHUNK,
        )  # fmt: skip


class Graphs:
    """Our decoder, exported: one file for each precision."""

    def __init__(self, size: Size, folder: Path) -> None:
        self.size = size
        torch.manual_seed(0)
        self.decoder = Decoder(
            size.vocabulary, size.width, size.heads, size.layers, size.feed_forward, size.longest, 0.0, 0
        ).eval()
        exact = trace(DecoderStep(folded(self.decoder)), size.spec((256,)), "decode")
        chunk = trace(DecoderChunk(folded(self.decoder)), size.spec((256,)), CHUNKED)
        self.files, self.chunks = {}, {}
        for precision in ("fp32", "int8"):
            self.files[precision] = folder / f"decode.{precision}.onnx"
            self.chunks[precision] = folder / f"{CHUNKED}.{precision}.onnx"
            onnx.save(exact if precision == "fp32" else quantize(exact), self.files[precision])
            several = chunk if precision == "fp32" else quantize(chunk)
            onnx.save(borrowed(several, self.files[precision]), self.chunks[precision])

    def weights(self, precision: str) -> int:
        """Bytes that every step reads: all but the tables of embeddings."""
        graph = onnx.load(self.files[precision]).graph
        tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
        return sum(len(item.raw_data) for item in graph.initializer if item.name not in tables)

    def caches(self, slots: int) -> int:
        """Bytes of a sequence's keys and values that every step reads."""
        return 2 * 4 * self.size.layers * self.size.width * (slots + self.size.memory)

    def memory(self, rows: int) -> OnnxMemory:
        """Random keys and values of the memory."""
        rng = np.random.default_rng(0)
        inputs = self.size.spec((256,)).input_spec("decode", B=rows, T=self.size.memory, S=256)
        values = {
            spec.name: ort.OrtValue.ortvalue_from_numpy(
                rng.standard_normal([int(n) for n in spec.shape]).astype(np.float32)
                if spec.name.startswith("cross")
                else spec.zeros()
            )
            for spec in inputs
            if spec.name.startswith(("cross", "memory_mask"))
        }
        return OnnxMemory(values, rows)

    def session(self, precision: str, threads: int) -> Any:
        return open_session(self.files[precision], threads)

    def start(self, session: Any, rows: int, slots: int) -> OnnxDecoder:
        return OnnxDecoder(session, self.size.spec((slots,)), self.memory(rows))

    def way(self, precision: str, threads: int, rows: int, slots: int) -> Way:
        """Greedy decoding in ONNX Runtime."""
        session = self.session(precision, threads)

        def decode() -> None:
            decoder = self.start(session, rows, slots)
            token = np.zeros(rows, np.int64)
            for position in range(self.size.tokens):
                token = decoder.step(token, position).argmax(axis=-1)

        return decode

    def scoring(self, precision: str, threads: int, in_chunks: bool, slots: int) -> Way:
        """Scores of given tokens of one sequence in ONNX Runtime."""
        session, given = self.session(precision, threads), np.zeros((1, self.size.tokens), np.int64)
        chunk = open_session(self.chunks[precision], threads) if in_chunks else None
        spec, memory = self.size.spec((slots,)), self.memory(1)

        def score() -> None:
            OnnxDecoder(session, spec, memory, (lambda: chunk) if in_chunks else None).score(given, 0)

        return score

    def in_pytorch(self, threads: int, rows: int, slots: int) -> Way:
        """Greedy decoding in PyTorch with the same cache."""
        memory = self.memory(rows).values
        names = self.size.spec((slots,)).caches("cross")
        tensors = [torch.from_numpy(memory[name].numpy()) for name in names]
        cross = [KeysValues(*tensors[n : n + 2]) for n in range(0, len(tensors), 2)]
        mask = torch.zeros(rows, 1, 1, self.size.memory)
        shape = (rows, self.size.heads, slots, self.size.width // self.size.heads)

        @torch.inference_mode()
        def decode() -> None:
            torch.set_num_threads(threads)
            own = [KeysValues(torch.zeros(shape), torch.zeros(shape)) for _ in range(self.size.layers)]
            token = torch.zeros(rows, dtype=torch.int64)
            for position in range(self.size.tokens):
                logits, new = self.decoder.step(token, torch.full((rows,), position), own, cross, mask)
                for cache, slice_ in zip(own, new, strict=True):
                    cache.keys[:, :, position] = slice_.keys[:, :, 0]
                    cache.values[:, :, position] = slice_.values[:, :, 0]
                token = logits.argmax(dim=-1)

        return decode


class HuggingFace:
    """`VisionEncoderDecoderModel` with a decoder of the same size, and `generate`."""

    def __init__(self, size: Size) -> None:
        declare_torchvision_operators()
        try:
            from transformers import BartConfig, BartForCausalLM, VisionEncoderDecoderModel, ViTConfig, ViTModel
        except ImportError as error:
            raise MissingExtraError(
                "benchmarks/decode.py needs the package transformers: pip install -e '.[bench]'"
            ) from error
        self.size = size
        torch.manual_seed(0)
        encoder = ViTConfig(hidden_size=size.width, num_hidden_layers=1, num_attention_heads=size.heads)
        decoder = BartConfig(
            vocab_size=size.vocabulary, d_model=size.width, decoder_layers=size.layers,
            decoder_attention_heads=size.heads, decoder_ffn_dim=size.feed_forward * 3 // 2,
            max_position_embeddings=size.longest, is_decoder=True, add_cross_attention=True,
            tie_word_embeddings=False, pad_token_id=1, bos_token_id=0, eos_token_id=2, forced_eos_token_id=None,
        )  # fmt: skip
        self.model: Any = VisionEncoderDecoderModel(
            encoder=ViTModel(encoder, add_pooling_layer=False), decoder=BartForCausalLM(decoder)
        ).eval()
        self.model.config.decoder_start_token_id = self.model.generation_config.decoder_start_token_id = 0
        self.model.config.pad_token_id = self.model.generation_config.pad_token_id = 1

    @property
    def decoder(self) -> nn.Module:
        found: nn.Module = self.model.decoder
        return found

    def way(self, threads: int, rows: int, cache: str | None) -> Way:
        """`generate`, greedily, with its growing cache or the one named."""
        from transformers.modeling_outputs import BaseModelOutput

        memory = torch.randn(rows, self.size.memory, self.size.width)

        @torch.inference_mode()
        def decode() -> None:
            torch.set_num_threads(threads)
            found = self.model.generate(
                encoder_outputs=BaseModelOutput(last_hidden_state=memory), do_sample=False, num_beams=1, use_cache=True,
                max_new_tokens=self.size.tokens, min_new_tokens=self.size.tokens, cache_implementation=cache,
            )  # fmt: skip
            assert found.shape[1] == self.size.tokens + 1, f"generate stopped after {found.shape[1] - 1} tokens"

        return decode


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
    """Steps of one sequence beside the time that reading their bytes takes."""
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
