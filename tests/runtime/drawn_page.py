"""A page of five-line staves with something like notes on them, drawn at known places."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
SHARPER = 8  # drawn larger and averaged, so that lines fall between pixels as in a scan


@dataclass(frozen=True)
class DrawnStaff:
    """Where a staff was drawn, in px."""

    left: float
    right: float
    middle: float
    space: float


def draw_page(
    staves: int, space: float, seed: int = 0, length: float = 70.0, apart: float = 13.0, grey: int = 0
) -> tuple[Grey, list[DrawnStaff]]:
    """A white page.

    Args:
        staves: how many, one below the other.
        space: staff space in px.
        seed: of the notes.
        length: of a staff, in staff spaces.
        apart: from middle line to middle line, in staff spaces.
        grey: of the staff lines; the notes are black.

    Returns:
        The page and its staves from top to bottom.
    """
    rng = np.random.default_rng(seed)
    width = round((length + 12) * space)
    height = round((apart * staves + 6) * space)
    scale = max(1, round(SHARPER * 4 / space))
    page = np.full((height * scale, width * scale), 255, np.uint8)
    drawn = []
    for number in range(staves):
        middle = (number + 0.5) * apart + 3
        last = length if number < staves - 1 else 0.6 * length  # the last system is often short
        _draw_staff(page, 6.0, middle, last, space * scale, rng, grey)
        drawn.append(DrawnStaff(6 * space - 0.5, (6 + last) * space - 0.5, middle * space - 0.5, space))
    small = cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), drawn


def _draw_staff(
    page: Grey, left: float, middle: float, length: float, unit: float, rng: np.random.Generator, grey: int
) -> None:
    def rectangle(x0: float, y0: float, x1: float, y1: float, level: int = 0) -> None:
        # Places are edges here, while OpenCV counts both end pixels in.
        corners = [round(v * unit) for v in (x0, y0, x1, y1)]
        page[corners[1] : max(corners[3], corners[1] + 1), corners[0] : max(corners[2], corners[0] + 1)] = level

    def head(x: float, y: float) -> None:
        centre = (round(x * unit), round(y * unit))
        cv2.ellipse(page, centre, (round(0.62 * unit), round(0.45 * unit)), -20, 0, 360, (0,), -1)

    for line in (-2, -1, 0, 1, 2):
        rectangle(left, middle + line - 0.06, left + length, middle + line + 0.06, grey)
    cv2.ellipse(
        page, (round((left + 2) * unit), round(middle * unit)), (round(unit), round(2.2 * unit)), 10, 0, 330, (0,),
        round(0.35 * unit),
    )  # fmt: skip
    rectangle(left + length - 0.15, middle - 2, left + length, middle + 2)
    x = left + 5.0
    while x < left + length - 7:
        heights = middle + rng.integers(-5, 6, int(rng.integers(1, 5))) / 2
        for number, y in enumerate(heights):
            head(x + 1.6 * number, y)
            rectangle(x + 1.6 * number + 0.5, y - 3.4, x + 1.6 * number + 0.62, y)
        if len(heights) > 1:  # a beam, as dark and as thick as they come
            top = float(heights.min()) - 3.4
            rectangle(x + 0.5, top, x + 1.6 * (len(heights) - 1) + 0.62, top + 0.5)
        x += 1.6 * len(heights) + 1.5
        if rng.random() < 0.3:
            rectangle(x, middle - 2, x + 0.12, middle + 2)
            x += 1.2
