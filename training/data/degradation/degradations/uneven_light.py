"""Light falls off from one side of the picture to the other."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def lit_from_one_side(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    side = float(rng.uniform(0, 2 * np.pi))
    half = strength / 2 / (abs(np.cos(side)) + abs(np.sin(side)))
    across, down = (
        (half * way(side) * np.linspace(-1, 1, size)).astype(np.float32)
        for way, size in ((np.cos, width), (np.sin, height))
    )
    level = (np.float32(1 - strength / 2) - across)[None, :] - down[:, None]
    return np.multiply(picture, level, out=level)


DEGRADATION = Change(Stage.LIGHT, "share of the light lost at the dark end", lit_from_one_side)
