"""A run that was killed at any moment, a half-written checkpoint included, goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.source import ROOT
from training.__main__ import main
from training.checkpoint import PROGRESS, TRAINING, WEIGHTS, newest
from training.faults import MARK

from .conftest import DEBUG
from .logs import losses

STEPS = 16
# Dropout, accumulation, degradation, averages and a curriculum all have states that must come back.
OPTIONS = (
    f"max_steps={STEPS}", "checkpoint_steps=3", "gradient_accumulation_steps=2", "degrade=train", "learning_rate=2e-3",
    "training.curriculum.steps=4", "training.curriculum.start_width=200", "eval_limit=1",
)  # fmt: skip
# Even numbers: at a random time after a random step. Odd ones: while a random checkpoint is being written.
MOMENTS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 22))]


def call(data: Path, run: Path, *more: str) -> list[str]:
    return [DEBUG, f"data.dataset_id={data}", *OPTIONS, "--out", str(run), *more]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(call(data, run)) == 0
    return run


def begin(data: Path, run: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "training", *call(data, run)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_after_a_step(process: subprocess.Popen[bytes], run: Path, chance: random.Random) -> str:
    step, delay = chance.randrange(STEPS - 3), chance.uniform(0, 0.06)
    while process.poll() is None and max(losses(run), default=0) < step:
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return f"{1000 * delay:.0f} ms after step {step} was logged"


def kill_in_a_checkpoint(process: subprocess.Popen[bytes], run: Path, chance: random.Random) -> str:
    """The process is stopped as soon as it is seen writing, so that it can't be through before it is killed."""
    step, wanted = chance.randrange(STEPS - 3), chance.randrange(3)
    while process.poll() is None:
        unfinished = list((run / "checkpoints").glob(".unfinished-*"))
        if unfinished and max(losses(run), default=0) > step and len(list(unfinished[0].iterdir())) >= wanted:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            if unfinished[0].exists():
                written = sorted(file.name for file in unfinished[0].iterdir())
                process.send_signal(signal.SIGKILL)
                return f"in a checkpoint after step {step}, with {written}"
            process.send_signal(signal.SIGCONT)
    return "never: it ended before"


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_killed_run_ends_as_the_uninterrupted_one_bit_for_bit(
    seed: int, data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, chance = tmp_path / "killed", random.Random(seed)
    process = begin(data, run)
    try:
        moment = (kill_in_a_checkpoint if seed % 2 else kill_after_a_step)(process, run, chance)
    finally:
        process.kill()
    print(f"seed {seed}: killed {moment}")
    assert process.wait() == -signal.SIGKILL
    in_training, unfinished = (run / MARK).exists(), list((run / "checkpoints").glob(".unfinished-*"))
    assert max(losses(run), default=0) < STEPS
    assert bool(unfinished) or not seed % 2

    assert main(call(data, run, "--resume")) == 0
    said = capsys.readouterr()
    print(said.out, end="")  # the moment
    assert ("ended without a word: it was killed" in said.err) == in_training
    assert losses(run) == losses(whole)
    assert list(losses(run)) == list(range(1, STEPS + 1))
    ends = [newest(folder) or folder for folder in (run, whole)]
    for name in (WEIGHTS, TRAINING):  # weights; optimizer, random states and averages
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes(), name
    assert json.loads((ends[0] / PROGRESS).read_text()) == json.loads((ends[1] / PROGRESS).read_text())
    assert not (run / MARK).exists() and not list((run / "checkpoints").glob(".*"))


def test_a_run_learns(whole: Path) -> None:
    for name in ("token", "symbol"):
        found = list(losses(whole, name).values())
        assert sum(found[-4:]) < 0.95 * sum(found[:4]), name
