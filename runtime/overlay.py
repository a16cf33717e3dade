"""A page with the systems that were found drawn on it: what was read, and where."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Grey
from .reader import Page, SystemReading

COLOURS = ((40, 40, 220), (200, 90, 0), (30, 140, 30), (180, 40, 160), (0, 120, 220))  # blue, green, red
FONT = cv2.FONT_HERSHEY_SIMPLEX
MARGIN = 0.8  # staff heights around the lines


def draw(grey: Grey, page: Page) -> NDArray[np.uint8]:
    """Boxes, numbers and readings over a page.

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
    tall = bottom - top
    around = round(MARGIN * tall)
    colour = COLOURS[number % len(COLOURS)]
    thick = max(1, tall // 20)
    corners = (max(0, left - tall // 3), max(0, top - around)), (right + tall // 3, bottom + around)
    cv2.rectangle(picture, *corners, colour, thick)
    size = tall / 60
    label = f"{number}  {100 * system.confidence:.0f} %"
    cv2.putText(picture, label, (corners[0][0], corners[0][1] - thick - 2), FONT, size, colour, thick)
    words = _wrapped(_body(system.abc), corners[1][0] - corners[0][0], size)
    for row, text in enumerate(words):
        place = (corners[0][0], corners[1][1] + round((row + 1) * tall / 2))
        cv2.putText(picture, text, place, FONT, size * 0.8, (0, 0, 0), max(1, thick // 2))


def _body(abc: str) -> str:
    """The music without its header, in the letters OpenCV can draw."""
    lines = [line for line in abc.splitlines() if not (len(line) > 1 and line[0] in "XL" and line[1] == ":")]
    return " ".join(lines).encode("ascii", "replace").decode()


def _wrapped(text: str, width: int, size: float, most: int = 2) -> Sequence[str]:
    """The text in lines that fit a width, cut after `most` lines."""
    letter = max(1.0, cv2.getTextSize("m" * 20, FONT, size * 0.8, 1)[0][0] / 26)
    count = max(8, int(width / letter))
    rows = [text[start : start + count] for start in range(0, len(text), count)]
    return rows if len(rows) <= most else [*rows[: most - 1], rows[most - 1][:-3] + "..."]
