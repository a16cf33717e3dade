"""The shipped held-out lines are what their seeds make, and judge trained models alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.checks import heldout
from export.checks.parity import LEAST_EQUAL, MOST_WORSE, failures
from export.checks.reading_trial import Trial, known_percent
from export.checks.torch_engine import TorchEngine
from export.precision import calibration
from runtime.bundle.manifest import Bundle
from training.saving.checkpoint import SHIPPED, WEIGHTS, Loaded, load_checkpoint


def grey(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L"))  # WebP has no grey mode


def test_two_hundred_lines_in_under_two_megabytes_none_twice() -> None:
    lines = heldout.lines()
    assert len(lines) == len({line.abc for line in lines}) == 200
    assert heldout.FILE.stat().st_size < 2e6
    assert max(grey(line.picture).shape[1] for line in lines) <= heldout.LONGEST


@pytest.mark.parametrize("recipe", heldout.RECIPES, ids=lambda recipe: recipe.degrade)
def test_the_file_holds_what_its_seeds_make(recipe: Any) -> None:
    stored = {line.abc: line.picture for line in heldout.lines()}
    made = heldout.engraved(recipe, 5)
    assert len(made) >= 4
    for picture, abc in made:
        assert np.array_equal(grey(stored[abc]), np.asarray(picture)), abc


def test_calibration_lines_are_others() -> None:
    seeds = [recipe.seed for recipes in (heldout.RECIPES, calibration.RECIPES) for recipe in recipes]
    assert len(set(seeds)) == len(seeds)
    assert all(recipe.mix == "invented" for recipe in calibration.RECIPES)  # no tune of any split


def test_any_beginning_of_the_lines_holds_both_kinds() -> None:
    degraded = [len(np.unique(grey(line.picture)[0])) > 3 for line in heldout.lines()]  # paper isn't white
    for end in (16, 48, 200):
        assert 0.15 <= np.mean(degraded[:end]) <= 0.5


def test_a_model_with_random_weights_is_not_judged_by_them(loaded: Loaded, bundle: Bundle) -> None:
    assert Trial.shipped(loaded, TorchEngine(loaded.model, bundle.manifest.io)) is None
    assert all("held_out" not in artifact.numerics for artifact in bundle.manifest.artifacts)


@pytest.mark.skipif(not (SHIPPED / WEIGHTS).is_file(), reason=f"needs {SHIPPED}")
def test_the_shipped_model_knows_them() -> None:
    assert known_percent(load_checkpoint(SHIPPED), heldout.lines()[:8]) > 90


def test_the_first_lines_of_a_trial_keep_their_labels_and_readings() -> None:
    order = [[4, 0], [1, 3], [2]]
    batches = [(np.array([[[[n]]] for n in group], np.float32), np.array(group)) for group in order]
    tokens = [[number] for group in order for number in group]
    first = Trial(batches, order, tokens, [[*ids, 9] for ids in tokens], {}).first(3)
    assert first.order == [[0], [1], [2]]
    assert [valid.tolist() for _, valid in first.batches] == [[0], [1], [2]]
    assert first.references == [[0], [1], [2]] and first.expected == [[0, 9], [1, 9], [2, 9]]


@pytest.mark.parametrize(("precision", "equal", "points"), [
    *((precision, least - 0.5, 0.0) for precision, least in LEAST_EQUAL.items()),
    *((precision, 100.0, most + 0.01) for precision, most in MOST_WORSE.items()),
])  # fmt: skip
def test_worse_readings_are_refused(precision: str, equal: float, points: float) -> None:
    decode = {"psnr_db": {}, "cached_psnr_db": 200.0, "regret": 0.0, "top1_percent": 100.0, "alone_equals_batch": True}
    held_out = {"equal_percent": 100.0, "ser_difference_points": 0.0}
    numerics: dict[str, Any] = {"encode": {"psnr_db": {}}, "decode": decode, "held_out": held_out}
    assert list(failures(precision, numerics)) == []
    numerics["held_out"] = {"equal_percent": equal, "ser_difference_points": points}
    assert len(list(failures(precision, numerics))) == 1
