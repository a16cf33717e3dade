"""Words on a picture, in fonts that come with the packages we need anyway, so that every machine draws the same.

resvg would take whatever fonts a system has. Liberation Serif comes with Verovio (WOFF2 in a style sheet), Aileron with
Pillow.
"""

from __future__ import annotations

import base64
import functools
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import verovio
from PIL import Image, ImageDraw, ImageFont

FAMILIES = ("serif", "sans")


@dataclass(frozen=True)
class Word:
    """A word at its baseline, in px; `anchor` is Pillow's: "ls" left, "ms" middle, "rs" right."""

    text: str
    x: float
    y: float
    size: float
    anchor: str = "ls"
    bold: bool = False
    italic: bool = False


@functools.cache
def _serif_files() -> list[bytes]:
    """Liberation Serif: regular, bold, italic, bold italic."""
    sheet = Path(verovio.__file__).parent / "data" / "Liberation.css"
    return [base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", sheet.read_text())]


@functools.lru_cache(maxsize=256)
def font(family: str, size: float, bold: bool = False, italic: bool = False) -> ImageFont.FreeTypeFont:
    """A font of one of FAMILIES; `size` in px; sans has one style."""
    if family == "serif":
        return ImageFont.truetype(io.BytesIO(_serif_files()[bold + 2 * italic]), size)
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)
    return loaded


def draw_words(picture: np.ndarray, words: list[Word], family: str) -> np.ndarray:
    """The picture (uint8 grey) with words in black."""
    if not words:
        return picture
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for word in words:
        face = font(family, round(word.size * 4) / 4, word.bold, word.italic)
        pen.text((word.x, word.y), word.text, fill=0, font=face, anchor=word.anchor)
    return np.array(image)
