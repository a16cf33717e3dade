"""Targets whose graphs take one row and one bucket: TFLite and ExecuTorch read as PyTorch does, whatever the batch."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main
from export.checks.memory_products import Node, memory_products
from export.checks.parity import LEAST, psnr
from export.checks.torch_engine import TorchEngine
from export.graphs.contract import io_spec
from export.target import TARGETS
from runtime.bundle.manifest import Bundle, read_bundle
from runtime.errors import BundleError, MissingExtraError
from runtime.inference.engine import ENGINES, Engine, load_engine
from runtime.registry import Registry
from training.saving.checkpoint import load_checkpoint

from ..debug import save_checkpoint

CONVERTERS = {"tflite": "litert_torch", "executorch": "executorch.exir"}
PRECISIONS = {"tflite": "fp32,fp16,int8,mixed,int4", "executorch": "fp32,fp16,int8,mixed,int4"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with one width, so that few graphs are made."""
    return save_checkpoint(tmp_path_factory.mktemp("phone") / "debug", 3, "data.width_buckets=[1280]")


@pytest.fixture(scope="module", params=CONVERTERS)
def phone(request: pytest.FixtureRequest, narrow: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of one target in every precision, written by the command itself, so that each has passed its check."""
    target = request.param
    pytest.importorskip(CONVERTERS[target], reason=f"needs {CONVERTERS[target]}: make setup-phones")
    out = tmp_path_factory.mktemp(target) / "bundle"
    call = ["--target", target, "--precision", PRECISIONS[target], "--checkpoint", str(narrow), "--out", str(out)]
    assert main(call) == 0
    return read_bundle(out)


@pytest.mark.parametrize("target", CONVERTERS)
def test_a_small_bundle_passes_its_check_against_pytorch(target: str, narrow: Path, tmp_path: Path) -> None:
    pytest.importorskip(CONVERTERS[target], reason=f"needs {CONVERTERS[target]}: make setup-phones")
    call = ["--target", target, "--precision", "fp32", "--no-chunk", "--checkpoint", str(narrow)]
    assert main([*call, "--out", str(tmp_path / "bundle")]) == 0
    (artifact,) = read_bundle(tmp_path / "bundle").manifest.artifacts
    found = [value for graph in artifact.numerics.values() for value in graph.get("psnr_db", {}).values()]
    assert len(found) > 5 and min(found) >= LEAST["fp32"][0]


@pytest.fixture(scope="module", params=LEAST)
def rounding(request: pytest.FixtureRequest, phone: Bundle) -> tuple[Engine, float]:
    """An engine in fp32 and one in fp16, and what its outputs must agree to in dB."""
    return load_engine(phone, precision=request.param, threads=1)[0], LEAST[request.param][0]


@pytest.mark.slow
def test_rows_dropped_and_doubled_and_a_growing_cache_give_pytorchs_scores(
    rounding: tuple[Engine, float], narrow: Path
) -> None:
    engine, decibels = rounding
    spec = engine.spec
    reference = TorchEngine(load_checkpoint(narrow).model, spec)
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (3, spec.channels, spec.height, spec.widths[0])).astype(np.float32)
    valid = np.array([1280, 700, 64])
    decoders = [one.start(one.encode(pictures, valid)) for one in (engine, reference)]
    other = engine.start(engine.encode(pictures[::-1].copy(), valid))  # shares the graphs
    rows, growing = 3, spec.slots[0]
    assert growing + 3 < spec.slots[-1]
    for position in range(growing + 3):
        if position in (2, growing - 1):
            kept = np.array([2, 0, 2]) if position == 2 else np.array([1])
            rows = len(kept)
            for decoder in decoders:
                decoder.keep(kept)
        token = rng.integers(spec.vocab_size, size=rows)
        found, expected = (decoder.step(token, position).copy() for decoder in decoders)
        assert psnr(expected, found) >= decibels, position
        if position < 4:
            other.step(rng.integers(spec.vocab_size, size=3), position)


@pytest.mark.slow
def test_given_tokens_score_in_chunks_as_in_pytorch(rounding: tuple[Engine, float], narrow: Path) -> None:
    """Among steps, over a growing cache, and another batch's rows in turn."""
    engine, decibels = rounding
    spec = engine.spec
    reference = TorchEngine(load_checkpoint(narrow).model, spec)
    rng = np.random.default_rng(1)
    pictures = rng.uniform(-1, 1, (2, spec.channels, spec.height, spec.widths[0])).astype(np.float32)
    valid = np.array([1280, 300])
    decoders = [one.start(one.encode(pictures, valid)) for one in (engine, reference)]
    other = engine.start(engine.encode(pictures[::-1].copy(), valid))
    position = 0
    for count in (3, 240, 9, 1, 20):
        tokens = rng.integers(spec.vocab_size, size=(2, count))
        found, expected = (decoder.score(tokens, position) for decoder in decoders)
        assert psnr(expected, found) >= decibels, position
        other.score(tokens, position)
        position += count
        step = tokens[:, 0]
        assert psnr(*(decoder.step(step, position).copy() for decoder in decoders[::-1])) >= decibels, position
        other.step(step, position)
        position += 1
    assert position > spec.slots[0] and any(name.endswith("x8") for name in engine.graphs)


@pytest.mark.slow
def test_graphs_share_one_file_and_its_weights(phone: Bundle) -> None:
    artifact = phone.manifest.artifacts[0]
    assert set(artifact.files) == {"encode_1280", "decode_256", "decode_512", "decode_256x8", "decode_512x8"}
    assert len(set(artifact.files.values())) == 1
    size = phone.path(artifact, "decode_256").stat().st_size
    assert size < 1.5 * 4 * phone.manifest.source["parameters"]


def test_tflites_graphs_of_one_token_and_of_several_share_every_matrix(narrow: Path, tmp_path: Path) -> None:
    """Gains of norms are random here: multiplied into the matrices of one graph alone, they made the file larger."""
    pytest.importorskip("litert_torch", reason="needs litert_torch: make setup-phones")
    from export.targets import tflite

    loaded = load_checkpoint(narrow)
    spec = io_spec(loaded.model, loaded.preparation)
    path = tmp_path / "model.fp32.tflite"
    tflite.convert(loaded.model, replace(spec, slots=spec.slots[:1]), ("fp32",), tmp_path)

    def matrices(graph: str) -> Counter[int]:
        model, _, subgraph = tflite.signature(path, graph)
        products = [node for node in tflite.nodes(model, subgraph) if node.kind == "FULLY_CONNECTED"]
        return Counter(subgraph.tensors[int(node.inputs[1])].buffer for node in products)

    assert matrices("decode_256") == matrices("decode_256x8")
    assert len(matrices("decode_256")) == 7 * len(loaded.model.decoder.layers) + 1


@pytest.mark.slow
def test_fewer_bits_make_smaller_files_that_read_nearly_the_same(phone: Bundle) -> None:
    sizes = [phone.path(artifact, "decode_256").stat().st_size for artifact in phone.manifest.artifacts]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.8 * sizes[0]
    for artifact in phone.manifest.artifacts:
        worst = min(value for found in artifact.numerics.values() for value in found.get("psnr_db", {}).values())
        assert worst >= LEAST.get(artifact.precision, (15.0, 0.0))[0], artifact.precision


@pytest.mark.slow
def test_a_file_that_is_none_is_refused(phone: Bundle, tmp_path: Path) -> None:
    artifact = phone.manifest.artifacts[0]
    broken = tmp_path / "broken"
    broken.write_bytes(b"no model at all" * 100)
    files = dict.fromkeys(artifact.files, broken)
    pictures = np.zeros((1, phone.manifest.io.channels, phone.manifest.io.height, 1280), np.float32)
    with pytest.raises(BundleError, match="can't be loaded by"):
        ENGINES.get(artifact.target)(files, phone.manifest.io, 1).encode(pictures, np.array([9]))


@pytest.mark.parametrize(("registry", "target", "package"), [
    (ENGINES, "executorch", "executorch"), (ENGINES, "tflite", "ai_edge_litert"),
    (TARGETS, "coreml", "coremltools"), (TARGETS, "executorch", "executorch"), (TARGETS, "tflite", "ai_edge_quantizer"),
], ids=lambda value: getattr(value, "noun", value))  # fmt: skip
def test_what_lacks_its_package_says_what_to_install(
    registry: Registry, target: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"{registry.package}.{target}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{registry.noun} '{target}' needs {package}: .*\[{target}\]"):
        registry.get(target)


def test_weights_that_multiply_the_memory_are_found_through_copies_and_no_others() -> None:
    moved = Node("turn", ["cross"], ["turned"])
    copied = Node("copy", ["weight"], ["same"])
    product = Node("multiply", ["turned", "same"], ["keys"])
    assert memory_products([moved, copied, product], ["weight"], ["cross"], ["multiply"]) == ["same"]
    scores = Node("multiply", ["query", "turned"], ["scores"])
    after = Node("multiply", ["scores", "weight"], ["logits"])
    assert memory_products([moved, scores, after], ["weight"], ["cross"], ["multiply"]) == []
