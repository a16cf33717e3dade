"""Laser print: thin grey lines and stems come out as rows of dots."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage

THIN = 0.32  # staff spaces; what is thicker is printed solid
LONG = 0.9  # staff spaces; what is shorter is no line
DOTS = (3.0, 12.0)  # a staff space
FINER = 8  # samples a px, so that dots smaller than a pixel average out as they do in a camera


def dotted(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    pitch = space / float(rng.uniform(*DOTS))
    inked, slant = float(rng.uniform(0.35, 0.65)), float(rng.uniform(-1, 1))
    ink = 255 - picture
    thin, long = max(2, round(THIN * space)), max(3, round(LONG * space))
    for axis in (0, 1):
        size = picture.shape[1 - axis]
        lines = _lines(ink, thin, long, axis)
        dots = _dots(size, pitch, inked, float(rng.uniform(0, pitch)))
        # The printer's screen lies askew, so the dots of neighbouring lines don't stand above one another.
        shift = np.round(slant * np.arange(picture.shape[axis])).astype(np.int64)
        places = (np.arange(size)[None, :] + shift[:, None]) % size
        gone = (1 - dots)[places] if axis == 0 else (1 - dots)[places].T
        ink = ink - min(strength, 1.0) * lines * gone
    return (255 - ink).astype(np.float32)


def _lines(ink: np.ndarray, thin: int, long: int, axis: int) -> np.ndarray:
    """The ink of thin lines along the rows (axis 0) or the columns (axis 1)."""
    across, along = ((1, thin), (long, 1)) if axis == 0 else ((thin, 1), (1, long))
    solid = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones(across[::-1], np.uint8))
    lines = cv2.morphologyEx(ink - solid, cv2.MORPH_OPEN, np.ones(along[::-1], np.uint8))
    # The soft edges of heads and beams are thin as well, and stay.
    return lines * (1 - np.minimum(cv2.dilate(solid, np.ones((3, 3), np.uint8)) / 128, 1))


def _dots(size: int, pitch: float, inked: float, phase: float) -> np.ndarray:
    """The share of ink that each px of a line keeps."""
    places = (np.arange(size * FINER) + 0.5) / FINER + phase
    return (places % pitch < inked * pitch).astype(np.float32).reshape(size, FINER).mean(axis=1)


DEGRADATION = Change(Stage.INK, "share of the ink lost between the dots", dotted)
