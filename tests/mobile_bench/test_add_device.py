"""A newcomer adds a device by adding one file: the one that CONTRIBUTING shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.bundle.manifest import Bundle
from tests.source import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the room, with one file more."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## A device")[1]
    found = re.search(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    assert found
    shutil.copytree(ROOT / "mobile_bench", tmp_path / "mobile_bench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mobile_bench" / "devices" / "clock.py").write_text(found[1], encoding="utf-8")
    return tmp_path


def omr_bench(project: Path, *arguments: str) -> str:
    """What `omr-bench` of the copy prints."""
    paths = os.pathsep.join([str(project), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "mobile_bench", *arguments],
        cwd=project, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_device_is_one_file(project: Path, bundle: Bundle) -> None:
    assert "clock: processor none\n" in omr_bench(project, "devices")
    printed = omr_bench(project, "run", str(bundle.folder), "--device", "clock", "--threads", "3", "--out", "results")
    [result] = json.loads(printed.splitlines()[-1])["results"]
    assert (result["device"], result["label"]) == ("clock", "model estimate")
    assert set(result["median_ms"].values()) == {1000.0} and all("/3/page" in name for name in result["median_ms"])
    assert "| clock |" in omr_bench(project, "report", "results")
