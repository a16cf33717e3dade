"""The shadow of a hand or of the phone, with a soft edge."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def shaded(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    edge, side = float(rng.uniform(0.1, 0.9)) * width, float(rng.choice([-1, 1]))
    lean, bend = float(rng.uniform(-1.2, 1.2)), float(rng.uniform(-0.02, 0.02)) / space
    softness = float(rng.uniform(0.3, 3)) * space
    xs, ys = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None] - height / 2
    pace = side / softness
    level = pace * (xs - edge) - pace * (lean * ys + bend * ys**2)
    np.tanh(level, out=level)
    level *= -strength / 2
    level += 1 - strength / 2
    return np.multiply(picture, level, out=level)


DEGRADATION = Change(Stage.LIGHT, "share of the light lost in it", shaded)
