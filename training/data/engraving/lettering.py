"""Draws words on a picture, in fonts that come with packages we need anyway, so that every machine draws the same.

resvg would take whatever fonts a system has. Liberation Serif comes with Verovio (WOFF2 in a style sheet), Aileron with
Pillow.
"""

from __future__ import annotations

import base64
import functools
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import verovio
from PIL import Image, ImageDraw, ImageFont

STYLES = ("serif", "serif bold", "serif italic", "serif bold italic", "sans")  # serif: in the order of the files
FINE = 40  # px of an em when letters are drawn, before they are brought to size: smooth at any size


@dataclass(frozen=True)
class Word:
    """A word at its baseline, in px or a drawing's units; `anchor` is Pillow's: "ls" left, "ms" middle, "rs" right."""

    text: str
    x: float
    y: float
    size: float
    anchor: str = "ls"
    bold: bool = False
    italic: bool = False

    def moved(self, scale: float, left: float, top: float) -> Word:
        """The same in pixels of a picture, with the drawing's origin at (left, top)."""
        return replace(self, x=left + self.x * scale, y=top + self.y * scale, size=self.size * scale)


@functools.cache
def _serif_files() -> list[bytes]:
    sheet = Path(verovio.__file__).parent / "data" / "Liberation.css"
    return [base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", sheet.read_text())]


@functools.lru_cache(maxsize=256)
def font(style: str, size: float) -> ImageFont.FreeTypeFont:
    """A font of one of STYLES; `size` is px an em."""
    if style != "sans":
        return ImageFont.truetype(io.BytesIO(_serif_files()[STYLES.index(style)]), size)
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)
    return loaded


def draw_words(picture: np.ndarray, words: list[Word], family: str) -> np.ndarray:
    """The picture (uint8 grey) with words in black; `family` is "serif" or "sans"."""
    if not words:
        return picture
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for word in words:
        style = f"serif{' bold' * word.bold}{' italic' * word.italic}" if family == "serif" else family
        face = font(style, round(word.size * 4) / 4)
        pen.text((word.x, word.y), word.text, fill=0, font=face, anchor=word.anchor)
    return np.array(image)


def word_ink(text: str, style: str, size: float, width: float = 1.0) -> np.ndarray:
    """Ink of a word, float32 [H, W] from 0 to 1, cut close around it.

    Args:
        text: Latin letters; `sans` has none with accents.
        style: one of STYLES.
        size: px of an em.
        width: of the letters, 1 is the font's own.
    """
    drawn = _fine_ink(text, style).astype(np.float32) / 255
    wanted = max(1, round(drawn.shape[1] * width * size / FINE)), max(1, round(drawn.shape[0] * size / FINE))
    return np.asarray(cv2.resize(drawn, wanted, interpolation=cv2.INTER_AREA))


@functools.lru_cache(maxsize=1024)  # 5 kB each
def _fine_ink(text: str, style: str) -> np.ndarray:
    """Ink of a word FINE px an em, uint8."""
    face = font(style, FINE)
    left, top, right, bottom = face.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 1, int(bottom - top) + 1))
    ImageDraw.Draw(canvas).text((-left, -top), text, fill=255, font=face)
    return np.array(canvas)
