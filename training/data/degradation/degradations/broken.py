"""Ink is missing in spots: broken staff lines, worn stems; noteheads keep most of theirs."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degradations._texture import clouds
from training.data.degradation.degrade import Change, Rng, Stage

SPOT = 0.4  # staff spaces
LOST = 0.85  # share of the ink that a thin line loses in a spot


def worn(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    if not strength:
        return picture
    field = clouds(picture.shape, SPOT * space, rng)
    field -= np.float32(np.quantile(field[::4, ::4], max(0.0, 1 - strength)))
    field *= 3
    spots, ink, side = np.clip(field, 0, 1, out=field), 255 - picture, round(0.7 * space)
    thin = cv2.blur(ink, (side, side))
    thin *= -LOST / 255
    thin += LOST
    spots *= thin
    spots *= ink
    spots += picture
    return spots


DEGRADATION = Change(Stage.PAPER, "share of the page that is worn", worn)
