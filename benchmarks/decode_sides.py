"""The two sides that benchmarks/decode.py compares: our decoder, exported, and Hugging Face's `generate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn

from export.graphs.contract import DecoderChunk, DecoderStep, folded
from export.precision.quantize_onnx import quantize
from export.targets.onnx import borrowed, trace
from runtime.bundle.io_spec import CHUNK, CHUNKED, IOSpec
from runtime.engines.onnx import OnnxDecoder, OnnxMemory, open_session
from runtime.errors import MissingExtraError
from training.model.backbone import declare_torchvision_operators
from training.model.decoder import Decoder, KeysValues

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
