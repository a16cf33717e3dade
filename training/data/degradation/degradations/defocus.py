"""The lens is out of focus: every point becomes a disc."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def out_of_focus(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    radius = strength * space
    reach = int(np.ceil(radius))
    across = np.arange(-reach, reach + 1)
    disc = np.clip(radius + 0.5 - np.hypot(across[:, None], across[None, :]), 0, 1).astype(np.float32)
    return np.asarray(cv2.filter2D(picture, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE))


DEGRADATION = Change(Stage.LENS, "staff spaces from the disc's middle to its edge", out_of_focus)
