"""`omr-train`: train a model, read a data set with it.

omr-train CONFIG [CONFIG ...] [key=value ...] [--out RUN] [--resume]
omr-train evaluate CHECKPOINT DATASET
omr-train release RUN --out DIR
omr-train finished RUN
omr-train results RUN... --out DIR
omr-train sweep SWEEP --out DIR
omr-train plan CONFIG [key=value ...] --vram GB
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runtime.errors import run_command

from .commands import evaluate_command, finished_command, release_command, train_command
from .loop.faults import loud
from .results.command import results_command
from .sweep.command import sweep_command


def plan_command(arguments: Sequence[str]) -> int:
    """Tell how much GPU memory a run would take."""
    from .planner.command import plan_command

    return plan_command(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {
        "evaluate": evaluate_command, "release": release_command, "finished": finished_command,
        "results": results_command, "sweep": sweep_command, "plan": plan_command,
    }  # fmt: skip
    command = commands.get(given[0]) if given else None
    return command(given[1:]) if command else train_command(given)


def entry() -> None:
    """The console script."""
    loud()
    sys.exit(run_command(main))


if __name__ == "__main__":
    entry()
