"""Commands that halt themselves, so that a test strikes them where it means to, however fast or busy the machine is.

    python -m tests.halting TEXT COUNT MODULE [argument ...]

A killed process leaves what it has written, so moments are told apart by what it does with files, not by the clock. The
process stops (SIGSTOP) before it opens, renames or deletes a path that contains TEXT, or changes its mode, for the
COUNT-th time; the first is number 0. What libraries not written in Python do with files isn't seen.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence

from tests.source import ROOT

EVENTS = {"open", "os.chmod", "os.remove", "os.rename"}  # as Python's audit hooks name them; os.replace is a renaming


def begin(text: str, count: int, module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a module that will halt itself."""
    command = [sys.executable, "-m", "tests.halting", text, str(count), module, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_until_halted(process: subprocess.Popen[bytes]) -> bool:
    """Whether it halted; False when it ended before."""
    # WNOWAIT leaves the end of the process to be collected by `process` itself.
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return found is not None and found.si_code == os.CLD_STOPPED


def strike(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process that halted, which takes it first when it goes on."""
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)


def halt_at(text: str, count: int) -> None:
    """Let this process stop itself."""
    left = count

    def hook(event: str, values: tuple[object, ...]) -> None:
        nonlocal left
        if event in EVENTS and any(text in str(value) for value in values):
            left -= 1
            if left == -1:
                os.kill(os.getpid(), signal.SIGSTOP)  # a signal's exception may leave the hook here

    sys.addaudithook(hook)


if __name__ == "__main__":
    halt_at(sys.argv[1], int(sys.argv[2]))
    sys.argv = sys.argv[3:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
