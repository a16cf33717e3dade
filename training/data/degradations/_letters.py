"""Words as pictures, in the fonts that come with the packages: Liberation Serif (Verovio), Aileron (Pillow)."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import verovio
from PIL import Image, ImageDraw, ImageFont

FINE = 40  # px of an em when letters are drawn, before they are brought to size: smooth at any size
STYLES = ("serif", "serif bold", "serif italic", "serif bold italic", "sans")  # in the order of the files


@cache
def font(style: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of STYLES, FINE px an em."""
    if style == "sans":
        return ImageFont.load_default(FINE)
    rules = (Path(verovio.__file__).parent / "data" / "Liberation.css").read_text(encoding="utf-8")
    files = re.findall(r"base64,([A-Za-z0-9+/=]+)", rules)
    return ImageFont.truetype(io.BytesIO(base64.b64decode(files[STYLES.index(style)])), FINE)


def word(text: str, style: str, size: float, width: float = 1.0) -> np.ndarray:
    """Ink of a word, float32 [H, W] from 0 to 1, cut close around it.

    Args:
        text: Latin letters; `sans` has none with accents.
        style: one of STYLES.
        size: px of an em.
        width: of the letters, 1 is the font's own.
    """
    left, top, right, bottom = font(style).getbbox(text)
    canvas = Image.new("L", (int(right - left) + 1, int(bottom - top) + 1))
    ImageDraw.Draw(canvas).text((-left, -top), text, fill=255, font=font(style))
    drawn = np.asarray(canvas, np.float32) / 255
    wanted = max(1, round(drawn.shape[1] * width * size / FINE)), max(1, round(drawn.shape[0] * size / FINE))
    return np.asarray(cv2.resize(drawn, wanted, interpolation=cv2.INTER_AREA))
