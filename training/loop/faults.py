"""Turns silent or wordy ends of training into one sentence: crashes outside Python, a stderr that nobody reads any
more, loading processes that die, memory that runs out, and kills (reported when the run resumes). Imports nothing heavy
at first, because it runs before everything else."""

from __future__ import annotations

import faulthandler
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import OmrError
from runtime.output import write_whole

WORKER_ENDED = re.compile(
    r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) (?:is killed by signal: (\w+)|exited unexpectedly)"
)
MARK = "running.json"  # in a run's folder while a process trains it


def loud() -> None:
    """Report where a crash outside Python (SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL) happens, and survive a closed
    stderr."""
    with suppress(AttributeError, ValueError, OSError):  # a stderr without a file has no place for it
        faulthandler.enable()
    sys.stderr = Lasting(sys.stderr)


class Lasting:
    """A stream whose reader may leave (`omr-train ... 2>&1 | head`): what is written afterwards is dropped.

    A run of hours must not end, and with exit code 0, because nobody reads its progress any more.
    """

    def __init__(self, stream: object) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)  # type: ignore[attr-defined, no-any-return]
        except BrokenPipeError:
            self.drop()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()  # type: ignore[attr-defined]
        except BrokenPipeError:
            self.drop()

    def drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())  # type: ignore[attr-defined]
        os.close(nowhere)


@contextmanager
def told_in_a_sentence(less: str) -> Iterator[None]:
    """Turns errors from outside a command's own code into one sentence.

    Args:
        less: what to do where memory runs out.

    Raises:
        OmrError: a loading process died or found a bad line, or memory ran out.
    """
    from ..hardware.memory import first_line, ran_out

    try:
        yield
    except OmrError as error:
        raise from_worker(error) from error
    except (RuntimeError, MemoryError) as error:
        if ran_out(error):
            raise OmrError(f"out of memory ({first_line(error)}): close other programs, or {less}") from error
        # The loader may find the process gone before it hears of the signal, which then is the cause.
        ends = [WORKER_ENDED.search(str(part)) for part in (error, error.__cause__, error.__context__)]
        found = next((end for end in ends if end and end[2]), ends[0])
        if found is None:
            raise
        how = f"was killed by {found[2]}" if found[2] else "ended unexpectedly"
        why = "; the system does that when its memory runs out (`dmesg` tells)" if found[2] == "Killed" else ""
        raise OmrError(
            f"loading process {found[1]} {how}{why}: lower data.num_workers (0 loads in the training process, "
            "and shows an error there), then go on with --resume"
        ) from error


def from_worker(error: OmrError) -> OmrError:
    """An error that a loading process raised, without that process's traceback."""
    text = str(error)
    if not text.startswith("Caught ") or "Original Traceback" not in text:
        return error
    return type(error)(text.strip().splitlines()[-1].partition(": ")[2])


@contextmanager
def marked(run: Path | None) -> Iterator[None]:
    """Marks a run's folder (None: no folder) while this process trains it. If an earlier process left its mark, it was
    killed, and this says so."""
    if run is None:
        yield
        return
    file = run / MARK
    with suppress(OSError, ValueError, KeyError):
        before = json.loads(file.read_text(encoding="utf-8"))
        print(
            f"the process that trained this run before ({before['pid']} on {before['host']}, begun {before['begun']}) "
            "ended without a word: it was killed, by the system if memory ran out (`dmesg` tells)",
            file=sys.stderr,
        )
    mark = {"pid": os.getpid(), "host": platform.node(), "begun": time.strftime("%Y-%m-%d %H:%M:%S")}
    write_whole(file, json.dumps(mark).encode())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
