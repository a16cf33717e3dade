"""Memory that runs out is answered with settings that fit, and with the checkpoint as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runtime.errors import OmrError
from tests.source import ROOT
from training.config import Config, load_config
from training.hardware.memory import ran_out
from training.loading.batches import make_preparation
from training.loop.out_of_memory import fit, sizes, within_memory
from training.saving.checkpoint import newest

from ..conftest import DEBUG
from ..logs import losses
from ..technique_runs import begin, configure, noise

CPU = torch.device("cpu")
ROOM = 500  # MB
# glibc: blocks of a megabyte go back to the system one by one. Otherwise address space, which is what is short here,
# may stay taken after its pages were given back, and nothing could be measured.
WHOLE_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
# Trains once for each line of arguments, in a process whose address space may grow by so many MB from here: PyTorch's
# allocator is refused then. Answers with the exit code.
LIMITED = """
import json, os, re, resource, sys
from pathlib import Path
import torch, training.loop.train
from runtime.errors import run_command
from training.__main__ import main

for line in sys.stdin:
    if not (process := os.fork()):
        size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]) * 10**6,) * 2)
        code = run_command(lambda: main(json.loads(line)))
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Limited:
    """omr-train with little memory.

    Args:
        data: a data set.
        run: folder of the run.
    """

    def __init__(self, data: Path, run: Path) -> None:
        self.arguments = [DEBUG, f"data.dataset_id={data}", "width_buckets=[512]", "eval_limit=1", "--out", str(run)]
        self.said = run.with_suffix(".txt")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LIMITED, str(ROOM)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said.open("w"), env=os.environ | WHOLE_BLOCKS,
        )  # fmt: skip

    def train(self, *options: str) -> tuple[int, list[str]]:
        """Exit code, and errors so far."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([*self.arguments, *options]), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return code, [line for line in self.said.read_text().splitlines() if line.startswith("error: ")]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of a process are measured on Linux")
def test_a_batch_too_large_is_answered_with_one_that_fits(data: Path, tmp_path: Path) -> None:
    """Nothing is pretended: the memory is short, the answer is measured, and it is tried."""
    run = tmp_path / "run"
    limited = Limited(data, run)
    assert limited.train("batch_size=2", "max_steps=2") == (0, [])
    before = {file: file.read_bytes() for file in (newest(run) or run).iterdir()}

    code, [said] = limited.train("--resume", "max_steps=4", "batch_size=24", "checkpoint_steps=1")
    assert code == 2
    assert re.match(r"error: out of memory in step 3 with \d\d lines of 512 px", said)
    assert said.endswith(f"; --resume goes on from {newest(run)}")
    assert before == {file: file.read_bytes() for file in (newest(run) or run).iterdir()}
    size = re.search(r"training\.batch_size=(\d+) fits \(or batch_size=24 with batch_width=\d+", said)
    times = re.search(r"with training\.gradient_accumulation_steps=(\d+) to keep", said)
    assert size and times, said
    assert 2 < int(size[1]) < 24
    assert (int(times[1]) - 1) * int(size[1]) < 24 <= int(times[1]) * int(size[1])

    assert limited.train("--resume", "max_steps=4", f"batch_size={size[1]}")[0] == 0
    assert list(losses(run)) == [1, 2, 3, 4]
    limited.process.kill()


@pytest.mark.usefixtures("quick")
def test_where_nothing_can_be_measured_the_answer_is_half_and_says_so(tmp_path: Path) -> None:
    def refuse(*_given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    run = begin(configure("pocket_cnn", "full", "batch_size=8"), tmp_path)
    expected = (
        "out of memory in step 1 with 2 lines of .* so nothing is measured: try training.batch_size=4, "
        "with training.gradient_accumulation_steps=2 to keep .*; no checkpoint is written yet"
    )
    with pytest.raises(OmrError, match=expected):
        within_memory(run, [noise(make_preparation(run.config))], 128, refuse, refuse)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking for garbage in all that the tests hold."""
    monkeypatch.setattr("training.hardware.memory.give_back", lambda _device: None)


def taking(each: int, limit: int) -> Callable[[int], None]:
    """Computing that keeps `each` bytes a line, and may have `limit`."""

    def attempt(lines: int) -> None:
        if lines * each > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        torch.ones(lines * each // 4)

    return attempt


@pytest.mark.usefixtures("quick")
def test_a_batch_is_halved_until_it_fits() -> None:
    found = fit(CPU, 32, 0, taking(10**6, 9 * 10**6))
    assert found.tried == 8
    assert found.lines < 32


@pytest.mark.usefixtures("quick")
def test_not_one_line_may_fit() -> None:
    assert fit(CPU, 8, 0, taking(10**6, 10)).lines == 0


@pytest.mark.usefixtures("quick")
def test_another_error_while_trying_passes_through() -> None:
    def attempt(_lines: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        fit(CPU, 8, 0, attempt)


def configured(*overrides: str) -> Config:
    return load_config([ROOT / "configs" / "pocket.yaml"], overrides)


@pytest.mark.parametrize(
    ("overrides", "lines", "expected"),
    [
        # 5 lines of 1,024 px are 10 of 512, which batch_width counts in.
        (("batch_size=16", "batch_width=512"), 5, r"training\.batch_size=10 fits, with .*_steps=2 to keep"),
        # Without it, every batch must hold as many lines as one of the widest does: 5,120 px of 1,280.
        (
            ("batch_size=16", "batch_width=0"),
            5,
            r"batch_size=4 fits \(or batch_size=16 with batch_width=320, .*_steps=4 to",
        ),
        (
            ("batch_size=6", "batch_width=0", "gradient_accumulation_steps=4"),
            2,
            r"batch_size=1 fits .*_steps=24 to keep",
        ),
        (
            ("batch_size=6", "batch_width=0"),
            1,
            "not one line fits .* set hardware.gradient_checkpointing=all, or train",
        ),
        (
            ("batch_size=6", "batch_width=512"),
            0,
            "not one line fits .* set hardware.gradient_checkpointing=all, or train",
        ),
    ],
)
def test_the_sizes_named_hold_no_more_pixels_than_fit(overrides: tuple[str, ...], lines: int, expected: str) -> None:
    assert re.search(expected, sizes(configured(*overrides), lines, 1024, 1280))


def test_both_allocators_errors_are_known_and_others_are_not() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert ran_out(caught.value)
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    assert ran_out(MemoryError())
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
