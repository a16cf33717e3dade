"""Faint print: ink is grey."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def faded(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    return np.asarray(cv2.addWeighted(picture, 1 - strength, picture, 0, 255 * strength))


DEGRADATION = Change(Stage.PAPER, "share of the ink's darkness lost", faded)
