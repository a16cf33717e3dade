"""The staff of a picture that shows one line, however faint.

A page gives too many places to look at for lines that hardly stand out from the paper. In a picture of a single line
the staff crosses the whole picture, so its five lines can be summed from edge to edge under each angle, and what
no column shows by itself becomes plain.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import WHITE, Floats, Grey, StaffGeometry, straighten
from .preparation import whiten
from .staff_strip import is_staff
from .trace import extended, resampled, trace

ANGLES = np.radians(np.arange(-5.0, 5.01, 0.25))
REACHES = (3, 6, 12)  # px up and down that a line must be darker than; a third to a half of the staff space
SIZES = np.geomspace(6.0, 60.0, 116)  # px
BIN = 8  # px of columns summed before turning
WHOLE = 0.9  # share of the ink's extent that a staff must have to be complete


def complete(grey: Grey, found: StaffGeometry | None) -> StaffGeometry | None:
    """The staff of a single line from the first to the last ink on it.

    Args:
        grey: the picture, enlarged so that a staff space has at least 12 px.
        found: what was seen of it, if anything.

    Returns:
        `found` where it is complete already, otherwise the whole staff if there is one.
    """
    if found is not None and found.along()[-1] >= WHOLE * to_ink(grey, found).along()[-1]:
        return found
    seed = summed(grey)
    if seed is None:
        return found
    traced = trace(grey, to_ink(grey, seed), certain=True)
    if traced is None or not is_staff(traced.strip, sixth=1.0, steady=0.0):
        return found
    staff = traced.staff
    return staff if found is None or (staff.along()[-1] > found.along()[-1] and _continues(staff, found)) else found


def _continues(staff: StaffGeometry, part: StaffGeometry) -> bool:
    """Whether a staff runs along a part of it."""
    middle = float(part.x.mean())
    off = np.interp(middle, staff.x, staff.y) - np.interp(middle, part.x, part.y)
    return bool(abs(off) < 0.5 * part.mean_space)


def summed(grey: Grey) -> StaffGeometry | None:
    """The straight line across the picture under which five equidistant lines stand out most."""
    best, seed = 0.0, None
    for reach in REACHES:
        bins = _line_strength(grey, reach)
        for angle in ANGLES:
            profile = _profile(bins, float(np.tan(angle)))
            for space in SIZES[(1.8 * reach < SIZES) & (5 * reach > SIZES)]:
                score, middle = _best_comb(profile, float(space))
                if score > best:
                    best = score
                    ends = np.array([0.0, grey.shape[1] - 1.0])
                    rows = middle + np.tan(angle) * (ends - ends.mean())
                    seed = StaffGeometry(ends, rows, np.full(2, space * np.cos(angle)))
    return seed


def _line_strength(grey: Grey, reach: int) -> Floats:
    """How much darker each place is than those above and below, summed over bins of columns: [H, bins]."""
    smooth = cv2.blur(grey, (2 * reach + 1, max(1, reach // 3)), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    padded = np.pad(smooth, ((reach, reach), (0, 0)), mode="edge")
    depth = np.minimum(padded[: -2 * reach], padded[2 * reach :]) - smooth
    # Heads and beams are ten times darker than a faint line, and must not count ten times.
    usual = float(np.quantile(np.abs(depth), 0.8))
    depth = np.clip(depth, -usual, usual)
    count = depth.shape[1] // BIN
    return np.asarray(depth[:, : count * BIN].reshape(len(depth), count, BIN).sum(axis=2), np.float64)


def _profile(bins: Floats, slope: float) -> Floats:
    """Mean along lines of one slope through each row of the picture's middle column, in standard deviations."""
    height, count = bins.shape
    shift = np.round(slope * BIN * (np.arange(count) - (count - 1) / 2)).astype(np.int64)
    rows = np.arange(height)[:, None] + shift[None]
    inside = (rows >= 0) & (rows < height)
    values = np.where(inside, bins[np.clip(rows, 0, height - 1), np.arange(count)], 0.0).sum(axis=1)
    return np.asarray((values - values.mean()) / (values.std() + 1e-9))


def _best_comb(profile: Floats, space: float) -> tuple[float, float]:
    """The strongest place for five lines with clear gaps and no sixth, and its row."""
    rows = np.arange(2.5 * space, len(profile) - 2.5 * space)
    if len(rows) == 0:
        return 0.0, 0.0

    def at(place: float) -> Floats:
        return np.interp(rows + place * space, np.arange(len(profile)), profile, left=0.0, right=0.0)

    lines = np.stack([at(k) for k in (-2, -1, 0, 1, 2)])
    gaps = np.mean([at(k) for k in (-1.5, -0.5, 0.5, 1.5)], axis=0)
    # The weakest line counts twice: four lines and a beam are no staff.
    score = lines.mean(axis=0) + lines.min(axis=0) - gaps - 0.5 * (at(-3) + at(3))
    top = int(score.argmax())
    return float(score[top]), float(rows[top])


def to_ink(grey: Grey, staff: StaffGeometry) -> StaffGeometry:
    """The line carried on in both directions, then cut to the first and last ink on it."""
    space = 8
    outside = max(staff.x[0], grey.shape[1] - 1 - staff.x[-1], 0.0)
    longer = extended(staff, float(outside) / staff.mean_space)
    strip = whiten(straighten(grey, longer, space, 4 * space, (0.0, 0.0)), 3 * space + 1)
    inked = _inked(WHITE - strip.astype(np.float64), space)
    if len(inked) == 0:
        return staff
    # A clef stands half a staff space from where the lines begin.
    first, last = inked[0] / space - 0.6, (inked[-1] + 1) / space
    return resampled(longer, float(first), float(last)) if last - first > 4 else staff


def _inked(dark: Floats, space: int) -> NDArray[np.int64]:
    """Columns with more ink than the five lines: stems, heads, clefs, bar lines."""
    level = 0.4 * float(np.quantile(dark, 0.98))
    tall = (dark > level).sum(axis=0) >= 0.6 * space + 5
    return np.flatnonzero(cv2.morphologyEx(tall.astype(np.uint8)[None], cv2.MORPH_OPEN, np.ones((1, 2), np.uint8))[0])
