"""The camera moved: every point becomes a short stroke."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage

POINTS = 15  # of the stroke


def shaken(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    length, angle = strength * space, float(rng.uniform(0, np.pi))
    reach = int(np.ceil(length / 2))
    stroke = np.linspace(-length / 2, length / 2, POINTS)
    across = np.arange(-reach, reach + 1)
    near = [np.clip(1 - np.abs(across[:, None] - stroke * way(angle)), 0, 1) for way in (np.sin, np.cos)]
    kernel = (near[0] @ near[1].T / POINTS).astype(np.float32)  # every point shared among the four pixels around it
    return np.asarray(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE))


DEGRADATION = Change(Stage.LENS, "staff spaces a stroke is long", shaken)
