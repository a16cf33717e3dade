"""Degradation: reproducible, the same size, and the symbols move with the picture."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.abc_reader import parse
from runtime.errors import ConfigError
from training.data.degrade import PRESETS, degrade
from training.data.engravers.verovio import ENGRAVER


@pytest.fixture(scope="module")
def line() -> np.ndarray:
    return ENGRAVER.draw(
        parse("L:1/8\nM:6/8\nK:D clef=treble\nABc def|gfe d3|ABc def|]"), np.random.default_rng(0)
    ).image


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_gives_the_same_picture(preset: str, line: np.ndarray) -> None:
    first, second = (degrade(line, preset, np.random.default_rng(4))[0] for _ in range(2))
    assert (first == second).all() and first.dtype == np.uint8
    assert preset == "photo" or first.shape == line.shape
    assert preset == "clean" or (
        degrade(line, preset, np.random.default_rng(5))[0].shape != first.shape
        or (degrade(line, preset, np.random.default_rng(5))[0] != first).any()
    )


def test_places_move_with_the_picture() -> None:
    image = np.full((96, 400), 255, np.uint8)
    for x in range(20, 400, 40):
        image[40:56, x - 2 : x + 3] = 0
    for seed in range(20):
        out, x_map = degrade(image, "photo", np.random.default_rng(seed))
        for x in (60, 180, 300):
            place = round(float(x_map(np.array([x], np.float64))[0]))
            window = out[:, place - 6 : place + 7].astype(int)
            centre = (255 - window).sum(axis=0).argmax() - 6
            assert abs(centre) <= 5


def test_an_unknown_preset_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="known: clean"):
        degrade(np.zeros((96, 100), np.uint8), "foto", np.random.default_rng(0))
