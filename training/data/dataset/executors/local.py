"""Uses this machine's cores, with a fresh process for each shard."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from runtime.errors import OmrError
from training.data.dataset.executor import Job


class Local:
    """Forks, so that a process has the tunes without copying them. Nothing is left running when it ends."""

    takes_address = False

    def run(
        self, jobs: Sequence[Job], make: Callable[[Job], bytes], workers: int | None, address: str | None
    ) -> Generator[tuple[Job, bytes], None, None]:
        context = get_context("fork")
        waiting = deque(jobs)
        running: dict[Any, tuple[BaseProcess, Job]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (workers or os.cpu_count() or 1):
                    receiver, sender = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(make, waiting[0], sender))
                    process.start()
                    running[receiver] = process, waiting.popleft()
                    sender.close()  # or the end of a process that dies wouldn't be seen
                for receiver in wait(list(running)):
                    content = _received(receiver, *running[receiver])
                    yield running.pop(receiver)[1], content
        finally:
            for process, _ in running.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid or 0, signal.SIGKILL)
                process.kill()  # where it didn't get as far as a group of its own
                process.join()


def _work(make: Callable[[Job], bytes], job: Job, sender: Connection) -> None:
    """What a process does. In a group of its own a Ctrl-C doesn't reach it, and programs that it runs end with it."""
    os.setpgid(0, 0)
    os.nice(10)  # a training run on the same machine keeps its cores
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result: bytes | Exception
    try:
        result = make(job)
    except OmrError as error:
        result = error
    except Exception:  # not every exception can be sent
        result = RuntimeError(f"{job} failed in a process of its own:\n{traceback.format_exc()}")
    sender.send(result)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _received(receiver: Any, process: BaseProcess, job: object) -> bytes:
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise OmrError(
            f"an engraving process died ({cause}) at {job}; run the same command again to go on where it stopped"
        ) from None
    process.join()
    if isinstance(result, Exception):
        raise result
    return bytes(result)


EXECUTOR = Local()
