"""What a person is told while a run goes on."""

from __future__ import annotations

import os
import sys


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes; torchrun numbers its processes in RANK."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Explanations go to stderr, answers to stdout; of several processes one speaks."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)
