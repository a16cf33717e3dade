"""Moire: soft slanted bands, from the camera's pixels meeting those of a screen or printer."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def banded(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    angle, period = float(rng.uniform(0, np.pi)), float(rng.uniform(0.6, 3)) * space
    bend, phase = float(rng.uniform(0, 2)), float(rng.uniform(0, 2 * np.pi))
    xs, ys = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    pace = 2 * np.pi / period
    along = float(np.cos(angle) * pace) * xs + float(np.sin(angle) * pace) * ys
    bands = np.sin(along + bend * np.sin(xs / (9 * space)) + phase)
    return picture * (1 - strength * (0.5 + 0.5 * bands))


DEGRADATION = Change(Stage.SENSOR, "share of the light lost in a band", banded)
