"""Several given tokens read at once: the same scores and the same cache as step by step, in every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle.io_spec import kind_of
from runtime.engines.onnx import OnnxEngine, open_engine
from runtime.inference.engine import Engine
from runtime.inference.row_by_row import RowsEngine

from .. import tiny
from ..session_graph import SessionGraph

WIDTHS = np.array([32, 21, 9])
CHUNK = 4
KIND = f"decodex{CHUNK}"
CLOSE = 5e-5  # logits reach about 6; float32 sums in another order differ by 1e-5 at most here


@pytest.fixture(scope="module")
def files(graphs: Path, weights: tiny.Weights) -> dict[str, Path]:
    found = {"encode": graphs / "encoder.onnx", "decode": graphs / "decoder.onnx", KIND: graphs / "chunk.onnx"}
    tiny.save_decoder(replace(weights, spec=replace(weights.spec, chunk=CHUNK)), found[KIND], KIND)
    return found


def onnx(files: dict[str, Path], weights: tiny.Weights) -> Engine:
    return open_engine(files, replace(weights.spec, chunk=CHUNK), 1)


def rows(files: dict[str, Path], weights: tiny.Weights) -> Engine:
    spec = replace(weights.spec, chunk=CHUNK)
    names = ["encode_32", "encode_64", *(f"decode_{size}" for size in spec.slots)]
    names += [f"decode_{size}x{CHUNK}" for size in spec.slots] if KIND in files else []
    return RowsEngine(names, lambda name: SessionGraph(files[kind_of(name)], spec, name), spec)


@pytest.fixture(params=[onnx, rows], ids=["onnx", "rows"])
def engine(request: pytest.FixtureRequest, files: dict[str, Path], weights: tiny.Weights) -> Engine:
    found: Engine = request.param(files, weights)
    return found


@pytest.fixture(scope="module")
def image(weights: tiny.Weights) -> tiny.Array:
    shape = (3, weights.spec.channels, weights.spec.height, 32)
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def lengths(total: int) -> Iterator[tuple[int, int]]:
    """Start and length of pieces: single tokens, less than a chunk, several chunks, over a growing cache."""
    start = 0
    for length in (1, 3, 9, 1, 2, 8, 5, 3):
        yield start, length
        start += length
    assert start == total


@pytest.mark.parametrize("held", [True, False], ids=["chunks", "steps"])
@pytest.mark.parametrize("open_one", [onnx, rows])
def test_given_tokens_score_as_recomputing_the_prefix_through_every_cache_size(
    open_one: Callable[..., Engine], held: bool, files: dict[str, Path], weights: tiny.Weights, image: tiny.Array
) -> None:
    """To the last slot, where a chunk's filling stands beyond the last position; steps in between see what chunks
    wrote, and another batch reads with the same graphs in turn. Bundles without graphs for chunks take steps."""
    chosen = open_one({name: path for name, path in files.items() if held or name != KIND}, weights)
    memory, mask = tiny.reference_memory(weights, image, WIDTHS)
    total = weights.spec.slots[-1]
    tokens = np.random.default_rng(0).integers(0, weights.spec.vocab_size, (3, total))
    decoder = chosen.start(chosen.encode(image, WIDTHS))
    other = chosen.start(chosen.encode(image[::-1].copy(), WIDTHS))
    for start, length in lengths(total):
        given = tokens[:, start : start + length]
        found = decoder.step(given[:, 0], start)[:, None] if length == 1 else decoder.score(given, start)
        other.score(given[::-1] // 2, start)
        assert found.shape == (3, length, weights.spec.vocab_size)
        for row in range(3):
            for n in range(length):
                prefix = tokens[row, : start + n + 1].tolist()
                expected = tiny.reference_logits(weights, memory[row], mask[row], prefix)
                assert np.abs(found[row, n] - expected).max() < CLOSE


def test_kept_rows_go_on_after_chunks_as_after_steps(engine: Engine, image: tiny.Array) -> None:
    memory = engine.encode(image, WIDTHS)
    plain, kept = engine.start(memory), engine.start(memory)
    tokens = np.random.default_rng(1).integers(3, 9, (3, 20))
    for position in range(6):
        plain.step(tokens[:, position], position)
    kept.score(tokens[:, :6], 0)
    order = np.array([2, 0, 0])
    kept.keep(order)
    expected = [plain.step(tokens[:, position], position)[order].copy() for position in range(6, 20)]
    found = kept.score(tokens[order, 6:20], 6)
    assert np.allclose(found, np.stack(expected, axis=1), atol=CLOSE)


def test_a_score_is_the_callers_own(engine: Engine, image: tiny.Array) -> None:
    decoder = engine.start(engine.encode(image, WIDTHS))
    first = decoder.score(np.full((3, 4), 5), 0)
    before = first.copy()
    decoder.score(np.full((3, 4), 7), 4)
    assert np.array_equal(first, before)


def test_the_graph_of_chunks_is_loaded_when_it_is_needed_and_used(
    files: dict[str, Path], weights: tiny.Weights, image: tiny.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_size: Any = onnx(files, weights)
    by_row: Any = rows(files, weights)
    for found in (any_size, by_row):
        decoder = found.start(found.encode(image, WIDTHS))
        decoder.step(np.array([3, 4, 5]), 0)
        assert isinstance(found, RowsEngine) or found._chunker is None
        monkeypatch.setattr(decoder, "step", None)  # four tokens are a chunk
        decoder.score(np.full((3, 4), 5), 1)
    assert isinstance(any_size, OnnxEngine) and any_size._chunker is not None
    assert list(by_row.graphs) == ["encode_32", "decode_8", "decode_8x4"]
