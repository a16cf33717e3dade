"""Engines of graphs that take one row and one bucket read as one that takes any; ONNX Runtime stands for phones'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle.io_spec import kind_of
from runtime.engines.onnx import OnnxEngine
from runtime.errors import BundleError
from runtime.inference.row_by_row import RowsEngine
from runtime.reading.decode import Reading, beam, greedy

from .. import tiny
from ..session_graph import SessionGraph

BEGIN, END = 1, 2
WIDTHS = np.array([32, 21, 9])


@pytest.fixture
def rows(graphs: Path, weights: tiny.Weights) -> RowsEngine:
    files = {"encode": graphs / "encoder.onnx", "decode": graphs / "decoder.onnx"}
    names = ["encode_32", "encode_64", "decode_8", "decode_16", "decode_32"]
    return RowsEngine(names, lambda name: SessionGraph(files[kind_of(name)], weights.spec, name), weights.spec)


@pytest.fixture(scope="module")
def image(weights: tiny.Weights) -> tiny.Array:
    shape = (3, weights.spec.channels, weights.spec.height, 32)
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def test_cached_steps_equal_recomputing_the_prefix_whoever_else_reads(
    rows: RowsEngine, weights: tiny.Weights, image: tiny.Array
) -> None:
    """Two batches in turn through the same graphs, whose inputs hold one row at a time; every cache size; a narrow
    memory, which is padded. Tolerance as for one graph of any size."""
    memory, mask = tiny.reference_memory(weights, image, WIDTHS)
    first, second = rows.start(rows.encode(image, WIDTHS)), rows.start(rows.encode(image[::-1].copy(), WIDTHS[::-1]))
    tokens = np.random.default_rng(0).integers(0, weights.spec.vocab_size, (weights.spec.slots[-1], 3))
    seen = set()
    for position, token in enumerate(tokens):
        logits = first.step(token, position)
        second.step(token[::-1] // 2, position)
        seen.add(first.slots)
        for row in range(3):
            expected = tiny.reference_logits(weights, memory[row], mask[row], tokens[: position + 1, row].tolist())
            assert np.abs(logits[row] - expected).max() < 5e-5
    assert seen == set(weights.spec.slots)


def test_kept_rows_go_on_as_if_nothing_had_happened(rows: RowsEngine, image: tiny.Array) -> None:
    memory = rows.encode(image, WIDTHS)
    plain, kept = rows.start(memory), rows.start(memory)
    for position in range(6):
        for decoder in (plain, kept):
            decoder.step(np.array([3, 4, 5]) + position, position)
    kept.keep(np.array([2, 0, 0]))
    for position in range(6, 10):  # across a growing cache
        expected = plain.step(np.array([6, 7, 8]), position)[[2, 0, 0]]
        assert np.allclose(kept.step(np.array([8, 6, 6]), position), expected, atol=1e-5)


@pytest.mark.parametrize("search", [greedy, lambda *args: beam(*args, width=3)], ids=["greedy", "beam"])
def test_searches_read_the_same_with_it(
    rows: RowsEngine, search: Callable[..., list[Reading]], graphs: Path, weights: tiny.Weights, image: tiny.Array
) -> None:
    other: Any = OnnxEngine(graphs / "encoder.onnx", graphs / "decoder.onnx", weights.spec, threads=1)
    found, expected = (
        [reading.tokens for reading in search(engine.start(engine.encode(image, WIDTHS)), 3, BEGIN, END, 30)]
        for engine in (rows, other)
    )
    assert found == expected and any(found)


def test_only_graphs_that_are_needed_are_loaded(rows: RowsEngine, image: tiny.Array) -> None:
    memory = rows.encode(image, WIDTHS)
    assert memory.batch == 3 and memory.column_logits is not None and memory.column_logits.shape == (3, 4, 8)
    rows.start(memory).step(np.array([3, 4, 5]), 0)
    assert list(rows.graphs) == ["encode_32", "decode_8"]
    with pytest.raises(BundleError, match="no graph encode_48"):
        rows.encode(np.zeros((1, *image.shape[1:3], 48), np.float32), np.array([48]))
