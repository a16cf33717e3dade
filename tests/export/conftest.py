"""One random debug model, exported once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.__main__ import main
from export.checks.probe import Probe
from runtime.bundle.manifest import Bundle, read_bundle
from runtime.inference.engine import Engine, load_engine
from tests.threads import one_thread  # noqa: F401 - a fixture, taken up by its name
from training.saving.checkpoint import Loaded, load_checkpoint

from .debug import save_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "debug", seed=1)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """int8, fp32 and fp16, written by the command itself."""
    out = tmp_path_factory.mktemp("bundle") / "debug"
    call = ["--target", "onnx", "--precision", "int8,fp32,fp16", "--checkpoint", str(checkpoint), "--out", str(out)]
    assert main(call) == 0
    return read_bundle(out)


@pytest.fixture(scope="session")
def loaded(checkpoint: Path) -> Loaded:
    return load_checkpoint(checkpoint)


@pytest.fixture(scope="session")
def probe(loaded: Loaded) -> Probe:
    return Probe(loaded.preparation)


@pytest.fixture(scope="session")
def exact(bundle: Bundle) -> Engine:
    return load_engine(bundle, precision="fp32", threads=1)[0]


@pytest.fixture(scope="session")
def half(bundle: Bundle) -> Engine:
    """The graphs in half precision."""
    return load_engine(bundle, precision="fp16", threads=1)[0]


@pytest.fixture(scope="session")
def small(bundle: Bundle) -> Engine:
    """The int8 graphs."""
    return load_engine(bundle, precision="int8", threads=1)[0]
