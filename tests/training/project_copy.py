"""A copy of the project to which a newcomer adds a file, and beside it a data set of noise."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from tests.source import ROOMS, ROOT

LABEL = "X:1\nL:1/8\n[M:4/4]\nK:C clef=treble\nCDEF GABc|\n"


def copy_project(folder: Path) -> Path:
    """The rooms and configurations in `folder`, and a data set of four pictures in `folder/data`."""
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "bundles")
        shutil.copytree(ROOT / room, folder / room, ignore=ignored)
    shutil.copytree(ROOT / "configs", folder / "configs")
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 255, (96, 120), np.uint8)) for _ in range(4)]
    rows = datasets.Dataset.from_dict({
        "image": [{"bytes": png(picture), "path": None} for picture in pictures],
        "transcription": [LABEL] * 4,
        "filename": [f"noise{number}" for number in range(4)],
        "symbols": [[[0, 10, 1, 3, 0]]] * 4,
    }).cast_column("image", datasets.Image())
    datasets.DatasetDict({"train": rows, "val": rows.select([0])}).save_to_disk(folder / "data")
    return folder


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "png")
    return out.getvalue()


def run(copy: Path, room: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m room` inside the copy, whose packages come before the installed ones."""
    call = [sys.executable, "-m", room, *arguments]
    done = subprocess.run(call, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done
