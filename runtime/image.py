"""Pictures in, arrays for the network out: loading pages, scaling one line, batching lines.

Training, evaluation, export and the reader all call `prepare` and `batch`, so nothing here knows about any of
them. How a line is prepared is data (`Preparation`) that travels in the configuration and the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError
from .geometry import WHITE, Grey, StaffGeometry, straighten
from .load import iter_pages, load_pages

__all__ = ["Preparation", "batch", "bucket_for", "iter_pages", "load_pages", "prepare", "whiten"]

MODES = ("staff_space", "height")
POCKET_WIDTHS = (192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 1024, 1280)
# White px that follow a line in its bucket. Of 200 lines, all that had 24 or more read the same in their bucket and in
# the next one; of those with less than 8, 79 % did.
MARGIN = 24
# A line reaches 4.86 staff spaces above and below its five lines: room for ledger lines, slurs and no text.
SPACES_HIGH = 96 / 7


@dataclass(frozen=True)
class Preparation:
    """How a picture of one line is brought to what the network was trained on.

    Attributes:
        mode: `staff_space` (scaled until a staff space is `staff_space` px, then cut or padded to `height`)
            or `height` (scaled to `height`).
        height: height in px.
        staff_space: staff space in px; 0 in mode `height`.
        channels: 1 or 3 (the same grey three times).
        width_multiple: every width bucket is a multiple of this, in px.
        width_buckets: widths a batch may have in px, ascending.
        mean: subtracted after scaling to 0..1.
        std: divided by after that.
        whiten: divide by the paper's brightness, so that paper is white and light is even.
    """

    mode: str = "staff_space"
    height: int = 96
    staff_space: float = 7.0
    channels: int = 1
    width_multiple: int = 8
    width_buckets: tuple[int, ...] = POCKET_WIDTHS
    mean: float = 0.5
    std: float = 0.5
    whiten: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"preparation mode {self.mode!r} is unknown; use one of {', '.join(MODES)}")
        if self.mode == "staff_space" and self.staff_space <= 0:
            raise ConfigError(f"staff_space is {self.staff_space}; mode staff_space needs a positive number")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels is {self.channels}; pictures have 1 or 3")
        buckets = self.width_buckets
        if not buckets or list(buckets) != sorted(set(buckets)):
            raise ConfigError(f"width_buckets is {buckets}; give at least one width in px, ascending")
        odd = [width for width in buckets if width % self.width_multiple]
        if odd:
            raise ConfigError(f"width bucket {odd[0]} is no multiple of width_multiple {self.width_multiple}")

    @property
    def line_space(self) -> float:
        """Staff space in px that `prepare` aims at; in mode `height` the same framing fills the height."""
        return self.staff_space if self.mode == "staff_space" else self.height / SPACES_HIGH

    def to_dict(self) -> dict[str, Any]:
        """As plain data for a manifest or configuration."""
        return {**asdict(self), "width_buckets": list(self.width_buckets)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preparation:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: an unknown key or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(f"preparation has no field {unknown[0]!r} (known: {', '.join(sorted(known))})")
        values = dict(data)
        if "width_buckets" in values:
            values["width_buckets"] = tuple(int(width) for width in values["width_buckets"])
        return cls(**values)


def whiten(grey: Grey, window: int) -> Grey:
    """Divides by the paper's brightness: paper becomes white, shadows and falling light go.

    Args:
        grey: picture.
        window: side in px of a square that no ink fills; three staff spaces are enough, since noteheads and
            beams are thinner than that in one direction.

    Returns:
        Picture of the same shape; one with white paper stays as it is.
    """
    smooth = cv2.blur(grey, (3, 3), borderType=cv2.BORDER_REPLICATE)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (window, window))
    paper = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    paper = cv2.blur(paper, (window, window), borderType=cv2.BORDER_REPLICATE)
    # Paper darker than this is no paper (a black border, a table), and dividing by it would only raise noise.
    return np.asarray(cv2.divide(grey, np.maximum(paper, 32).astype(np.uint8), scale=WHITE), dtype=np.uint8)


def prepare(line_grey: Grey, p: Preparation, staff: StaffGeometry | None = None) -> Grey:
    """Scales one line and places it vertically, as the network wants it.

    Args:
        line_grey: picture; with `staff` it may be the whole page.
        p: what the network was trained on.
        staff: where the staff lies (`runtime.page.find_staff` or `find_systems`). The line is then
            straightened along it, with the middle line on `height / 2`. Without it the picture counts as framed
            already and is only scaled to the height: right for pictures we engraved ourselves.

    Returns:
        uint8 [p.height, W].
    """
    line = straighten(line_grey, staff, p.line_space, p.height) if staff else _scaled(line_grey, p.height)
    return whiten(line, 2 * round(1.5 * p.line_space) + 1) if p.whiten else line


def bucket_for(width: int, p: Preparation) -> int:
    """The smallest bucket that holds `width` px and the margin after it, or the widest one there is."""
    return next((bucket for bucket in p.width_buckets if bucket >= width + MARGIN), p.width_buckets[-1])


def batch(lines: Sequence[Grey], p: Preparation) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prepared lines as one input of the encoder.

    Args:
        lines: results of `prepare`, at least one.
        p: the same preparation.

    Returns:
        image float32 [B, C, H, W] padded with white paper on the right to the smallest bucket that holds the
        widest line (a line wider than the last bucket is scaled down to it), and the widths before padding,
        int32 [B].
    """
    assert lines, "a batch needs at least one line"
    bucket = bucket_for(max(line.shape[1] for line in lines), p)
    canvas = np.full((len(lines), p.height, bucket), WHITE, np.uint8)
    widths = np.empty(len(lines), np.int32)
    for row, line in enumerate(lines):
        assert line.shape[0] == p.height, f"line is {line.shape[0]} px high, prepared lines have {p.height}"
        fitted = _narrowed(line, bucket)
        widths[row] = fitted.shape[1]
        canvas[row, :, : fitted.shape[1]] = fitted
    image = (canvas.astype(np.float32) / WHITE - p.mean) / p.std
    return np.repeat(image[:, None], p.channels, axis=1).astype(np.float32, copy=False), widths


def _scaled(grey: Grey, height: int) -> Grey:
    if grey.shape[0] == height:
        return grey
    width = max(1, round(grey.shape[1] * height / grey.shape[0]))
    method = cv2.INTER_AREA if height < grey.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, (width, height), interpolation=method), dtype=np.uint8)


def _narrowed(line: Grey, bucket: int) -> Grey:
    """A line that is too wide, scaled down in both directions and centred on white paper."""
    height, width = line.shape
    if width <= bucket:
        return line
    smaller = max(1, round(height * bucket / width))
    fitted = np.full((height, bucket), WHITE, np.uint8)
    top = (height - smaller) // 2
    fitted[top : top + smaller] = cv2.resize(line, (bucket, smaller), interpolation=cv2.INTER_AREA)
    return fitted
