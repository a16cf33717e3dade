"""The page lies askew: the small rotation that is left after the reader has straightened the line."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degradations._places import straight
from training.data.degradation.degrade import Move, Moved, Rng

LIFT = 1.2  # staff spaces that the ends rise or fall at most: along a wide line the reader straightens better


def turned(shape: tuple[int, int], strength: float, rng: Rng, space: float) -> Moved:
    height, width = shape
    angle = min(np.radians(strength), 2 * LIFT * space / width) * float(rng.choice([-1, 1]))
    x, y, cos, sin = width / 2, height / 2, np.cos(angle), np.sin(angle)
    return straight(np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]]))


DEGRADATION = Move("degrees", turned)
