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

from ..errors import ConfigError
from .geometry import WHITE, Grey, StaffGeometry, straighten
from .load import iter_pages, load_pages

__all__ = ["Preparation", "batch", "bucket_for", "iter_pages", "load_pages", "prepare", "whiten", "window_for"]

POCKET_WIDTHS = (192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 1024, 1280)
WIDE_LINES = ("pieces", "narrow")


@dataclass(frozen=True)
class Preparation:
    """How a picture of one line is brought to what the network was trained on.

    A manifest holds these fields, and an app needs no others: the staff is straightened and scaled until its staff
    space is `staff_space` px, its middle line `middle_line * height` px from the top, with `side_spaces` of picture
    beyond both ends. The paper is made white. The line goes to the left of the smallest bucket that holds it and
    `margin` px more. A grey becomes `((grey - ink) / (paper - ink) - mean) / std`.

    Attributes:
        height: height in px.
        staff_space: staff space in px.
        middle_line: where the middle line lies, as a share of the height.
        side_spaces: staff spaces of the picture that are kept beyond both ends of the staff.
        whiten_window: side in px of the window in which `whiten` looks for paper; 0 leaves the paper as it is.
        channels: 1 or 3 (the same grey three times).
        width_multiple: every width bucket is a multiple of this, in px.
        width_buckets: widths a batch may have in px, ascending.
        margin: white px that follow a line in its bucket, at least. Of 200 lines, all that had 24 or more read the
            same in their bucket and in the next one; of those with less than 8, 79 % did.
        wide_lines: how a reader takes lines for which no bucket is wide enough. `pieces`: cut at bar lines
            (`runtime.reading.wide_lines`) where the model has a column head that sees them. `narrow`: scaled down to
            the widest bucket.
        paper: grey of empty paper, which also fills what a line leaves of its bucket.
        ink: grey of black ink; always darker than paper, so that pictures are dark on white.
        mean: subtracted after scaling to 0 (ink) to 1 (paper).
        std: divided by after that.
    """

    height: int = 96
    staff_space: float = 7.0
    middle_line: float = 0.5
    side_spaces: float = 1.0
    whiten_window: int = 21
    channels: int = 1
    width_multiple: int = 8
    width_buckets: tuple[int, ...] = POCKET_WIDTHS
    margin: int = 24
    wide_lines: str = "pieces"
    paper: int = WHITE
    ink: int = 0
    mean: float = 0.5
    std: float = 0.5

    def __post_init__(self) -> None:
        if self.staff_space <= 0:
            raise ConfigError(f"staff_space is {self.staff_space}; expected a positive number of px")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels is {self.channels}; pictures have 1 or 3")
        if self.wide_lines not in WIDE_LINES:
            raise ConfigError(f"wide_lines is {self.wide_lines!r}; use one of {', '.join(WIDE_LINES)}")
        if not 0 <= self.ink < self.paper <= WHITE:
            raise ConfigError(f"ink is {self.ink} and paper {self.paper}; expected greys of 0 to 255, ink the darker")
        if self.margin < 0:
            raise ConfigError(f"margin is {self.margin}; expected a number of px, 0 or more")
        buckets = self.width_buckets
        if not buckets or list(buckets) != sorted(set(buckets)):
            raise ConfigError(f"width_buckets is {buckets}; give at least one width in px, ascending")
        odd = [width for width in buckets if width % self.width_multiple]
        if odd:
            raise ConfigError(f"width bucket {odd[0]} is no multiple of width_multiple {self.width_multiple}")

    @property
    def widest_line(self) -> int:
        """Widest line in px that fits a bucket with its margin."""
        return self.width_buckets[-1] - self.margin

    def to_dict(self) -> dict[str, Any]:
        """As plain data for a manifest or configuration."""
        return {**asdict(self), "width_buckets": list(self.width_buckets)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preparation:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: an unknown or missing field or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ConfigError(f"preparation has no field {unknown[0]!r} (known: {', '.join(sorted(known))})")
        if missing := sorted(known - set(data)):
            raise ConfigError(f"preparation lacks {missing[0]!r}; expected {', '.join(sorted(known))}")
        return cls(**{**data, "width_buckets": tuple(int(width) for width in data["width_buckets"])})


def window_for(staff_space: float) -> int:
    """Side in px of a window that no ink fills, for `whiten`: three staff spaces."""
    return 2 * round(1.5 * staff_space) + 1


def whiten(grey: Grey, window: int, white: int = WHITE) -> Grey:
    """Divides by the paper's brightness: paper becomes white, shadows and falling light go.

    Args:
        grey: picture.
        window: side in px of a square that no ink fills; three staff spaces are enough, since noteheads and
            beams are thinner than that in one direction.
        white: grey that paper becomes.

    Returns:
        Picture of the same shape; one with white paper stays as it is.
    """
    smooth = cv2.blur(grey, (3, 3), borderType=cv2.BORDER_REPLICATE)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (window, window))
    paper = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    paper = cv2.blur(paper, (window, window), borderType=cv2.BORDER_REPLICATE)
    # Paper darker than this is no paper (a black border, a table), and dividing by it would only raise noise.
    return np.asarray(cv2.divide(grey, np.maximum(paper, 32).astype(np.uint8), scale=white), dtype=np.uint8)


def prepare(line_grey: Grey, p: Preparation, staff: StaffGeometry | None = None) -> Grey:
    """Scales one line and places it vertically, as the network wants it.

    Args:
        line_grey: picture; with `staff` it may be the whole page.
        p: what the network was trained on.
        staff: where the staff lies (`runtime.page.staves.find_staff` or `find_staves`). The line is then
            straightened along it, with the middle line on `middle_line * height`. Without it the picture counts as
            framed already and is only scaled to the height: right for pictures we engraved ourselves.

    Returns:
        uint8 [p.height, W].
    """
    if staff is None:
        line = _scaled(line_grey, p.height)
    else:
        sides = (p.side_spaces, p.side_spaces)
        line = straighten(line_grey, staff, p.staff_space, p.height, sides, p.paper, middle=p.middle_line)
    return whiten(line, p.whiten_window, p.paper) if p.whiten_window else line


def bucket_for(width: int, p: Preparation) -> int:
    """The smallest bucket that holds `width` px and the margin after it, or the widest one there is."""
    return next((bucket for bucket in p.width_buckets if bucket >= width + p.margin), p.width_buckets[-1])


def batch(lines: Sequence[Grey], p: Preparation) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prepared lines as one input of the encoder.

    Args:
        lines: results of `prepare`, at least one.
        p: the same preparation.

    Returns:
        image float32 [B, C, H, W] padded with paper on the right to the smallest bucket that holds the
        widest line (a line wider than the last bucket is scaled down to it), and the widths before padding,
        int32 [B].
    """
    assert lines, "a batch needs at least one line"
    bucket = bucket_for(max(line.shape[1] for line in lines), p)
    canvas = np.full((len(lines), p.height, bucket), p.paper, np.uint8)
    widths = np.empty(len(lines), np.int32)
    for row, line in enumerate(lines):
        assert line.shape[0] == p.height, f"line is {line.shape[0]} px high, prepared lines have {p.height}"
        fitted = _narrowed(line, bucket, p.paper)
        widths[row] = fitted.shape[1]
        canvas[row, :, : fitted.shape[1]] = fitted
    image = ((canvas.astype(np.float32) - p.ink) / (p.paper - p.ink) - p.mean) / p.std
    return np.repeat(image[:, None], p.channels, axis=1).astype(np.float32, copy=False), widths


def _scaled(grey: Grey, height: int) -> Grey:
    if grey.shape[0] == height:
        return grey
    width = max(1, round(grey.shape[1] * height / grey.shape[0]))
    method = cv2.INTER_AREA if height < grey.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, (width, height), interpolation=method), dtype=np.uint8)


def _narrowed(line: Grey, bucket: int, paper: int) -> Grey:
    """A line that is too wide, scaled down in both directions and centred on paper."""
    height, width = line.shape
    if width <= bucket:
        return line
    smaller = max(1, round(height * bucket / width))
    fitted = np.full((height, bucket), paper, np.uint8)
    top = (height - smaller) // 2
    fitted[top : top + smaller] = cv2.resize(line, (bucket, smaller), interpolation=cv2.INTER_AREA)
    return fitted
