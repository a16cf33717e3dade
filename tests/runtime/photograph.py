"""What a phone camera does to a page: rotation, perspective, a wave in the paper, falling light, blur, noise, JPEG.

Run `python -m tests.runtime.photograph PAGE.png PHOTO.jpg [SEED]` to make one; that is how `tests/data/demo_photo.jpg`
was made from `demo.png` with seed 5.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Points = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


def photograph(page: Grey, rng: np.random.Generator, space: float, rotation: float = 5.0) -> tuple[Grey, Points]:
    """A photo of a page lying on a rough table.

    Args:
        page: black on white.
        rng: draws the strengths.
        space: staff space of the page in px; blur is measured in it.
        rotation: largest angle in degrees.

    Returns:
        The photo, a tenth larger than the page, and a function from places on the page to places on the photo.
    """
    border = round(0.06 * page.shape[1])
    paper = cv2.copyMakeBorder(page, border, border, border, border, cv2.BORDER_CONSTANT, value=(255,))
    height, width = paper.shape
    matrix = _camera(width, height, rng, rotation)
    wave, length, phase = rng.uniform(0, 0.006) * height, rng.uniform(0.7, 1.6) * width, rng.uniform(0, 2 * np.pi)

    def bend(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return wave * np.sin(2 * np.pi * x / length + phase)

    def places(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        u, v, w = matrix @ np.stack([x + border, y + border, np.ones_like(x)])
        return u / w, v / w + bend(u / w)

    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    back = np.linalg.inv(matrix) @ np.stack([columns.ravel(), (rows - bend(columns)).ravel(), np.ones(columns.size)])
    maps = [(back[axis] / back[2]).reshape(height, width).astype(np.float32) for axis in (0, 1)]
    seen = cv2.remap(paper, *maps, cv2.INTER_LINEAR, borderValue=(255,)).astype(np.float64)
    on_paper = cv2.remap(np.full_like(paper, 255), *maps, cv2.INTER_LINEAR, borderValue=(0,)) / 255.0
    coarse = cv2.GaussianBlur(rng.normal(0, 1, (height // 4 + 1, width // 4 + 1)), (0, 0), 1.2)
    table = 90 + 30 * cv2.resize(coarse / coarse.std(), (width, height)) + rng.normal(0, 20, (height, width))
    picture = (60 + seen * 185 / 255) * on_paper + table * (1 - on_paper)
    picture *= _light(columns / width, rows / height, rng)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.08, 0.16) * space)
    picture += rng.normal(0, rng.uniform(2, 6), picture.shape)
    small = np.clip(picture, 0, 255).astype(np.uint8)
    file = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 80))])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8), places


def _camera(width: int, height: int, rng: np.random.Generator, rotation: float) -> NDArray[np.float64]:
    """Rotation about the middle, then corners moved by up to 4 %."""
    turn = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-rotation, rotation), 1), [0, 0, 1]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.04, 0.04, (4, 2)).astype(np.float32) * np.array([width, height], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners, moved) @ turn, np.float64)


def _light(
    x: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Falls off by 45 % across the picture, and a hand's shadow takes up to 30 % more."""
    angle = rng.uniform(0, 2 * np.pi)
    slope = 1 - 0.45 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5)
    across, down = rng.uniform(0, 1, 2)
    return slope * (1 - 0.3 * np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * 0.2**2)))


if __name__ == "__main__":
    source = np.asarray(cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE), np.uint8)
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    photo, _ = photograph(source, np.random.default_rng(seed), 11.7)
    Path(sys.argv[2]).write_bytes(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes())
