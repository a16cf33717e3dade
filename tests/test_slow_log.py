"""Slow tests that have passed are skipped, those that fail are tried again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .source import ROOT

CASES = """
import os
import pytest

pytestmark = pytest.mark.slow

def test_that_passes():
    pass

def test_that_fails_at_first():
    assert os.environ.get("MENDED")
"""


def outcome(folder: Path, **environment: str) -> str:
    call = [sys.executable, "-m", "pytest", "-q", "-m", "slow", "-p", "tests.conftest", "--slow-log", "log.jsonl", "-c",
            "/dev/null", "--rootdir", ".", "-o", "markers=slow: ..", "test_cases.py"]  # fmt: skip
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, env=variables)
    return done.stdout.strip().splitlines()[-1]


def test_only_what_has_not_passed_runs_again(tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    assert outcome(tmp_path).startswith("1 failed, 1 passed")
    [row] = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert row["case"].endswith("test_that_passes") and row["seconds"] >= 0 and row["machine"]
    assert outcome(tmp_path, MENDED="1").startswith("1 passed, 1 skipped")
    assert outcome(tmp_path).startswith("2 skipped")
