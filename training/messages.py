"""Prints what a person should know during a run."""

from __future__ import annotations

import os
import sys


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes; torchrun numbers its processes in RANK."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Prints an explanation on stderr (results go to stdout); of several processes only one prints."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)
