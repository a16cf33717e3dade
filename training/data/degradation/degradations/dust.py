"""Specks, light and dark, and hairs on the page or on the scanner's glass."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage

FINE = 4  # bits of a pixel that OpenCV draws with
GREYS = (40, 90, 150, 250)
HAIRS = 0.08  # for each speck


def dusty(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    height, width = picture.shape
    count = strength * height * width / space**2 / 100
    before = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    out = before.copy()
    for _ in range(rng.poisson(count)):
        centre = _fine(rng.uniform((0, 0), (width, height)))
        radius, grey = float(rng.uniform(0.06, 0.17)) * space, GREYS[int(rng.integers(len(GREYS)))]
        cv2.circle(out, tuple(centre), int(radius * 2**FINE), grey, -1, cv2.LINE_AA, FINE)
    thick = max(1, round(0.12 * space))
    for _ in range(rng.poisson(HAIRS * count)):
        length = float(rng.uniform(0.15, 0.6)) * space
        turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.5, 6))
        steps = length * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        hair = _fine(rng.uniform((0, 0), (width, height)) + np.cumsum(steps, axis=0))
        cv2.polylines(out, [hair[:, None]], False, int(rng.uniform(60, 170)), thick, cv2.LINE_AA, FINE)
    return np.where(out == before, picture, out).astype(np.float32)


def _fine(place: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(place) * 2**FINE).astype(np.int32)


DEGRADATION = Change(Stage.PAPER, "specks on 100 square staff spaces", dusty)
