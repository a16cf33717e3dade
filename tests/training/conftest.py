"""A data set of invented lines, made once, and a short run on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from tests.music import save_dataset
from tests.source import ROOT
from tests.threads import one_thread  # noqa: F401 - a fixture, taken up by its name
from training.__main__ import main

DEBUG = str(ROOT / "configs" / "debug.yaml")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 lines to learn from, 4 to check on, 4 to test on."""
    return save_dataset(tmp_path_factory.mktemp("data") / "lines", {"train": 24, "val": 4, "test": 4})


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    assert main([DEBUG, f"data.dataset_id={data}", "max_steps=4", "--out", str(folder)]) == 0
    return folder


def start(arguments: Sequence[str]) -> int:
    """omr-train as in a process of its own: accelerate keeps the precision of the first run."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return main(arguments)


@pytest.fixture(autouse=True)
def new_process() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress bars would fill the log."""
    monkeypatch.setitem(os.environ, "TQDM_DISABLE", "1")
