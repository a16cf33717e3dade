"""The paper isn't flat: the staff runs in a slow wave, narrower where the page bends away."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Move, Moved, Rng

ALONG = 2.0  # of the wave's height: how far places move along the staff


def curled(shape: tuple[int, int], strength: float, rng: Rng, space: float) -> Moved:
    height = strength * space * float(rng.choice([-1, 1]))
    wave = 2 * np.pi / (float(rng.uniform(40, 140)) * space)
    rise, lean = (float(phase) for phase in rng.uniform(0, 2 * np.pi, 2))

    def there(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return xs + ALONG * height * np.sin(wave * xs + lean), ys + height * np.sin(wave * xs + rise)

    def back(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = xs
        for _ in range(3):  # each time a tenth of the error is left, or less
            flat = xs - ALONG * height * np.sin(wave * flat + lean)
        return flat, ys - height * np.sin(wave * flat + rise)

    return Moved(there, back)


DEGRADATION = Move("staff spaces the wave is high", curled)
