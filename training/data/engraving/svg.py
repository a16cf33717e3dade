"""Turns an engraver's SVG into a picture. If the engraver says where its staff is, scales it to our size without the
staff finder."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import resvg_py
from PIL import Image

from training.data.engraving.engraver import HEIGHT, STAFF_SPACE, EngraveError

HAIRLINES = re.compile(
    r"#\w+ ellipse, #\w+ path, #\w+ polygon, #\w+ polyline, #\w+ rect \{stroke: ?currentColor;?\}"
)


@dataclass(frozen=True)
class Frame:
    """The part of a drawing that becomes the picture: 7 px a staff space, the middle line near row 48.

    Attributes:
        left: x of the staff's left end, in the drawing's units, as are `right`, `middle` and `space`.
        right: x of its right end.
        middle: y of its middle line.
        space: from one staff line to the next.
        jitter: how far below row 48 the middle line is, in px.
        margin: paper left and right of the staff, in px.
        height: of the picture, in px.
    """

    left: float
    right: float
    middle: float
    space: float
    jitter: float
    margin: float
    height: int = HEIGHT

    @property
    def scale(self) -> float:
        """Pixels a unit."""
        return STAFF_SPACE / self.space

    @property
    def top(self) -> float:
        """y of the picture's upper edge."""
        return self.middle - (self.height / 2 + self.jitter) / self.scale

    @property
    def bottom(self) -> float:
        """y of its lower edge."""
        return self.top + self.height / self.scale

    @property
    def attributes(self) -> str:
        """What the SVG's root says to show this frame and nothing else."""
        width = round((self.right - self.left) * self.scale + 2 * self.margin)
        box = (self.left - self.margin / self.scale, self.top, width / self.scale, self.height / self.scale)
        view = " ".join(f"{number:.3f}" for number in box)
        return f'width="{width}px" height="{self.height}px" viewBox="{view}"'

    def column(self, x: float) -> float:
        """Pixels from the picture's left edge."""
        return self.margin + (x - self.left) * self.scale


def pixels(svg: str, font_files: Sequence[str] = (), family: str | None = None) -> np.ndarray:
    """An SVG as uint8 grey on white paper; text is drawn with `font_files` alone, so that all machines draw it alike.

    Args:
        svg: the drawing; its root's width and height are the picture's.
        font_files: fonts that its text may use.
        family: of them, the one that draws `serif` and every family that isn't there.
    """
    png = resvg_py.svg_to_bytes(
        svg_string=svg, background="white", skip_system_fonts=True, font_files=list(font_files) or None,
        font_family=family, serif_family=family,
    )  # fmt: skip
    return np.array(Image.open(io.BytesIO(bytes(png))).convert("L"))


def whole_line(
    svg: str, size: re.Pattern[str], frame: Frame, font_files: Sequence[str] = (), family: str | None = None
) -> np.ndarray:
    """Draw a line, and check that nothing is above or below the picture.

    Args:
        svg: the drawing.
        size: matches what its root says of its size.
        frame: the picture.
        font_files: see `pixels`.
        family: see `pixels`.

    Raises:
        EngraveError: something would be cut off.
    """
    edge = HEIGHT
    tall = replace(frame, height=frame.height + 2 * edge)
    image = pixels(size.sub(tall.attributes, svg, count=1), font_files, family)
    if min(image[:edge].min(), image[-edge:].min()) < 200:
        raise EngraveError("higher than the picture")
    return image[edge:-edge]


def without_hairlines(svg: str) -> str:
    """Verovio's SVG (6.4) drawn in two thirds of the time.

    Verovio's style sheet strokes every shape, so each glyph also gets an outline of a hundredth of a pixel. Here only
    shapes that give their line a width are stroked.
    """
    return HAIRLINES.sub("", svg).replace(' stroke-width="', ' stroke="currentColor" stroke-width="')
