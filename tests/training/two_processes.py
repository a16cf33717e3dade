"""What each of torchrun's processes does in test_processes.py: one training run after another, without starting anew.

    torchrun --nproc-per-node 2 -m tests.training.two_processes CASES.json

CASES.json holds a list of cases: `arguments` of omr-train; perhaps `signal_after`, the steps after which the last
process (it alone) is sent SIGUSR1; perhaps `double`, to compute in double precision. Each process writes beside
CASES.json what its calls returned, the tokens that each of its steps learnt from, and a running mean before and after
the processes shared it at the first step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import nn

from runtime.errors import run_command
from tests.training.double import double_precision
from training.__main__ import main
from training.loading.batches import IGNORED, Batch
from training.loop import train as loop
from training.loop.run import Run

RANK = int(os.environ["RANK"])
LAST = int(os.environ["WORLD_SIZE"]) - 1


def watched(case: dict[str, Any], tokens: list[int]) -> Any:
    """`take_step`, counting the tokens, and sending the case's signal."""
    original = loop.take_step

    def take_step(run: Run, batches: list[Batch]) -> int:
        tokens.append(sum(int((batch.targets_BN != IGNORED).sum()) for batch in batches))
        lines = original(run, batches)
        if run.step == case.get("signal_after") and RANK == LAST:
            os.kill(os.getpid(), signal.SIGUSR1)
        return lines

    return take_step


def noted(means: list[list[float]]) -> Any:
    """`share_statistics`, noting a running mean before and after."""
    original = loop.share_statistics

    def share_statistics(accelerator: Accelerator, model: nn.Module) -> None:
        mean = next(buffer for name, buffer in model.named_buffers() if name.endswith("running_mean"))
        means.append(mean.tolist())
        original(accelerator, model)
        means.append(mean.tolist())

    return share_statistics


def work(case: dict[str, Any]) -> dict[str, Any]:
    """One run; the processes stay joined afterwards."""
    AcceleratorState._reset_state(reset_partial_state=True)
    tokens: list[int] = []
    means: list[list[float]] = []
    before = loop.take_step, loop.share_statistics
    loop.take_step, loop.share_statistics = watched(case, tokens), noted(means)
    try:
        with double_precision() if case.get("double") else nullcontext():
            code = run_command(lambda: main(case["arguments"]))
    finally:
        loop.take_step, loop.share_statistics = before
    return {"code": code, "tokens": tokens, "means": means[:2]}


if __name__ == "__main__":
    file = Path(sys.argv[1])
    leave, PartialState.destroy_process_group = PartialState.destroy_process_group, lambda *_: None
    done = [work(case) for case in json.loads(file.read_text())]
    file.with_name(f"done-{RANK}.json").write_text(json.dumps(done))
    leave(PartialState())
