"""A two-level scan: everything becomes nearly black or nearly white."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def two_levels(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    side = 2 * round(1.5 * space) + 1  # wider than any ink in one direction, so that the brightest there is paper
    paper = cv2.blur(cv2.dilate(cv2.blur(picture, (3, 3)), np.ones((side, side), np.uint8)), (side, side))
    level = paper * float(rng.uniform(0.84, 0.94))
    # Scanners threshold at a higher resolution than this: a soft step keeps lines that are thinner than a pixel.
    step = np.clip((level - picture) / float(rng.uniform(3, 14)), -30, 30)
    return picture + strength * (20 + 220 / (1 + np.exp(step)) - picture)


DEGRADATION = Change(Stage.SENSOR, "share of the way to two levels", two_levels)
