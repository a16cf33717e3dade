"""Executors make every shard once, wherever; what ends early leaves nothing running and says so in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import OmrError
from tests.source import ROOT
from training.data.dataset.build import Recipe, build
from training.data.dataset.executor import EXECUTORS

LOCAL = EXECUTORS.get("local")
SIZE, SEED = 120, 4
OPTIONS = ["--size", str(SIZE), "--seed", str(SEED), "--mix", "invented"]


def wait_for(condition: Callable[[], object], seconds: float = 600) -> bool:
    """Whether it became true; the limit is for what hangs."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but isn't collected yet doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def worked(pid: int) -> bool:
    """Whether a process has computed for 0.1 s: it is in its work."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])  # in user mode
    return ticks >= 0.1 * os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_every_job_is_made_once_however_many_work() -> None:
    for workers in (1, 3):
        made = list(LOCAL.run(range(7), lambda job: bytes([job] * 100_000), workers, None))
        assert sorted(made) == [(job, bytes([job] * 100_000)) for job in range(7)]


def test_a_process_that_dies_is_one_sentence() -> None:
    with pytest.raises(OmrError, match=r"^an engraving process died \(SIGKILL\) at 1; run the same [^.]+$"):
        list(LOCAL.run([1], lambda job: os.kill(os.getpid(), signal.SIGKILL), 1, None))


@pytest.mark.parametrize(("error", "kind"), [(OmrError("no such font"), OmrError), (KeyError("staff"), RuntimeError)])
def test_what_goes_wrong_in_a_process_is_told(error: Exception, kind: type[Exception]) -> None:
    def fail(job: int) -> bytes:
        raise error

    with pytest.raises(kind, match=str(error)):
        list(LOCAL.run([1], fail, 1, None))


def test_closing_ends_every_process_and_what_it_started(tmp_path: Path) -> None:
    def make(job: int) -> bytes:
        if job:
            program = subprocess.Popen(["sleep", "600"])
            (tmp_path / f".{job}").write_text(f"{os.getpid()} {program.pid}")
            (tmp_path / f".{job}").rename(tmp_path / str(job))
            program.wait()
        return b""

    finished = LOCAL.run(range(3), make, 3, None)
    next(finished)
    assert wait_for(lambda: len(list(tmp_path.glob("[12]"))) == 2)
    pids = [int(pid) for path in tmp_path.glob("[12]") for pid in path.read_text().split()]
    assert all(map(alive, pids))
    finished.close()
    assert wait_for(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_build_that_is_stopped_leaves_no_process_behind(number: int, code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.data", "build", "--out", str(tmp_path / "new"), *OPTIONS]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_for(lambda: len(children(process.pid)) == 2)
    pids = children(process.pid)
    assert wait_for(lambda: all(map(worked, pids)))
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == code
    assert wait_for(lambda: not any(map(alive, pids)))
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if "picture/s" not in line]
    assert lines == (["interrupted"] if number == signal.SIGINT else [])


@pytest.mark.cluster
def test_a_cluster_that_loses_a_node_makes_the_same_data(tmp_path: Path) -> None:
    isolated = ["unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "bash"]  # Ray looks for clouds
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        isolated = []
    command = [sys.executable, "-m", "tests.training.data.dataset.two_nodes", str(tmp_path / "cluster"), *OPTIONS]
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as temporary:  # its sockets need short names
        environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": temporary, "RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(
            [*isolated, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stderr
    killed, summary = done.stdout.splitlines()
    assert 0 < int(killed.removeprefix("shards done: ")) < 8  # of six shards of train, one of val, one of test
    here = build(tmp_path / "here", Recipe(SIZE, SEED, mix="invented"), workers=1)
    assert json.loads(summary)["digest"] == here["digest"]
