"""The log of a run: what is measured, epochs, and boards beside the file."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runtime.errors import run_command
from training.__main__ import main
from training.loop import journal
from training.loop.journal import Clock, Seen

from ..conftest import DEBUG, start
from ..logs import rows

MEASURED = {"grad_norm", "lr", "steps_per_second", "samples_per_second", "tokens_per_second", "peak_rss_mb", "epoch"}


def call(data: Path, run: Path, *options: str) -> list[str]:
    return [DEBUG, f"data.dataset_id={data}", "max_steps=4", "eval_limit=1", *options, "--out", str(run)]


@pytest.fixture(scope="module")
def logged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of two steps, a log line a step."""
    run = tmp_path_factory.mktemp("runs") / "logged"
    assert main(call(data, run, "train_limit=4", "width_buckets=[768]", "batch_size=2")) == 0
    return run


def test_every_logged_step_tells_speed_memory_and_the_size_of_the_gradient(logged: Path) -> None:
    steps = [row for row in rows(logged) if "lr" in row]
    assert len(steps) == 4
    for row in steps:
        assert set(row) >= MEASURED
        assert row["grad_norm"] > 0 and row["skipped_steps"] == 0
        assert row["samples_per_second"] == pytest.approx(2 * row["steps_per_second"], rel=0.01)
        assert row["tokens_per_second"] > row["samples_per_second"]
        assert 100 < row["peak_rss_mb"] < 50_000
        assert "peak_vram_mb" not in row  # computed on a CPU


def test_every_epoch_tells_how_long_it_took(logged: Path) -> None:
    epochs = [row for row in rows(logged) if "epoch_seconds" in row]
    assert [(row["step"], row["epoch"], row["epoch_steps"]) for row in epochs] == [(2, 0, 2), (4, 1, 2)]
    each = {row["step"]: 1 / row["steps_per_second"] for row in rows(logged) if "lr" in row}
    for row in epochs:
        assert row["epoch_seconds"] == pytest.approx(each[row["step"]] + each[row["step"] - 1], rel=0.02)


def test_tensorboard_shows_what_the_log_holds(logged: Path) -> None:
    board = EventAccumulator(str(logged / "tensorboard"))
    board.Reload()
    for row in rows(logged):
        group = "train" if "lr" in row else "epoch" if "epoch_seconds" in row else "eval"
        for name in set(row) - {"step"}:
            shown = {event.step: event.value for event in board.Scalars(f"{group}/{name}")}
            assert shown[row["step"]] == pytest.approx(row[name], rel=1e-5), name


def test_a_clock_counts_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    clock = Clock(epoch=3)
    for seconds, epoch in [(2, 3), (2, 3), (4, 4)]:
        now[0] += 100
        clock.skip()  # a reading, or a checkpoint
        now[0] += seconds
        ended = clock.count(Seen(lines=8, tokens=200), epoch)
    assert ended == {"epoch": 3, "epoch_seconds": 4.0, "epoch_steps": 2}
    assert clock.ended() == {"epoch": 4, "epoch_seconds": 4.0, "epoch_steps": 1}
    expected = {"steps_per_second": 0.375, "samples_per_second": 3.0, "tokens_per_second": 75.0}
    assert clock.rates() == expected
    assert clock.rates()["steps_per_second"] == 0


class FakeRun:
    """What `wandb.init` returns, as far as we use it."""

    id = "abc123"

    def __init__(self, **settings: Any) -> None:
        self.settings, self.logged, self.finished = settings, [], False

    def log(self, values: dict[str, float], step: int) -> None:
        assert not self.finished
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """The runs that a stand-in for the package was asked for."""
    runs: list[FakeRun] = []
    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)

    def init(**settings: Any) -> FakeRun:
        runs.append(FakeRun(**settings))
        return runs[-1]

    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def test_weights_and_biases_gets_the_log_and_goes_on_with_its_run(
    wandb: list[FakeRun], data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "mine"
    assert start(call(data, run, "training.wandb=omr")) == 0
    assert start([*call(data, run, "--resume"), "max_steps=5"]) == 0
    first, second = wandb
    assert (first.settings["project"], first.settings["name"], first.settings["dir"]) == ("omr", "mine", str(run))
    assert first.settings["config"]["training"]["batch_size"] == 2
    assert (first.settings["id"], second.settings["id"], second.settings["resume"]) == (None, "abc123", "allow")
    assert first.finished and second.finished
    shown = [(step, {name.split("/")[1] for name in values}) for step, values in first.logged + second.logged]
    assert shown == [(row["step"], set(row) - {"step"}) for row in rows(run)]


def test_weights_and_biases_is_asked_for_before_a_run_begins(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run_command(lambda: main(call(data, tmp_path / "run", "training.wandb=omr"))) == 2
    assert capsys.readouterr().err == (
        "error: training.wandb needs wandb: pip install -e '.[wandb]', or leave training.wandb empty\n"
    )
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_out_of_reach_is_one_sentence(
    wandb: list[FakeRun],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(**_settings: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    assert run_command(lambda: main(call(data, tmp_path / "run", "training.wandb=omr"))) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: training.wandb=omr: Weights & Biases can't be reached (ConnectionError): run")


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb: pip install -e '.[wandb]'")
def test_the_real_weights_and_biases_keeps_a_run_offline(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    assert main(call(data, run, "training.wandb=omr")) == 0
    [kept] = (run / "wandb").glob("offline-run-*")
    assert kept.name.endswith((run / "wandb.txt").read_text())
    [file] = kept.glob("*.wandb")
    assert b"train/tokens_per_second" in file.read_bytes()
