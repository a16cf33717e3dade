"""Ink has spread: every line is thicker."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degradations._ink import grown
from training.data.degradation.degrade import Change, Rng, Stage


def thickened(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    return grown(picture, strength * space, cv2.erode)  # the darkest of its neighbours: ink grows


DEGRADATION = Change(Stage.INK, "staff spaces a line gains", thickened)
