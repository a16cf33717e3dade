"""The engine and the searches: a cache changes nothing, neighbours change nothing, the best reading wins."""

from __future__ import annotations

import itertools
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.bundle.manifest import Bundle
from runtime.engines.onnx import OnnxEngine
from runtime.errors import BundleError, OmrError, OtherSystemError
from runtime.inference.engine import load_engine
from runtime.reading.decode import Reading, beam, greedy, log_softmax

from .. import tiny

Script = Callable[[str, tuple[int, ...]], Sequence[float]]
BEGIN, END = 1, 2
WIDTHS = np.array([64, 41, 9])


@pytest.fixture(scope="module")
def engine(graphs: Path, weights: tiny.Weights) -> OnnxEngine:
    return OnnxEngine(graphs / "encoder.onnx", graphs / "decoder.onnx", weights.spec, threads=1)


@pytest.fixture(scope="module")
def image(weights: tiny.Weights) -> tiny.Array:
    shape = (3, weights.spec.channels, weights.spec.height, 64)
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def test_the_encoder_masks_what_is_padding(
    engine: OnnxEngine, weights: tiny.Weights, image: tiny.Array
) -> None:
    memory = engine.encode(image, WIDTHS)
    expected = tiny.reference_memory(weights, image, WIDTHS)[1]
    assert np.array_equal(memory.values["memory_mask"].numpy(), expected)
    assert [int((row == 0).sum()) for row in expected] == [8, 6, 2]
    assert memory.column_logits is not None and memory.column_logits.shape == (3, 8, 8)


def test_cached_steps_equal_recomputing_the_prefix_through_every_cache_size(
    engine: OnnxEngine, weights: tiny.Weights, image: tiny.Array
) -> None:
    memory, mask = tiny.reference_memory(weights, image, WIDTHS)
    decoder = engine.start(engine.encode(image, WIDTHS))
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, weights.spec.vocab_size, (weights.spec.slots[-1], 3))
    seen = set()
    for position, token in enumerate(tokens):
        logits = decoder.step(token, position)
        seen.add(decoder.slots)
        for row in range(3):
            prefix = tokens[: position + 1, row].tolist()
            expected = tiny.reference_logits(weights, memory[row], mask[row], prefix)
            # Logits reach about 6; float32 sums in another order differ by 1e-5 at most here.
            assert np.abs(logits[row] - expected).max() < 5e-5
    assert seen == set(weights.spec.slots)


def test_a_larger_cache_gives_the_same_logits(
    engine: OnnxEngine, weights: tiny.Weights, graphs: Path, image: tiny.Array
) -> None:
    wide = replace(weights.spec, slots=weights.spec.slots[-1:])
    other = OnnxEngine(graphs / "encoder.onnx", graphs / "decoder.onnx", wide, threads=1)
    growing, fixed = (e.start(e.encode(image, WIDTHS)) for e in (engine, other))
    for position in range(20):
        token = np.full(3, position % 7 + 3)
        assert np.allclose(growing.step(token, position), fixed.step(token, position), atol=1e-5)


def test_padding_of_the_picture_changes_no_logits(engine: OnnxEngine, image: tiny.Array) -> None:
    narrow = image[:, :, :, :32].copy()
    padded = np.concatenate([narrow, np.ones_like(narrow)], axis=3)
    short, long = (engine.start(engine.encode(picture, np.full(3, 32))) for picture in (narrow, padded))
    for position in range(4):
        token = np.array([BEGIN, 5, 9])
        assert np.allclose(short.step(token, position), long.step(token, position), atol=1e-5)


def test_kept_rows_go_on_as_if_nothing_had_happened(engine: OnnxEngine, image: tiny.Array) -> None:
    memory = engine.encode(image, WIDTHS)
    plain, kept = engine.start(memory), engine.start(memory)
    for position in range(10):
        for decoder in (plain, kept):
            decoder.step(np.array([3, 4, 5]) + position, position)
    kept.keep(np.array([2, 0, 0]))
    for position in range(10, 14):
        expected = plain.step(np.array([6, 7, 8]), position)[[2, 0, 0]]
        assert np.allclose(kept.step(np.array([8, 6, 6]), position), expected, atol=1e-5)


def reference_greedy(weights: tiny.Weights, memory: tiny.Array, mask: tiny.Array, limit: int) -> list[int]:
    tokens = [BEGIN]
    while len(tokens) <= limit:
        tokens.append(int(tiny.reference_logits(weights, memory, mask, tokens).argmax()))
        if tokens[-1] == END:
            return tokens[1:-1]
    return tokens[1:]


def test_greedy_reads_what_a_decoder_without_a_cache_reads(
    engine: OnnxEngine, weights: tiny.Weights, image: tiny.Array
) -> None:
    memory, mask = tiny.reference_memory(weights, image, WIDTHS)
    readings = greedy(engine.start(engine.encode(image, WIDTHS)), 3, BEGIN, END, 30)
    expected = [reference_greedy(weights, memory[row], mask[row], 30) for row in range(3)]
    assert [reading.tokens for reading in readings] == expected
    assert len({tuple(r.tokens) for r in readings}) == 3


@pytest.mark.parametrize("search", [greedy, lambda *args: beam(*args, width=3)], ids=["greedy", "beam"])
def test_a_line_reads_the_same_alone_and_among_others(
    engine: OnnxEngine, search: Callable[..., list[Reading]], image: tiny.Array
) -> None:
    rng = np.random.default_rng(8)
    images = rng.normal(size=(12, *image.shape[1:])).astype(np.float32)
    widths = rng.integers(8, 65, 12)
    together = search(engine.start(engine.encode(images, widths)), 12, BEGIN, END, 30)
    for row in range(12):
        memory = engine.encode(images[row : row + 1], widths[row : row + 1])
        alone = search(engine.start(memory), 1, BEGIN, END, 30)[0]
        assert alone.tokens == together[row].tokens
        assert alone.log_probability == pytest.approx(together[row].log_probability, abs=1e-5)


class Scripted:
    """A decoder whose logits are a function of each row's name and the tokens it has read."""

    def __init__(self, rows: Sequence[str], script: Script) -> None:
        self.rows: list[tuple[str, tuple[int, ...]]] = [(name, ()) for name in rows]
        self.script = script
        self.sizes: list[int] = []

    def step(self, token: NDArray[Any], position: int) -> NDArray[np.float32]:
        self.sizes.append(len(self.rows))
        self.rows = [(name, (*seen, int(t))) for (name, seen), t in zip(self.rows, token, strict=True)]
        assert all(len(seen) == position + 1 for _, seen in self.rows)
        return np.array([self.script(name, seen) for name, seen in self.rows], np.float32)

    def keep(self, rows: NDArray[Any]) -> None:
        self.rows = [self.rows[row] for row in rows]


def countdown(name: str, seen: tuple[int, ...]) -> list[float]:
    """Reads token 3 as often as the row's name is long, then ends; probabilities 0.9 and 0.05."""
    best = END if len(seen) > len(name) else 3
    return [math.log(0.9 if token == best else 0.1 / 3) for token in range(4)]


def test_finished_rows_leave_the_batch_and_the_others_go_on() -> None:
    decoder = Scripted(["a", "aaaaaaaa", "aa", "aaa"], countdown)
    readings = greedy(decoder, 4, BEGIN, END, 50)
    assert [len(r.tokens) for r in readings] == [1, 8, 2, 3]
    assert all(r.finished for r in readings)
    assert all(r.confidence == pytest.approx(0.9, abs=1e-5) for r in readings)
    assert decoder.sizes[-1] == 1 and len(decoder.sizes) == 9


@pytest.mark.parametrize("width", [0, 1, 2])
def test_a_reading_stops_at_the_limit(width: int) -> None:
    decoder = Scripted(["a" * 30], countdown)
    search = (lambda *args: beam(*args, width=width)) if width else greedy
    reading = search(decoder, 1, BEGIN, END, 5)[0]
    assert reading.tokens == [3] * 5 and not reading.finished
    assert len(decoder.sizes) == 5


def random_script(name: str, seen: tuple[int, ...]) -> list[float]:
    rng = np.random.default_rng([int(name), *seen])
    return [float(x) for x in rng.normal(size=4) * 1.5]


def test_a_beam_of_one_is_greedy() -> None:
    names = [str(n) for n in range(20)]
    one = beam(Scripted(names, random_script), 20, BEGIN, END, 12, width=1)
    for beamed, plain in zip(one, greedy(Scripted(names, random_script), 20, BEGIN, END, 12), strict=True):
        assert (beamed.tokens, beamed.finished) == (plain.tokens, plain.finished)
        assert beamed.log_probability == pytest.approx(plain.log_probability, abs=1e-5)


def three_tokens(name: str, seen: tuple[int, ...]) -> list[float]:
    """Random, but every reading has three tokens, so that no comparison of lengths blurs what is best."""
    scores = random_script(name, seen)
    return [score if (token == END) == (len(seen) > 3) else -50.0 for token, score in enumerate(scores)]


def test_a_wide_beam_finds_the_best_of_all_readings_where_greedy_is_misled() -> None:
    misled = 0
    for name in map(str, range(40)):
        best, found = -math.inf, [0]
        for tokens in itertools.product((0, 1, 3), repeat=3):
            total, prefix = 0.0, (BEGIN,)
            for token in (*tokens, END):
                total += float(log_softmax(np.array(three_tokens(name, prefix), np.float32))[token])
                prefix = (*prefix, token)
            if total > best:
                best, found = total, list(tokens)
        searched = beam(Scripted([name], three_tokens), 1, BEGIN, END, 6, width=27)[0]
        assert searched.tokens == found
        assert searched.log_probability == pytest.approx(best / 4, abs=1e-5)
        misled += greedy(Scripted([name], three_tokens), 1, BEGIN, END, 6)[0].tokens != found
    assert misled >= 5


def test_a_bundle_is_loaded_and_read(bundle: Bundle, image: tiny.Array) -> None:
    engine, artifact = load_engine(bundle)
    assert (artifact.target, artifact.precision) == ("onnx", "fp32")
    readings = greedy(engine.start(engine.encode(image, WIDTHS)), 3, BEGIN, END, 12)
    assert all(bundle.tokenizer().decode(reading.tokens) for reading in readings)


ELSEWHERE = pytest.mark.skipif(platform.system() == "Darwin", reason="macOS runs Core ML")


@ELSEWHERE
def test_what_another_system_runs_is_passed_over(bundle: Bundle) -> None:
    manifest = bundle.manifest
    others = [replace(manifest.artifacts[0], target=name) for name in ("coreml_ios18", "coreml")]
    mixed = replace(bundle, manifest=replace(manifest, artifacts=(*others, *manifest.artifacts)))
    assert load_engine(mixed)[1].target == "onnx"
    with pytest.raises(OtherSystemError, match="engine 'coreml_ios18' runs on macOS alone"):
        load_engine(replace(bundle, manifest=replace(manifest, artifacts=tuple(others))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onx"}, "no engine called 'onx'; did you mean 'onnx'"),
        pytest.param({"engine": "coreml"}, "engine 'coreml' runs on macOS alone, this is ", marks=ELSEWHERE),
        pytest.param({"engine": "coreml_ios18"}, "engine 'coreml_ios18' runs on macOS alone", marks=ELSEWHERE),
        ({"precision": "int8"}, "holds no onnx at precision 'int8'; choose from onnx fp32"),
    ],
)
def test_what_a_bundle_does_not_hold_is_one_sentence(
    bundle: Bundle, options: dict[str, str], message: str
) -> None:
    with pytest.raises(OmrError, match=message):
        load_engine(bundle, **options)  # type: ignore[arg-type]


def test_a_graph_that_is_none_is_one_sentence(graphs: Path, weights: tiny.Weights, tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"no graph at all")
    with pytest.raises(BundleError, match=r"encoder\.onnx can't be loaded by ONNX Runtime") as caught:
        OnnxEngine(tmp_path / "encoder.onnx", graphs / "decoder.onnx", weights.spec)
    assert "\n" not in str(caught.value)


def test_graphs_of_another_model_are_refused(graphs: Path, weights: tiny.Weights) -> None:
    with pytest.raises(BundleError, match="is no encode graph of this bundle"):
        OnnxEngine(graphs / "encoder.onnx", graphs / "decoder.onnx", replace(weights.spec, layers=3))
