"""Faint print: ink is grey."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def faded(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    return 255 - (255 - picture) * (1 - strength)


DEGRADATION = Change(Stage.PAPER, "share of the ink's darkness lost", faded)
