"""Small data sets of invented, engraved lines: no corpus to load, made in a second."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from runtime.abc.tune import Tune
from training.data.dataset.build import COLUMNS, Job, make_row
from training.data.engraving.engraver import ENGRAVERS, EngraveError
from training.data.lines.excerpt import Mix, excerpt


def line(seed: int, number: int, bars: int = 1) -> Tune:
    """An invented line of `bars` bars."""
    return excerpt([], seed, number, Mix(bars=(bars, bars), invented=1.0))[0]


def rows(split: str, count: int, seed: int, longest: int) -> list[dict[str, Any]]:
    """Rows of a data set, of 1 to `longest` bars in turn; lines that don't fit the picture are left out."""
    engraver = ENGRAVERS.get("verovio")
    found: list[dict[str, Any]] = []
    number = 0
    while len(found) < count:
        rng = np.random.default_rng((seed, number))
        tune = line(seed, number, 1 + number % longest)
        with suppress(EngraveError):
            job = Job(number, [tune], "invented", rng)
            found.append(make_row(job, engraver.draw(tune, rng), f"{split}/{number}.png", "clean"))
        number += 1
    return found


def save_dataset(folder: Path, counts: dict[str, int], longest: int = 2) -> Path:
    """Write a data set with as many rows in each split."""
    splits = {
        split: datasets.Dataset.from_list(rows(split, count, seed, longest), features=COLUMNS)
        for seed, (split, count) in enumerate(counts.items())
    }
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return folder
