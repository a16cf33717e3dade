"""Random textures of a given grain."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Rng


def clouds(shape: tuple[int, ...], grain: float, rng: Rng) -> np.ndarray:
    """Smooth noise, float32 [H, W], with spots about `grain` px wide; mean 0, deviation near 1."""
    height, width = (max(2, round(side / grain) + 1) for side in shape)
    coarse = rng.standard_normal((height, width), np.float32) * 1.5  # mixing neighbours takes a third away
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))
