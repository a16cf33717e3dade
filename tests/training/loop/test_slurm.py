"""The batch scripts in configs/slurm on a real SLURM: pre-empted jobs come back and end as if nothing had happened."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.source import ROOT
from training.saving.checkpoint import newest, read_weights

from ..conftest import DEBUG
from ..hardware.test_processes import log
from ..slurm import Slurm, two_nodes, wait_until
from ..torchrun import torchrun

STEPS = 30  # enough for a signal to arrive midway
HERE = ("--gpus-per-node=1", "--cpus-per-task=1", "--mem=0", "--time=50")  # fewer than a real node has


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with two_nodes(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that nothing interrupted, outside of SLURM."""
    folder = tmp_path_factory.mktemp("runs") / "expected"
    torchrun("training", [*configuration(data), "--out", str(folder)])
    return folder


def configuration(data: Path) -> list[str]:
    sizes = [f"max_steps={STEPS}", "batch_size=1", "eval_limit=1", "learning_rate=1e-3", "checkpoint_steps=1000"]
    return [DEBUG, f"data.dataset_id={data}", *sizes, "dropout=0.1"]


def submit(slurm: Slurm, script: str, run: Path, data: Path, more: dict[str, str]) -> str:
    """The job's number."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    call = ["sbatch", "--parsable", *HERE, f"--output={run}.log", f"configs/slurm/{script}", str(run)]
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), **more}
    return slurm.call(*call, *configuration(data), folder=ROOT, **variables).strip()


def steps(run: Path) -> int:
    return len(log(run)) if (run / "metrics.jsonl").exists() else 0


def told_to_leave(slurm: Slurm, job: str) -> None:
    """As SLURM does ahead of the time limit, by `--signal=B:USR1@...`; the script itself goes back into the queue."""
    slurm.call("scancel", "--signal=USR1", "--batch", job)


def preempted(slurm: Slurm, job: str) -> None:
    """As SLURM does for a job of more importance: SIGTERM, a while later SIGKILL, and back into the queue."""
    slurm.call("scontrol", "requeue", job)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.parametrize(
    ("script", "more", "interrupt"),
    [
        ("one_node.sbatch", {"PROCESSES_PER_NODE": "2"}, preempted),
        ("several_nodes.sbatch", {}, told_to_leave),  # a process for its GPU
    ],
    ids=["one_node-SIGTERM", "several_nodes-SIGUSR1"],
)
def test_an_interrupted_job_comes_back_and_ends_with_the_losses_of_an_uninterrupted_one(
    slurm: Slurm, script: str, more: dict[str, str], interrupt: object, data: Path, expected: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = submit(slurm, script, run, data, more)
    try:
        wait_until(lambda: steps(run) >= 3, 300, "the third step")
        interrupt(slurm, job)  # type: ignore[operator]
        wait_until(lambda: slurm.field(job, "Restarts") == "1", 300, "back in the queue")
        slurm.wait_for(job, "COMPLETED", 600)
    except BaseException:
        print(Path(f"{run}.log").read_text())
        slurm.call("scancel", job)
        raise
    said = Path(f"{run}.log").read_text()
    [left] = re.findall(rf"checkpoint of step (\d+) of {STEPS}.*\n(?:.*\n)*?.*going on from step \1:", said)
    assert 3 <= int(left) < STEPS
    assert log(run) == log(expected)
    assert json.loads((run / "checkpoints" / f"step-{STEPS:08d}" / "progress.json").read_text())["step"] == STEPS
    found, wanted = (read_weights(newest(folder) or Path()) for folder in (run, expected))
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
