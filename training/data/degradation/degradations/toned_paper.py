"""Coloured or yellowed paper: darker than white, with a grain and stains."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degradations._texture import clouds
from training.data.degradation.degrade import Change, Rng, Stage

GRAIN, STAINS = 0.05, 0.12  # of the strength: deviation of fine fibres and of soft stains


def toned(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    fibres, stains = clouds(picture.shape, 0.25 * space, rng), clouds(picture.shape, 4 * space, rng)
    level = cv2.addWeighted(fibres, -strength * GRAIN, stains, -strength * STAINS, 1 - strength)
    return np.multiply(picture, np.clip(level, 0, 1, out=level), out=level)


DEGRADATION = Change(Stage.PAPER, "share of the light the paper swallows", toned)
