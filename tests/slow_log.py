"""Lets hours of slow tests go on where they stopped: `pytest -m slow --slow-log docs/measured/slow.jsonl`.

The file has a line for each case that has passed: name, seconds, date, the machine and the commit. Such a case is
skipped; take its line out to have it run again.
"""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path

import pytest

from training.hardware.precision import processor_name

from .source import ROOT


class SlowLog:
    """A pytest plugin; with `writes` it adds to the file what passes."""

    def __init__(self, file: Path, writes: bool) -> None:
        self.file, self.writes = file, writes
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        self.passed = {row["case"]: row for row in map(json.loads, lines)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if row := self.passed.get(item.nodeid):
                reason = f"passed on {row['date']} in {row['seconds']:.0f} s at {row['commit']}"
                item.add_marker(pytest.mark.skip(reason=reason))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not self.writes or report.when != "call" or not report.passed or "slow" not in report.keywords:
            return
        row = {
            "case": report.nodeid, "seconds": round(report.duration, 1), "date": date.today().isoformat(),
            "machine": machine(), "commit": commit(),
        }  # fmt: skip
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def machine() -> str:
    import torch

    return processor_name(torch.device("cpu"))


def commit() -> str:
    """Short name of the commit that is checked out; empty without git."""
    call = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(call, capture_output=True, text=True).stdout.strip()
