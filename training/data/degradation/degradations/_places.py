"""Moves points by a 3x3 matrix, and back."""

from __future__ import annotations

import numpy as np

from training.data.degradation.degrade import Moved, Places


def straight(matrix: np.ndarray) -> Moved:
    """Places moved by a 3x3 matrix (a homography)."""
    return Moved(_by(matrix), _by(np.linalg.inv(matrix)), matrix)


def _by(matrix: np.ndarray) -> Places:
    (a, b, c), (d, e, f), (g, h, i) = [[float(value) for value in row] for row in matrix]

    def places(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not (b or d or g or h):  # along the axes: rows stay rows, columns stay columns
            return (a * xs + c) / i, (e * ys + f) / i
        if not (g or h):
            return (a * xs + (b * ys + c)) / i, (d * xs + (e * ys + f)) / i
        depth = g * xs + (h * ys + i)
        return (a * xs + (b * ys + c)) / depth, (d * xs + (e * ys + f)) / depth

    return places
