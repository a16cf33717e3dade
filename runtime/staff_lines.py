"""First look at a page: where five equidistant strokes stand above one another.

In a column without a note, a staff is five dark runs of equal distance. That holds at any size, so the staff space
need not be known, and at any small angle. Columns are looked at one by one; neighbouring finds make a seed,
which `runtime.trace` follows to both ends of the staff.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Floats, Grey, StaffGeometry

REACHES = (2, 3, 4, 6, 9, 14, 22, 36)  # px; a third to a half of the staff space
MAX_COLUMNS = 1_500  # columns looked at in one page; a staff is hundreds of columns long
SPACES = (4.0, 150.0)  # px
MIN_SEED_LENGTH = 3.0  # staff spaces
MIN_HITS = 4


@dataclass(frozen=True)
class Hits:
    """Columns where five equidistant strokes were seen.

    Attributes:
        x: columns in px.
        y: rows of the third stroke in px.
        space: mean distance of the strokes in px.
        step: distance of the columns that were looked at, in px.
    """

    x: Floats
    y: Floats
    space: Floats
    step: int

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: NDArray[np.bool_]) -> Hits:
        """Only some of them."""
        return Hits(self.x[keep], self.y[keep], self.space[keep], self.step)


def _none(step: int) -> Hits:
    return Hits(np.empty(0), np.empty(0), np.empty(0), step)


def find_hits(grey: Grey, columns: int = MAX_COLUMNS) -> Hits:
    """Five equidistant strokes in the columns of a page, at the stroke size that shows most of them."""
    step = max(1, grey.shape[1] // columns)
    best = _none(step)
    for reach in REACHES:
        if 12 * reach > 3 * grey.shape[0]:
            break
        hits = _hits(_strokes(grey, reach, step), step)
        if len(hits) > len(best):
            best = hits
        elif len(hits) < 0.2 * len(best):  # larger strokes than the staff's only show less
            break
    return best


def _strokes(grey: Grey, reach: int, step: int) -> NDArray[np.bool_]:
    """Where a picture is darker than `reach` px above and below: [H, W / step].

    Against a mean over the neighbourhood faint lines beside black notes would be lost; here 3 % are enough, which
    blurred lines in the shade still have.
    """
    smooth = cv2.blur(grey, (2 * reach + 1, max(1, reach // 3)), borderType=cv2.BORDER_REPLICATE)
    values = smooth[:, ::step].astype(np.float32)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    sides = np.minimum(padded[: -2 * reach], padded[2 * reach :])
    depth = sides - values
    noise = 1.5 * float(np.median(np.abs(depth[::3, ::3])))
    return np.asarray(depth > np.maximum(0.03 * sides, min(max(noise, 1.5), 8.0)), dtype=np.bool_)


def _hits(ink: NDArray[np.bool_], step: int) -> Hits:
    """Five successive dark runs whose centres are equally far apart, in every column."""
    columns = np.zeros((ink.shape[1], ink.shape[0] + 2), np.int8)
    columns[:, 1:-1] = ink.T
    edges = np.diff(columns, axis=1)
    column, start = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    if len(column) < 5:
        return _none(step)
    centre = (start + end - 1) / 2
    thickness = (end - start).astype(np.float64)
    count = len(column) - 4
    five = np.stack([centre[k : count + k] for k in range(5)])
    thick = np.stack([thickness[k : count + k] for k in range(5)])
    distances = np.diff(five, axis=0)
    space = (five[4] - five[0]) / 4
    tolerance = np.maximum(1.01, 0.12 * space)
    good = (
        (column[:count] == column[4:])
        & (np.abs(distances - space).max(axis=0) <= tolerance)
        & (thick.max(axis=0) <= 0.6 * space)
        & (thick.max(axis=0) - thick.min(axis=0) <= np.maximum(1.01, 0.25 * space))
        & (space >= SPACES[0])
        & (space <= SPACES[1])
    )
    return Hits(column[:count][good] * float(step), five.mean(axis=0)[good], space[good], step)


def seeds(hits: Hits) -> Iterator[StaffGeometry]:
    """Rows of neighbouring hits as short straight staves, longest first, for the most frequent staff sizes."""
    found: list[tuple[float, StaffGeometry]] = []
    rest = hits
    for _ in range(3):
        if len(rest) < MIN_HITS:
            break
        space = _common_space(rest)
        alike = np.abs(rest.space / space - 1) < 0.18
        found.extend(_components(rest.where(alike), space))
        rest = rest.where(~alike)
    for _, seed in sorted(found, key=lambda item: -item[0]):
        yield seed


def _common_space(hits: Hits) -> float:
    """The most frequent staff space in px, by a histogram with bins of 5 %."""
    bins = np.round(np.log(hits.space) / 0.05).astype(np.int64)
    counts = np.bincount(bins)
    smooth = np.convolve(counts, [1, 2, 1], mode="same")
    near = np.abs(bins - int(smooth.argmax())) <= 1
    return float(np.median(hits.space[near]))


def _components(hits: Hits, space: float) -> Iterator[tuple[float, StaffGeometry]]:
    """Hits that touch when each reaches 1.5 staff spaces sideways and a quarter up and down."""
    cell = max(1.0, space / 4)
    columns = np.round(hits.x / cell).astype(np.int64)
    rows = np.round(hits.y / cell).astype(np.int64)
    if len(columns) == 0:
        return
    shape = (int(rows.max()) + 3, int(columns.max()) + 8)
    raster = np.zeros(shape, np.uint8)
    raster[rows, columns] = 1
    reach = cv2.dilate(raster, np.ones((3, 13), np.uint8))
    _, labels = cv2.connectedComponents(reach, connectivity=8)
    label = labels[rows, columns]
    order = np.argsort(label, kind="stable")
    for member in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        x, y, local = hits.x[member], hits.y[member], hits.space[member]
        length = (x.max() - x.min()) / space
        if length < MIN_SEED_LENGTH or len(np.unique(x)) < MIN_HITS:
            continue
        slope, middle = np.polyfit(x - x.mean(), y, 1)
        if abs(slope) > 0.35:
            continue
        ends = np.array([x.min(), x.max()])
        scale = float(np.cos(np.arctan(slope)))  # a column crosses a tilted staff at a slant
        fitted = StaffGeometry(ends, middle + slope * (ends - x.mean()), np.full(2, np.median(local) * scale))
        yield float(len(np.unique(x)) * hits.step / space), fitted
