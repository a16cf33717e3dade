"""The fixed recipe of the degraded held-out set, `--degrade photo`: every effect at full strength; only its direction
is random.

Models are compared on these pictures, so the recipe never changes. It shares nothing with the steps in `degradations/`,
which may change. It draws from the generator more often than it needs to, because the code behind the first figures did
so, and equal seeds must keep giving equal pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

ROTATION, PERSPECTIVE = 2.0, 0.04  # degrees; shift of a corner, share of the height
LIGHT, NOISE, QUALITY = 0.4, 4.0, 30  # share of light lost at one side; sigma in grey levels; of the JPEG file
BLUR = 0.15  # sigma in staff spaces
SIDE = 24  # px of white paper added left and right

XMap = Callable[[np.ndarray], np.ndarray]


def photo(image: np.ndarray, rng: np.random.Generator, space: float) -> tuple[np.ndarray, XMap]:
    """The picture on a canvas tall enough for the rotation, degraded; and where its x go (see `degrade`)."""
    lift = round(image.shape[1] / 2 * np.sin(np.radians(ROTATION)) + PERSPECTIVE * image.shape[0]) + 8
    paper = cv2.copyMakeBorder(image, lift, lift, SIDE, SIDE, cv2.BORDER_CONSTANT, value=(255,))
    height, width = paper.shape
    warp = _camera(height, width, rng)
    rng.uniform(size=2)
    picture = cv2.remap(
        paper, *_sources(warp, height, width), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(255,)
    ).astype(np.float32)
    _sign(rng)
    rng.random()
    side = float(rng.uniform(0, 2 * np.pi))
    across, down = np.cos(side) * np.linspace(-1, 1, width), np.sin(side) * np.linspace(-1, 1, height)
    slope = (across[None, :] + down[:, None]) / (abs(np.cos(side)) + abs(np.sin(side)))
    lit = np.asarray(picture * (1 - LIGHT * (slope + 1) / 2), np.float32)
    blurred = cv2.GaussianBlur(lit, (0, 0), BLUR * space)
    grain = rng.standard_normal((height, width)).astype(np.float32)
    if rng.random() < 0.4:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2
    seen = np.clip(blurred + NOISE * grain, 0, 255).astype(np.uint8)
    file = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]

    def x_map(points: np.ndarray) -> np.ndarray:
        row = np.stack([points + SIDE, np.full_like(points, height / 2), np.ones_like(points)]).astype(np.float64)
        x, _, depth = warp @ row
        return np.asarray(x / depth)

    return cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), x_map


def _sign(rng: np.random.Generator) -> float:
    return float(rng.choice([-1, 1]))


def _camera(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Rotation about the middle, then every corner moved in x and in y, as a 3x3 matrix."""
    angle = np.radians(ROTATION * _sign(rng))
    _sign(rng)
    centre = np.array([width / 2, height / 2])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - centre) @ turn.T + centre
    sway = PERSPECTIVE * height
    moved += np.array([[sway * _sign(rng), sway * _sign(rng)] for _ in range(4)])
    for _ in range(2):
        _sign(rng)
    return cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))


def _sources(warp: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from: x and y, float32 [height, width]."""
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    back = np.linalg.inv(warp)
    depth = back[2, 0] * xs + back[2, 1] * ys + back[2, 2]
    map_x = (back[0, 0] * xs + back[0, 1] * ys + back[0, 2]) / depth
    map_y = (back[1, 0] * xs + back[1, 1] * ys + back[1, 2]) / depth
    return map_x.astype(np.float32), map_y.astype(np.float32)
