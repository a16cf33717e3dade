"""The wheel holds the four rooms with what they ship, and nothing else. `make wheel` installs it and reads a page."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.source import ROOMS, ROOT, project


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Files in the wheel, below the site-packages folder."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def tracked() -> set[str]:
    """Files of the rooms that git knows."""
    done = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout to compare with")
def test_every_committed_file_of_the_rooms_is_in_the_wheel(names: set[str]) -> None:
    assert tracked() - names == set()


def test_the_wheel_holds_the_shipped_bundle(names: set[str]) -> None:
    bundle = {Path(name).name for name in names if name.startswith("runtime/bundles/pocket/")}
    assert {"manifest.json", "tokenizer.json", "checksums.json", "MODEL_CARD.md"} <= bundle
    assert any(name.endswith(".onnx") for name in bundle)


def test_the_wheel_holds_nothing_but_the_rooms(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(ROOMS)
    assert len(tops) == len(ROOMS) + 1


def test_the_wheel_brings_the_commands_and_the_licence(names: set[str]) -> None:
    assert any(name.endswith("entry_points.txt") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert set(project()["scripts"]) == {"omr-data", "omr-train", "omr-export", "omr-transcribe", "omr-bench"}
