"""A random bundle of the contract's shape, written once a session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.bundle.manifest import Artifact, Bundle, Manifest, SelfTest, write_bundle
from runtime.bundle.tokenizer import AtomTokenizer
from runtime.page.preparation import Preparation

from . import tiny

SPECIAL = ("<|pad|>", "<|begin_of_abc|>", "<|end_of_abc|>")
VOCABULARY = [*SPECIAL, *"CDEFGABcdefgab", "|", "clef=treble", "K:G", "2", "z", "^", "-"]


@pytest.fixture(scope="session")
def weights() -> tiny.Weights:
    return tiny.Weights.random(replace(tiny.TINY, vocab_size=len(VOCABULARY)))


@pytest.fixture(scope="session")
def graphs(weights: tiny.Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    tiny.save_encoder(weights, folder / "encoder.onnx")
    tiny.save_decoder(weights, folder / "decoder.onnx")
    return folder


@pytest.fixture(scope="session")
def manifest(weights: tiny.Weights) -> Manifest:
    spec = weights.spec
    preparation = Preparation(height=spec.height, staff_space=2.0, width_buckets=spec.widths)
    files = {"encode": "encoder.onnx", "decode": "decoder.onnx"}
    return Manifest(
        name="tiny",
        io=spec,
        preparation=preparation,
        text=AtomTokenizer(VOCABULARY).text,
        artifacts=(Artifact("onnx", "fp32", files, {"encode": {"max_difference": 0.0}}),),
        tools={"onnx": "test"},
        created="2026-01-01T00:00:00+00:00",
        self_test=SelfTest("self_test.png", {"fp32": [3, 4]}, 8),
    )


@pytest.fixture
def contents(graphs: Path, tmp_path: Path) -> dict[str, bytes | Path]:
    """What goes into a bundle beside the manifest."""
    AtomTokenizer(VOCABULARY).save(tmp_path / "tokenizer.json")
    picture = cv2.imencode(".png", np.full((16, 32), 255, np.uint8))[1].tobytes()
    graph_files = {name: graphs / name for name in ("encoder.onnx", "decoder.onnx")}
    return {**graph_files, "tokenizer.json": tmp_path / "tokenizer.json", "self_test.png": picture}


@pytest.fixture
def bundle(manifest: Manifest, contents: dict[str, bytes | Path], tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", manifest, contents)
