"""What is exported computes what PyTorch computes, and a difference would be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.checks.parity import (
    MIN_PSNR,
    MIN_TOP1,
    failures,
    forced,
    gate,
    measure,
    psnr,
    read,
    read_alone,
    scored,
    uncached,
)
from export.checks.probe import Probe
from export.checks.torch_engine import TorchEngine
from runtime.bundle.manifest import Bundle
from runtime.errors import BundleError
from runtime.inference.engine import Engine
from runtime.reading.decode import greedy
from training.evaluation.torch_decoder import read_batch
from training.loading.batches import Batch
from training.loading.order import Place
from training.saving.checkpoint import Loaded

WAVE = np.sin(np.arange(100.0))


@pytest.mark.parametrize(
    ("found", "decibels"),
    [
        (WAVE, 200.0),
        (WAVE + 1e-3, 60.0),  # the peak is 1 (sine of 33 is 0.99991)
        (WAVE + 1e-5, 100.0),
        (np.where(np.arange(100) == 3, np.nan, WAVE), 0.0),
        (WAVE[:50], 0.0),
    ],
)
def test_psnr_is_the_peak_over_the_mean_error(found: np.ndarray, decibels: float) -> None:
    assert psnr(WAVE, found) == pytest.approx(decibels, abs=0.1)


def test_psnr_of_zeros_is_all_or_nothing() -> None:
    assert psnr(np.zeros(3), np.zeros(3)) == 200.0
    assert psnr(np.zeros(3), np.full(3, 1e-9)) == 0.0


def test_the_debug_model_sees_the_picture(loaded: Loaded, probe: Probe) -> None:
    """Or the figures below would say nothing about the encoder."""
    import torch

    image, valid = probe.pair(512)
    with torch.inference_mode():
        memory = loaded.model.encode(torch.from_numpy(image), torch.from_numpy(valid))
    first, second = memory.cross[1].keys[:, :, :8].numpy()
    assert psnr(first, second) < 30


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_output_was_compared_at_several_widths_and_cache_sizes(bundle: Bundle, precision: str) -> None:
    found = bundle.manifest.choose(["onnx"], precision).numerics
    kinds = ("encode", "decode", "decodex8")
    assert set(found) == {*kinds, *(["headroom"] if precision == "fp16" else [])}
    for graph in kinds:
        assert set(found[graph]["psnr_db"]) == set(bundle.manifest.io.output_names(graph))
    assert found["encode"]["widths"] == [128, 512, 1280]
    assert found["decode"]["slots"] == found["decodex8"]["slots"] == [256, 512]
    assert found["decode"]["positions"] == found["decodex8"]["positions"] > 100
    assert found["decodex8"]["top1_percent"] >= MIN_TOP1
    assert found["decode"]["lines"] == 6
    assert found["decode"]["alone_equals_batch"] is True
    assert min(found["decode"][name] for name in ("top1_percent", "step_top1_percent")) >= MIN_TOP1


def test_fp32_agrees_to_rounding(bundle: Bundle) -> None:
    found = bundle.manifest.choose(["onnx"], "fp32").numerics
    assert min(value for numbers in found.values() for value in numbers["psnr_db"].values()) >= 100
    for graph in ("decode", "decodex8"):
        assert found[graph]["cached_psnr_db"] >= 100
        assert found[graph]["top1_percent"] == 100


def test_fp32_reads_what_pytorch_reads_token_by_token(exact: Engine, loaded: Loaded, probe: Probe) -> None:
    """Through both caches: 300 tokens need more than the 256 slots of the first."""
    reference = TorchEngine(loaded.model, exact.spec)
    for pictures in probe.batches()[:2]:
        expected = read(reference, pictures, loaded.tokenizer, 300)
        assert max(map(len, expected)) > 256
        assert read(exact, pictures, loaded.tokenizer, 300) == expected


@pytest.mark.parametrize(("name", "decibels"), [("exact", 100), ("half", 60), ("small", 40)])
def test_given_tokens_score_in_chunks_as_step_by_step(
    name: str, decibels: float, request: pytest.FixtureRequest, probe: Probe, loaded: Loaded
) -> None:
    """Over a growing cache and rows of unequal length. int8 rounds activations after sums in another order, which may
    turn a rounding: DECIBELS there."""
    engine: Engine = request.getfixturevalue(name)
    rng = np.random.default_rng(3)
    pictures = probe.batches()[0]
    tokens = [rng.integers(3, loaded.tokenizer.vocab_size, 275 - 9 * row).tolist() for row in range(len(pictures[1]))]
    steps, chunks = (way(engine, pictures, tokens, loaded.tokenizer.bos_id) for way in (forced, scored))
    assert [len(rows) for rows in chunks] == [len(ids) + 1 for ids in tokens]
    for expected, found in zip(steps, chunks, strict=True):
        assert psnr(expected, found) >= decibels
        assert (expected.argmax(1) == found.argmax(1)).mean() >= 0.99


def test_training_reads_with_a_cache_what_the_whole_sequence_gives(loaded: Loaded, probe: Probe) -> None:
    """Rows that end are dropped on the way, so what `keep` does is checked, too."""
    import torch

    image, valid = probe.batches()[-1]
    nothing = torch.zeros(0)
    batch = Batch(torch.from_numpy(image), torch.from_numpy(valid), nothing, nothing, nothing, nothing, [], [], Place())
    tokens = [reading.tokens for reading in read_batch(loaded.model, batch, loaded.tokenizer, 80)]
    expected = uncached(loaded.model, (image, valid), tokens, loaded.tokenizer.bos_id)
    assert any(tokens)
    for one, ids in zip(expected, tokens, strict=True):
        assert one.argmax(1)[: len(ids)].tolist() == ids


def test_a_cache_reads_what_the_whole_sequence_gives(exact: Engine, loaded: Loaded, probe: Probe) -> None:
    """Tolerance: 1e-4 of logits of about 1; rounding in another order."""
    for pictures in probe.batches():
        tokens = read(exact, pictures, loaded.tokenizer, 60)
        expected = uncached(loaded.model, pictures, tokens, loaded.tokenizer.bos_id)
        found = forced(exact, pictures, tokens, loaded.tokenizer.bos_id)
        for one, other, ids in zip(expected, found, tokens, strict=True):
            assert np.abs(one - other).max() < 1e-4
            assert one.argmax(1)[: len(ids)].tolist() == ids


def test_int8_reads_a_line_alone_as_in_a_batch(small: Engine, loaded: Loaded, probe: Probe) -> None:
    image, valid = probe.pair(1280)
    pictures = np.repeat(image, 3, axis=0), np.repeat(valid, 3)
    pictures[1][:] = [valid[0], 900, 640, valid[1], 320, 128]  # six lines, no two alike
    together = read(small, pictures, loaded.tokenizer, 90)
    assert len({tuple(ids) for ids in together}) > 1
    assert together == read_alone(small, pictures, loaded.tokenizer, 90)


def test_reading_stops_at_the_end_token(exact: Engine, loaded: Loaded, probe: Probe) -> None:
    image, valid = probe.batches()[0]
    first = read(exact, (image, valid), loaded.tokenizer, 8)[0]
    decoder = exact.start(exact.encode(image, valid))
    stopped = greedy(decoder, len(image), loaded.tokenizer.bos_id, first[3], 8)[0]
    assert stopped.tokens == first[: first.index(first[3])]


def numerics(psnr_db: float = 130.0, **decode: Any) -> dict[str, Any]:
    good = {"cached_psnr_db": 130.0, "top1_percent": 100.0, "step_top1_percent": 100.0, "regret": 0.0}
    good |= {"alone_equals_batch": True}
    return {"encode": {"psnr_db": {"cross_k_0": psnr_db}}, "decode": {"psnr_db": {"logits": 130.0}} | good | decode}


def trained(**decode: Any) -> dict[str, Any]:
    return numerics(40.0, **decode) | {"held_out": {"equal_percent": 100.0, "ser_difference_points": 0.0}}


def chunked(**several: Any) -> dict[str, Any]:
    good = {"psnr_db": {"logits": 130.0}, "cached_psnr_db": 130.0, "top1_percent": 100.0}
    return numerics() | {"decodex8": good | several}


@pytest.mark.parametrize(
    ("precision", "found", "reason"),
    [
        ("fp32", numerics(79.9), "cross_k_0 of encode agrees with PyTorch to 79.9 dB, 80 are needed"),
        ("fp32", numerics(cached_psnr_db=40.0), "with a cache differs from reading without"),
        ("fp32", numerics(regret=0.1), "a token 0.1 under the best"),
        ("int8", numerics(40.0, step_top1_percent=89.9), "memory 89.9 % of the tokens are .*, 90 % are needed"),
        ("int8", numerics(19.9), "the encoder agrees with PyTorch to less than 20 dB"),
        ("int8", trained(top1_percent=89.9), "89.9 % of the tokens of decode are PyTorch's, 90 % are needed"),
        ("fp32", chunked(psnr_db={"new_k_0": 79.0}), "new_k_0 of decodex8 agrees with PyTorch to 79.0 dB"),
        ("fp32", chunked(cached_psnr_db=40.0), "given tokens read by decodex8 differ from PyTorch's: 40.0 dB"),
        ("int8", chunked(top1_percent=89.9), "89.9 % of the tokens of decodex8 are PyTorch's, 90 % are needed"),
        ("int8", numerics(40.0, alone_equals_batch=False), "reads differently alone and in a batch"),
    ],
)
def test_what_fails_is_said(precision: str, found: dict[str, Any], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        gate("onnx", precision, found)


def test_int8_may_differ_in_its_logits() -> None:
    assert list(failures("int8", trained(cached_psnr_db=45.0, top1_percent=95.0, regret=0.2))) == []


def test_a_random_encoder_may_turn_tokens_that_a_decoder_with_pytorchs_memory_chooses_alike() -> None:
    assert list(failures("int8", numerics(28.0, top1_percent=80.0))) == []


def test_another_models_graphs_fail(bundle: Bundle, loaded: Loaded, probe: Probe) -> None:
    """The figures are those of the graphs, not of PyTorch against itself."""
    from ..debug import random_model

    artifact = bundle.manifest.choose(["onnx"], "fp32")
    files = {graph: bundle.path(artifact, graph) for graph in artifact.files}
    found = measure(random_model(7), bundle.manifest.io, loaded.tokenizer, probe, "onnx", files)
    # The mask alone doesn't depend on weights.
    assert all(value < MIN_PSNR for name, value in found["encode"]["psnr_db"].items() if name != "memory_mask")
    assert all(value < MIN_PSNR for value in found["decode"]["psnr_db"].values())
    with pytest.raises(BundleError):
        gate("onnx", "fp32", found)
