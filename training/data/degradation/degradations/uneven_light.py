"""Light falls off from one side of the picture to the other."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def lit_from_one_side(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    side = float(rng.uniform(0, 2 * np.pi))
    across, down = np.cos(side) * np.linspace(-1, 1, width), np.sin(side) * np.linspace(-1, 1, height)
    slope = (across[None, :] + down[:, None]) / (abs(np.cos(side)) + abs(np.sin(side)))
    return picture * (1 - strength * (slope + 1) / 2).astype(np.float32)


DEGRADATION = Change(Stage.LIGHT, "share of the light lost at the dark end", lit_from_one_side)
