"""Sensor noise, fine or in clumps."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def noisy(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    grain = rng.standard_normal(picture.shape, np.float32)
    if rng.random() < 0.4:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.11 * space) * 2
    return np.asarray(cv2.scaleAdd(grain, strength, picture, grain))


DEGRADATION = Change(Stage.SENSOR, "deviation in grey levels", noisy)
