"""Errors for users: one sentence, exit code 2, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class OmrError(Exception):
    """A user's mistake: the value, what was expected and what to do, in one sentence."""


class InputError(OmrError):
    """A file or folder that isn't what was expected, or can't be read."""


class BundleError(OmrError):
    """A bundle or checkpoint that is damaged, incomplete or of another version."""


class ConfigError(OmrError):
    """A configuration with an unknown key or a value out of range."""


class UnavailableError(OmrError):
    """A part of the project that can't run on this machine."""


class MissingExtraError(UnavailableError):
    """A part that needs a package that isn't installed."""


class OtherSystemError(UnavailableError):
    """A part that only runs on another operating system."""


OURS = ("runtime", "training", "export", "mobile_bench")


def run_command(main: Callable[[], int], extra: str = "") -> int:
    """Run a command's `main`. Print a user's mistake as one line on stderr.

    Args:
        main: the command.
        extra: the extra in pyproject.toml that brings the packages which the base install lacks.

    Returns:
        The exit code: 0 done, 2 the user's mistake, 130 interrupted. Other exceptions pass through (exit code 1), and
        SIGTERM ends the process with 143.
    """
    try:
        with leaving_on_sigterm():
            return main()
    except OmrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not extra or package in OURS:
            raise
        print(f"error: this command needs the package {package!r}: pip install -e '.[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:  # `omr-... | head`: the reader left, which is no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        cause = stop_behind(error)
        if cause is None:
            raise
        return interrupted() if isinstance(cause, KeyboardInterrupt) else int(cause.code or 0)


def interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return 130


def stop_behind(error: BaseException | None) -> KeyboardInterrupt | SystemExit | None:
    """The Ctrl-C or SIGTERM behind an error, if there is one. PyTorch's exporter turns one that comes during an import
    into another error."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def leaving_on_sigterm() -> Iterator[None]:
    """SIGTERM (`kill`, a scheduler) ends a command the way Ctrl-C does: temporary files go, nothing is half written."""
    if threading.current_thread() is not threading.main_thread():  # only there are signals handled
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
