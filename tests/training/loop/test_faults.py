"""Nothing ends training without a word: crashes, dead loading processes, damaged lines, a stderr that nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest

from runtime.errors import run_command
from tests.source import ROOT
from training.__main__ import main
from training.loading.batches import Lines
from training.saving.checkpoint import newest

from ..conftest import DEBUG
from ..logs import losses


def test_a_crash_outside_python_is_told_with_its_place() -> None:
    """As omr-train would crash: its entry, with a command that aborts like native code does."""
    code = "import os, training.__main__ as m; m.main = lambda: os.abort(); m.entry()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.stderr
    assert "run_command" in done.stderr


def test_a_run_outlives_those_who_read_its_stderr_and_leaves_with_a_checkpoint_when_the_terminal_closes(
    data: Path, tmp_path: Path
) -> None:
    """`omr-train ... 2>&1 | head -1` in a window that is closed later."""
    run = tmp_path / "run"
    options = [DEBUG, f"data.dataset_id={data}", "max_steps=10000", "eval_limit=1", "--out", str(run)]
    environment = os.environ | {"TQDM_DISABLE": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *options], cwd=ROOT, stderr=subprocess.PIPE, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert b"computing on" in process.stderr.readline()
        process.stderr.close()
        while process.poll() is None and len(losses(run)) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        assert process.wait(600) == 128 + signal.SIGHUP
    finally:
        process.kill()
    assert int((newest(run) or run).name.removeprefix("step-")) >= 3


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run_command(lambda: main(arguments)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_a_loading_process_that_is_killed_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, load = os.getpid(), Lines.__getitem__

    def die(self: Lines, item: object) -> object:
        if os.getpid() != trainer:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(Lines, "__getitem__", die)
    options = [DEBUG, f"data.dataset_id={data}", "num_workers=1", "max_steps=2", "--out", str(tmp_path / "run")]
    said = told(options, capsys)
    assert "was killed by Killed; the system does that when its memory runs out" in said
    assert "lower data.num_workers" in said


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> Path:
    """A data set with one picture that is none."""

    def harm(row: dict[str, object], index: int) -> dict[str, object]:
        return row | {"image": {"bytes": row["image"]["bytes"][:60], "path": None}} if index == 5 else row  # type: ignore[index]

    whole = datasets.load_from_disk(str(data))
    plain = whole["train"].cast_column("image", datasets.Image(decode=False))
    train = plain.map(harm, with_indices=True, load_from_cache_file=False)
    datasets.DatasetDict({**whole, "train": train}).save_to_disk(str(tmp_path / "damaged"))
    return tmp_path / "damaged"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_whichever_process_loads_it(
    workers: int, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"data.dataset_id={damaged}", f"num_workers={workers}", "max_steps=30"]
    said = told([DEBUG, *options, "--out", str(tmp_path / "run")], capsys)
    assert said == "error: picture train/5.png can't be decoded; expected PNG or JPEG"
