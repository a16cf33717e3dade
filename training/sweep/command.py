"""`omr-train sweep SWEEP --out DIR`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import OmrError

DESCRIPTION = """Train the runs that a file lists, each in a process of its own, read with each, and make tables and
figures of them. If the sweep was stopped, the same command continues it and doesn't repeat what is done. The last line
is JSON."""


def sweep_command(arguments: Sequence[str]) -> int:
    """Start or continue a sweep."""
    parser = argparse.ArgumentParser(prog="omr-train sweep", description=DESCRIPTION)
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="YAML file, such as configs/sweeps/cpu.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the sweep")
    parser.add_argument(
        "--budget-hours", type=float, default=0, metavar="H", help="stop after so many hours, with a checkpoint "
        "(default: when all is done)",
    )  # fmt: skip
    parser.add_argument(
        "--together", type=int, default=1, metavar="N", help="train N runs at the same time, if there are enough "
        "processors (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="only print the runs, in order")
    options = parser.parse_args(arguments)

    if options.together < 1:
        raise OmrError(f"--together {options.together} is too few: expected at least one run at a time")

    from .plan import read_sweep
    from .scheduler import Work

    sweep = read_sweep(options.sweep, options.out)
    if options.list:
        for job in sweep.jobs:
            after = f"   after {', '.join(job.needs)}" if job.needs else ""
            print(f"{job.name:44} {job.config.training.max_steps:6,} steps{after}")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    report = Work(sweep, options.out, options.budget_hours, options.together).go()
    print(json.dumps(report))
    return 1 if report["failed"] else 0
