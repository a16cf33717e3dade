"""Files to grey pages: every picture format Pillow reads, every page of a PDF.

Whatever is wrong with a file ends in one sentence that names it.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from ..errors import InputError
from .geometry import Grey

PDF_DPI = 200  # a staff space of a usual print (1.75 mm) is then 14 px: twice what the network is given
MAX_PIXELS = 150_000_000  # an A3 page at 1,000 dpi; more is a decompression bomb or a mistake
KINDS = "PNG, JPEG, TIFF, BMP, GIF, WebP or PDF"
# What Pillow raises on damaged files, by format; it promises nothing narrower.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error)


def load_pages(path: str | Path, dpi: int = PDF_DPI) -> list[Grey]:
    """All pages of a file at once; see `iter_pages`."""
    return list(iter_pages(path, dpi))


def iter_pages(path: str | Path, dpi: int = PDF_DPI) -> Iterator[Grey]:
    """The pages of a file, one in memory at a time.

    Args:
        path: picture or PDF. EXIF orientation is honoured; transparency lies on white paper.
        dpi: resolution at which PDF pages are drawn.

    Yields:
        uint8 [H, W] a page, 0 black, 255 white.

    Raises:
        InputError: no such file, no picture, damaged, too large, empty or locked.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file ({KINDS})")
    if not path.exists():
        raise InputError(f"there is no file {path}; check the path")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise InputError(f"{path} can't be opened ({error.strerror}); check its permissions") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes); expected {KINDS}")
    if b"%PDF-" in head or path.suffix.lower() == ".pdf":
        yield from _pdf_pages(path, dpi)
    else:
        yield from _picture_pages(path)


def _picture_pages(path: Path) -> Iterator[Grey]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning starts below our limit
            with Image.open(path) as picture:
                _check_size(path, *picture.size)
                for frame in ImageSequence.Iterator(picture):
                    yield _grey(frame)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} has more than {MAX_PIXELS:,} pixels; scale it down first") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a picture that can be read; expected {KINDS}") from error
    except DAMAGED as error:
        raise InputError(f"{path} is damaged or cut short; save or copy it again") from error


def _check_size(path: Path, width: float, height: float) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path} is {width:,.0f} x {height:,.0f} pixels; at most {MAX_PIXELS:,} can be read: scale it down"
        )


def _grey(frame: Image.Image) -> Grey:
    """One frame as 8-bit grey, upright, on white paper."""
    frame.load()
    picture = ImageOps.exif_transpose(frame)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _from_deep(np.asarray(picture))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(paper, picture)
    if picture.mode not in ("1", "L"):
        picture = picture.convert("RGB")
    return np.array(picture.convert("L"), dtype=np.uint8)


def _from_deep(pixels: NDArray[Any]) -> Grey:
    """16-bit, 32-bit or floating-point grey as 8 bits."""
    values = np.nan_to_num(pixels.astype(np.float32))
    top = float(values.max(initial=0.0))
    full = next((bound for bound in (1.0, 255.0, 65535.0) if top <= bound), top)
    if pixels.dtype == np.uint16 or (pixels.dtype.kind == "i" and top > 255):
        full = max(full, 65535.0)
    return np.asarray(np.clip(values * (255.0 / full), 0, 255).round(), dtype=np.uint8)


def _pdf_pages(path: Path, dpi: int) -> Iterator[Grey]:
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        # PDFium 5.15 reports nothing for a file without pages, and its last error may be an earlier file's.
        if "password" in str(error).lower() and b"/Encrypt" in path.read_bytes():
            raise InputError(f"{path} is protected by a password; save a copy without one") from error
        raise InputError(f"{path} is damaged or has no pages; expected a PDF with at least one") from error
    try:
        for index in range(len(document)):
            yield _pdf_page(path, document, index, dpi)
    finally:
        document.close()


def _pdf_page(path: Path, document: pypdfium2.PdfDocument, index: int, dpi: int) -> Grey:
    try:
        page = document[index]
        width, height = page.get_size()
        _check_size(path, width * dpi / 72, height * dpi / 72)
        bitmap = page.render(scale=dpi / 72, grayscale=True)
        pixels = np.array(bitmap.to_numpy(), dtype=np.uint8)
    except pypdfium2.PdfiumError as error:
        raise InputError(f"page {index + 1} of {path} is damaged; save the PDF again") from error
    return pixels[:, :, 0] if pixels.ndim == 3 else pixels
