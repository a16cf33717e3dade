"""Too few pixels: the line was small in the file and has been enlarged."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def coarse(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    smaller = round(width * (1 - strength)), round(height * (1 - strength))
    enlarging = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    if smaller == (width, height):
        return picture
    small = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=enlarging))


DEGRADATION = Change(Stage.SENSOR, "share of the pixels of a side lost", coarse)
