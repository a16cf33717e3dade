"""A run that was killed at any moment, a half-written checkpoint included, goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests.halting import begin, wait_until_halted
from training.__main__ import main
from training.loop.faults import MARK
from training.saving.checkpoint import PROGRESS, TRAINING, WEIGHTS, newest

from ..conftest import DEBUG
from ..logs import losses

STEPS = 16
# Dropout, accumulation, degradation, averages and a curriculum all have states that must come back.
OPTIONS = (
    f"max_steps={STEPS}", "checkpoint_steps=3", "gradient_accumulation_steps=2", "degrade=train", "learning_rate=2e-3",
    "training.curriculum.steps=4", "training.curriculum.start_width=200", "eval_limit=1",
)  # fmt: skip
# Even numbers: at any time of the run. Odd ones: while a checkpoint is being written.
MOMENTS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 22))]
# How often the run touches a path in its folder before the last step is done, and one in an unfinished checkpoint.
ANY_TIME, IN_CHECKPOINTS = 250, 40


def call(data: Path, run: Path, *more: str) -> list[str]:
    return [DEBUG, f"data.dataset_id={data}", *OPTIONS, "--out", str(run), *more]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(call(data, run)) == 0
    return run


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_killed_run_ends_as_the_uninterrupted_one_bit_for_bit(
    seed: int, data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, chance = tmp_path / "killed", random.Random(seed)
    text, times = (".unfinished-", IN_CHECKPOINTS) if seed % 2 else (str(run), ANY_TIME)
    count = chance.randrange(times)
    process = begin(text, count, "training", call(data, run))
    try:
        assert wait_until_halted(process), f"it ended before it had touched {count + 1} paths with {text}"
    finally:
        process.kill()
        process.communicate()
    print(f"seed {seed}: killed at its path {count} with {text}, after step {max(losses(run), default=0)}")
    in_training, unfinished = (run / MARK).exists(), list((run / "checkpoints").glob(".unfinished-*"))
    assert max(losses(run), default=0) < STEPS
    assert bool(unfinished) or not seed % 2
    if unfinished:  # as it would be left in the middle of a file
        last = max(unfinished[0].iterdir(), key=lambda file: file.stat().st_mtime_ns)
        os.truncate(last, last.stat().st_size // 2)

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
