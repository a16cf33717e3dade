"""The camera looks at the page from the side: each corner of the line moves on its own."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degradations._places import straight
from training.data.degradation.degrade import Move, Moved, Rng


def seen_from_the_side(shape: tuple[int, int], strength: float, rng: Rng, space: float) -> Moved:
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + strength * space * rng.uniform(-1, 1, (4, 2))
    return straight(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)))


DEGRADATION = Move("staff spaces a corner moves", seen_from_the_side)
