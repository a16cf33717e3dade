"""Draws on a page which systems were found and what was read in them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .page.geometry import Grey
from .reading.reader import Page, SystemReading

COLOURS = ((40, 40, 220), (200, 90, 0), (30, 140, 30), (180, 40, 160), (0, 120, 220))  # blue, green, red
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(grey: Grey, page: Page) -> NDArray[np.uint8]:
    """Outlines, numbers, confidences and readings over a page.

    Args:
        grey: the page as it was given to the reader.
        page: what the reader found.

    Returns:
        uint8 [H, W, 3], blue, green, red.
    """
    upright = np.ascontiguousarray(np.rot90(grey, -page.turned))
    # The page fades so that the drawing stands out.
    faded = (112 + upright * 0.56).astype(np.uint8)
    picture: NDArray[np.uint8] = np.repeat(faded[:, :, None], 3, axis=2)
    for number, system in enumerate(page.systems, 1):
        _draw_system(picture, number, system)
    return picture


def png(grey: Grey, page: Page) -> bytes:
    """`draw` as a PNG file."""
    return bytes(cv2.imencode(".png", draw(grey, page))[1].tobytes())


def _draw_system(picture: NDArray[np.uint8], number: int, system: SystemReading) -> None:
    left, top, right, bottom = system.box
    outline = system.outline or ((left, top), (right, top), (right, bottom), (left, bottom))
    points = np.array(outline, np.int32)
    # A tilted staff's box is much taller than the staff; its left end is not.
    start = points[points[:, 0] < points[:, 0].min() + 2]
    tall = max(8, int(np.ptp(start[:, 1])))
    colour = COLOURS[number % len(COLOURS)]
    thick = max(1, tall // 40)
    cv2.polylines(picture, [points], True, colour, thick, cv2.LINE_AA)
    size = tall / 150
    x, above, below = int(start[:, 0].min()), int(start[:, 1].min()), int(start[:, 1].max())
    label = f"{number}   {100 * system.confidence:.0f} %"
    cv2.putText(picture, label, (x, above - round(0.04 * tall)), FONT, size, colour, 1 + thick // 2, cv2.LINE_AA)
    rows = _wrapped(_body(system.abc), int(np.ptp(points[:, 0])), size)
    for row, text in enumerate(rows):
        place = (x, below + round((0.2 + 0.2 * row) * tall))
        cv2.putText(picture, text, place, FONT, size, (0, 0, 0), 1, cv2.LINE_AA)


def _body(abc: str) -> str:
    """The music without its header's constant lines, in the letters OpenCV can draw."""
    lines = [line for line in abc.splitlines() if not line.startswith(("X:", "L:"))]
    return " ".join(lines).encode("ascii", "replace").decode()


def _wrapped(text: str, width: int, size: float, most: int = 2) -> Sequence[str]:
    """The text in lines that fit a width, cut after `most` lines."""
    letter = max(1.0, cv2.getTextSize("A2B2c2d2|" * 4, FONT, size, 1)[0][0] / 36)
    count = max(8, int(width / letter))
    rows = [text[start : start + count] for start in range(0, len(text), count)]
    return rows if len(rows) <= most else [*rows[: most - 1], rows[most - 1][:-3] + "..."]
