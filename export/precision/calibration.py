"""Lines for choosing or calibrating a precision. They have their own seed, and aren't the lines that the result is
judged on.

They are invented, so they hold no tune of any split. They have the whole notation, and every third one is as a phone's
camera sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import nn

from runtime.bundle.io_spec import CHUNK, CHUNKED, IOSpec, is_decoder, kind_of, pad_memory
from runtime.page.geometry import Grey
from runtime.page.preparation import batch, prepare
from training.data.dataset.build import Recipe, Shard, make_rows
from training.data.dataset.pictures import decode_picture
from training.saving.checkpoint import Loaded

from ..checks.parity import padded
from ..checks.probe import by_bucket
from ..checks.torch_engine import TorchEngine
from ..graphs.contract import io_spec
from ..target import Arrays
from .sensitivity import Given, bits_by_matrix, matrices

SPLIT = "train"
RECIPES = {  # how many lines of each; their seeds are used nowhere else
    Recipe(32, 6003, mix="invented", splits=(SPLIT,)): 32,
    Recipe(16, 6004, mix="invented", splits=(SPLIT,), degrade="phone"): 16,
}
STRIDE = 16  # tokens


@dataclass(frozen=True)
class Calibration:
    """A checkpoint and its calibration lines. Everything is computed when it is first asked for."""

    loaded: Loaded

    @cached_property
    def lines(self) -> list[tuple[Grey, list[int]]]:
        """Prepared pictures and their tokens."""
        rows = [row for recipe, number in RECIPES.items() for row in make_rows(Shard(SPLIT, 0, number), recipe, [])]
        preparation, tokenizer = self.loaded.preparation, self.loaded.tokenizer
        longest = self.loaded.config.model.params.max_seq_len - 1
        return [
            (prepare(decode_picture(row["image"]), preparation), tokenizer.encode(row["transcription"])[:longest])
            for row in rows
        ]

    @cached_property
    def given(self) -> list[Given]:
        """The same in batches of one bucket each."""
        lines, tokens = zip(*self.lines, strict=True)
        preparation = self.loaded.preparation
        return [
            Given(batch([lines[number] for number in group], preparation), [tokens[number] for number in group])
            for group in by_bucket(lines, preparation)
        ]

    @cached_property
    def bits(self) -> dict[str, int]:
        """Name of each matrix of the model -> 4 or 8, for `mixed`."""
        return bits_by_matrix(self.loaded.model, self.given, self.loaded.tokenizer.bos_id)

    def inputs(self, graph: str) -> Iterator[Arrays]:
        """Inputs by name of either graph, as readings of the lines give them.

        Args:
            graph: `encode`: one line after the other, in its bucket; `decode`: all lines of a batch, at every
                STRIDE-th token of their labels; `decodex8`: the same, with the tokens that follow.
        """
        return self._pictures() if graph == "encode" else self._steps(CHUNK if graph == CHUNKED else 0)

    def rows(self, graph: str, spec: IOSpec) -> Iterator[Arrays]:
        """Inputs of a graph that takes one row and has the sizes in its name: `encode_448`, `decode_256x8`.

        Wider pictures are cut; narrower ones, the memory and the caches are padded.
        """
        sizes = spec.bucket(graph)
        if not is_decoder(graph):
            preparation = replace(self.loaded.preparation, width_buckets=(sizes["W"],))
            for line, _ in self.lines:
                image, valid = batch([line[:, : sizes["W"]]], preparation)
                yield {"image": image, "valid_width": valid.astype(np.int64)}
            return
        for inputs in self.inputs(kind_of(graph)):
            padded = with_slots(pad_memory(inputs, sizes["T"]), sizes["S"])
            for row in range(len(inputs["token"])):
                yield {name: value[row : row + 1] for name, value in padded.items()}

    def _pictures(self) -> Iterator[Arrays]:
        for (image, valid), _ in self.given:
            for row in range(len(image)):
                yield {"image": image[row : row + 1], "valid_width": valid[row : row + 1].astype(np.int64)}

    def _steps(self, chunk: int) -> Iterator[Arrays]:
        spec = io_spec(self.loaded.model, self.loaded.preparation)
        engine, begin = TorchEngine(self.loaded.model, spec), self.loaded.tokenizer.bos_id
        for (image, valid), tokens in self.given:
            memory = engine.encode(image, valid)
            encoded = memory.encoded
            cross = [tensor for cache in encoded.cross for tensor in cache]
            decoder = engine.start(memory)
            given = padded(tokens, begin)[:, : spec.slots[0]]
            for position in range(given.shape[1]):
                if position % STRIDE == STRIDE - 1:
                    own = [tensor for cache in decoder.own for tensor in cache]
                    names = [*spec.caches("self"), *spec.caches("cross"), "memory_mask"]
                    caches = zip(names, [*own, *cross, encoded.mask_B11T], strict=True)
                    place = np.full(len(given), position)
                    token = given[:, position]
                    if chunk:
                        token = np.pad(given, ((0, 0), (0, chunk)))[:, position : position + chunk]
                    yield {"token": token, "position": place} | {n: t.numpy().copy() for n, t in caches}
                decoder.step(given[:, position], position)


def bits_of(module: nn.Module, precision: str, calibration: Calibration | None) -> dict[str, int]:
    """Bits of each matrix of a graph at `int4` or `mixed`."""
    if precision == "int4":
        return dict.fromkeys(matrices(module), 4)
    assert precision == "mixed" and calibration is not None
    return {name: calibration.bits[name] for name in matrices(module)}


def with_slots(inputs: Arrays, slots: int) -> Arrays:
    """A step's inputs with caches of that many slots, which is more than they have or as many."""
    more = ((0, 0), (0, 0), (0, slots - inputs["self_k_0"].shape[2]), (0, 0))
    return {name: np.pad(value, more) if name.startswith("self_") else value for name, value in inputs.items()}
