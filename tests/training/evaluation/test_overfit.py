"""The whole learns by heart, and from the pictures: eight lines are read without a mistake, but not each other's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from runtime.page.preparation import Preparation
from training.__main__ import main
from training.data.dataset.build import COLUMNS
from training.evaluation.evaluate import evaluate
from training.loading.batches import Lines, make_preparation
from training.saving.checkpoint import load_checkpoint

from ...music import rows
from ..conftest import DEBUG
from ..logs import rows as logged

LINES = 8
WIDTH = 128  # px
# Half of pocket's resolution, narrow lines, nothing that hinders learning by heart.
OPTIONS = (
    "img_height=48", "data.staff_space=3.5", f"width_buckets=[{WIDTH}]", "batch_size=4", "max_steps=110",
    "learning_rate=4e-3", "model.params.dropout=0", "d_model=64", "ema_decay=0", "weight_decay=0", "eval_limit=8",
    "training.log_every=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def lines() -> datasets.Dataset:
    """Narrow ones of one bar each, all different."""
    drawn = datasets.Dataset.from_list(rows("train", 3 * LINES, 5, 1), features=COLUMNS)
    narrow = [i for i, picture in enumerate(drawn["image"]) if picture.width / 2 + Preparation().margin <= WIDTH]
    found = drawn.select(narrow[:LINES])
    assert len(set(found["transcription"])) == LINES
    return found


@pytest.fixture(scope="module")
def learnt(lines: datasets.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learnt and checks on the same lines."""
    folder = tmp_path_factory.mktemp("overfit")
    datasets.DatasetDict({"train": lines, "val": lines}).save_to_disk(str(folder / "data"))
    assert main([DEBUG, f"data.dataset_id={folder / 'data'}", *OPTIONS, "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_eight_lines_are_learnt_without_a_mistake(learnt: Path) -> None:
    last = logged(learnt)[-1]
    assert (last["lines"], last["ser"], last["sequence_accuracy"]) == (LINES, 0.0, 100.0)


def error(run: Path, rows: list[dict[str, Any]]) -> float:
    """SER of rows in percent."""
    loaded = load_checkpoint(run)
    given = datasets.Dataset.from_list(rows, features=COLUMNS).cast_column("image", datasets.Image(decode=False))
    lines = Lines(given, make_preparation(loaded.config), loaded.tokenizer, loaded.model.stride, seed=1)
    return evaluate(loaded.model, lines, loaded.tokenizer)[0]["ser"]


def test_they_are_read_worse_with_each_others_pictures(learnt: Path, lines: datasets.Dataset) -> None:
    own = list(lines.cast_column("image", datasets.Image(decode=False)))
    swapped = [row | {"image": other["image"]} for row, other in zip(own, own[1:] + own[:1], strict=True)]
    assert error(learnt, own) == 0
    assert error(learnt, swapped) > 30
