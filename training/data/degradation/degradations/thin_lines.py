"""Too little ink: every line is thinner and fainter."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degradations._ink import grown
from training.data.degradation.degrade import Change, Rng, Stage


def thinned(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    return grown(picture, strength * space, cv2.dilate)  # the brightest of its neighbours: paper grows


DEGRADATION = Change(Stage.INK, "staff spaces a line loses", thinned)
