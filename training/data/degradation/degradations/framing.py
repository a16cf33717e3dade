"""The line is cut out a little too large or too small, too high or too low."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degradations._places import straight
from training.data.degradation.degrade import Move, Moved, Rng

SHIFT = 7.0  # staff spaces up or down for a strength of 1


def cut(shape: tuple[int, int], strength: float, rng: Rng, space: float) -> Moved:
    height, width = shape
    size, shift = 1 + strength * rng.uniform(-1, 1), strength * SHIFT * space * rng.uniform(-1, 1)
    across = min(size, 1.0)  # a line that grew along its staff would lose its ends
    x, y = width / 2 * (1 - across), height / 2 * (1 - size) + shift
    return straight(np.array([[across, 0, x], [0, size, y], [0, 0, 1]]))


DEGRADATION = Move("share of the size", cut)
