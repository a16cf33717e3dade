"""Print on the back of the page shows through: mirrored, faint and soft."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def seen_through(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    away = round(float(rng.uniform(-0.5, 0.5)) * height), int(rng.integers(width))
    behind = cv2.GaussianBlur(np.roll(picture[:, ::-1], away, (0, 1)), (0, 0), 0.15 * space)
    faint = cv2.addWeighted(behind, strength, behind, 0, 255 * (1 - strength), behind)
    return np.minimum(picture, faint, out=faint)


DEGRADATION = Change(Stage.PAPER, "share of the ink that shows", seen_through)
