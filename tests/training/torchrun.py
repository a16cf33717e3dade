"""Two processes on this machine, started by torchrun as on a machine with two GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.source import ROOT

LIMIT = 600  # s; they need 10 to 30 on a machine that does nothing else


def torchrun(module: str, arguments: Sequence[str]) -> None:
    """Run a module in two processes; when they fail or hang, what they said is the assertion's."""
    meeting = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]  # 0: a free port
    call = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *meeting, "-m", module, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(call, cwd=ROOT, env=environment, text=True, stdout=-1, stderr=subprocess.STDOUT)
    try:
        said, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends the processes it started; a SIGKILL would leave them
        said, _ = process.communicate(timeout=60)
    # What went wrong first stands far above torchrun's own words.
    assert process.returncode == 0, f"{said[:5000]}\n..\n{said[-5000:]}"
