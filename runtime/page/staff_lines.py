"""First look at a page: where five equidistant strokes stand above one another.

In a column without a note, a staff is five dark runs of equal distance. That holds at any size and at any small
angle. The page is looked at in several sizes, each half of the one before, so that every staff space is 7 to 15 px in
one of them and lines that a printer made of dots are whole again. Neighbouring finds make a seed, which
`runtime.page.trace` follows to both ends of the staff.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Floats, Grey, StaffGeometry

SPACES = (6.5, 15.0)  # px of a staff space at the size of the page where it is looked for
SMALLEST = 2.5  # px of a staff space in the page; finer lines can't be told apart
REACHES = (2, 3, 5)  # px; a third to a half of the staff space
MAX_COLUMNS = 700  # looked at in each size of the page; a staff is hundreds of columns long
LEAST_SIDE = 64  # px; a smaller page shows no staff of SPACES
MIN_SEED_LENGTH = 3.0  # staff spaces
MIN_HITS = 4
GAP = 24.0  # staff spaces between seeds of one staff
MIN_DENSITY = 0.12  # share of a seed's columns that show five strokes


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
    step: float

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: NDArray[np.bool_]) -> Hits:
        """Only some of them."""
        return Hits(self.x[keep], self.y[keep], self.space[keep], self.step)


def first_look(grey: Grey) -> list[StaffGeometry]:
    """Short straight pieces of staves of any size, longest first.

    Args:
        grey: an upright page.

    Returns:
        Seeds in px of the page. Most of a page's staves give several, and some are no staff at all.
    """
    found: list[tuple[float, StaffGeometry]] = []
    for hits in looks(grey):
        found += _seeds(hits)
    return [seed for _, seed in sorted(found, key=lambda item: -item[0])]


def looks(grey: Grey) -> Iterator[Hits]:
    """The hits at each size of a page, in px of the page: twice as high, as it is, and halved again and again."""
    yield _finer(grey)
    scale = 1.0
    while min(grey.shape) >= LEAST_SIDE:
        yield _at_scale(_hits_of(grey, SPACES), scale)
        grey = np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        scale *= 0.5


def _finer(grey: Grey) -> Hits:
    """Staves too small for the page as it is: its columns, twice as high."""
    step = 2 * _step(grey)
    smooth = cv2.blur(grey, (5, 1), borderType=cv2.BORDER_REPLICATE)
    columns = np.ascontiguousarray(smooth[:, ::step])
    taller = cv2.resize(columns, None, fx=1, fy=2, interpolation=cv2.INTER_CUBIC)
    hits = _hits_of(np.asarray(taller, np.uint8), (2 * SMALLEST, 2 * SPACES[0]), along=False)
    return Hits(hits.x * step, (hits.y - 0.5) / 2, hits.space / 2, step)


def _step(grey: Grey) -> int:
    """Every how many columns of a picture are looked at."""
    return max(1, int(grey.shape[1]) // MAX_COLUMNS)


def _at_scale(hits: Hits, scale: float) -> Hits:
    shift = 0.5 / scale - 0.5
    return Hits(hits.x / scale + shift, hits.y / scale + shift, hits.space / scale, hits.step / scale)


def _hits_of(grey: Grey, spaces: tuple[float, float], along: bool = True) -> Hits:
    """What all stroke sizes show of staves whose staff space is `spaces[0]` to `spaces[1]` px.

    Args:
        grey: a picture, or columns of one side by side.
        spaces: in px.
        along: neighbouring columns belong together and are averaged.
    """
    step = _step(grey) if along else 1
    fitting = [reach for reach in REACHES if 3.5 * reach > spaces[0]]
    found = [_hits(_strokes(grey, reach, step, 2 * reach + 1 if along else 1), step, spaces) for reach in fitting]
    x, y, space = (np.concatenate([getattr(hits, name) for hits in found]) for name in ("x", "y", "space"))
    return Hits(x, y, space, step)


def _strokes(grey: Grey, reach: int, step: int, along: int) -> NDArray[np.bool_]:
    """Where a picture, averaged over `along` px of a row, is darker than `reach` px above and below: [W / step, H].

    Against a mean over the neighbourhood faint lines beside black notes would be lost; here 3 % are enough, which
    blurred lines in the shade still have.
    """
    smooth = cv2.blur(grey, (along, max(1, reach // 3)), borderType=cv2.BORDER_REPLICATE)
    values = cv2.transpose(np.ascontiguousarray(smooth[:, ::step]))
    padded = cv2.copyMakeBorder(values, 0, 0, reach, reach, cv2.BORDER_REPLICATE)
    sides = cv2.min(padded[:, : -2 * reach], padded[:, 2 * reach :])
    depth = cv2.subtract(sides, values)
    some = cv2.absdiff(np.ascontiguousarray(sides[::3, ::3]), np.ascontiguousarray(values[::3, ::3]))
    noise = round(min(max(1.5 * float(np.median(some)), 1.0), 8.0))
    return np.asarray((depth > noise) & (depth > np.asarray(sides, np.uint8) // 32), dtype=np.bool_)


def _hits(ink: NDArray[np.bool_], step: int, spaces: tuple[float, float]) -> Hits:
    """Five successive dark runs whose centres are equally far apart, in every column."""
    width = ink.shape[1] + 2
    columns = np.zeros((ink.shape[0], width), np.int8)
    columns[:, 1:-1] = ink
    flat = columns.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # beginning and end of a run in turn
    column = edges[::2] // width
    start, end = edges[::2] % width, edges[1::2] % width
    count = len(column) - 4
    if count < 1:
        return Hits(np.empty(0), np.empty(0), np.empty(0), step)
    centre = (start + end - 1) / 2
    space = (centre[4:] - centre[:count]) / 4
    # Most runs are nothing; only what may be five lines is looked at closely.
    near = np.flatnonzero((column[:count] == column[4:]) & (space >= spaces[0]) & (space <= spaces[1]))
    five = np.stack([centre[near + k] for k in range(5)])
    thick = np.stack([(end - start)[near + k] for k in range(5)])
    space = space[near]
    good = (
        (np.abs(np.diff(five, axis=0) - space).max(axis=0) <= np.maximum(1.01, 0.12 * space))
        & (thick.max(axis=0) <= 0.6 * space)
        & (thick.max(axis=0) - thick.min(axis=0) <= np.maximum(1.01, 0.25 * space))
    )
    return Hits(column[near][good] * float(step), five.mean(axis=0)[good], space[good], step)


def _seeds(hits: Hits) -> Iterator[tuple[float, StaffGeometry]]:
    """Rows of neighbouring hits as straight staves, for the most frequent staff sizes, each with its weight."""
    rest = hits
    for _ in range(3):
        if len(rest) < MIN_HITS:
            break
        space = _common_space(rest)
        alike = np.abs(rest.space / space - 1) < 0.18
        yield from _components(rest.where(alike), space)
        rest = rest.where(~alike)


def _common_space(hits: Hits) -> float:
    """The most frequent staff space in px, by a histogram with bins of 5 %."""
    bins = np.round(np.log(hits.space) / 0.05).astype(np.int64)
    first = int(bins.min())
    counts = np.bincount(bins - first)
    smooth = np.convolve(counts, [1, 2, 1], mode="same")
    near = np.abs(bins - first - int(smooth.argmax())) <= 1
    return float(np.median(hits.space[near]))


def _components(hits: Hits, space: float) -> Iterator[tuple[float, StaffGeometry]]:
    """Hits that touch when each reaches 1.5 staff spaces sideways and a quarter up and down."""
    cell = max(1.0, space / 4)
    columns = np.round((hits.x - hits.x.min()) / cell).astype(np.int64)
    rows = np.round((hits.y - hits.y.min()) / cell).astype(np.int64)
    shape = (int(rows.max()) + 3, int(columns.max()) + 8)
    raster = np.zeros(shape, np.uint8)
    raster[rows, columns] = 1
    reach = cv2.dilate(raster, np.ones((3, 13), np.uint8))
    _, labels = cv2.connectedComponents(reach, connectivity=8)
    label = labels[rows, columns]
    order = np.argsort(label, kind="stable")
    for member in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        if len(member) < MIN_HITS:
            continue
        x, y, local = hits.x[member], hits.y[member], hits.space[member]
        length = (x.max() - x.min()) / space
        seen = len(np.unique(x))
        if length < MIN_SEED_LENGTH or seen < max(MIN_HITS, MIN_DENSITY * length * space / hits.step):
            continue
        slope, middle = np.polyfit(x - x.mean(), y, 1)
        if abs(slope) > 0.35:
            continue
        ends = np.array([x.min(), x.max()])
        scale = float(np.cos(np.arctan(slope)))  # a column crosses a tilted staff at a slant
        fitted = StaffGeometry(ends, middle + slope * (ends - x.mean()), np.full(2, np.median(local) * scale))
        yield float(seen * hits.step / space), fitted


def chained(seeds: Sequence[StaffGeometry]) -> list[StaffGeometry]:
    """Seeds that carry on one another put together, longest first. Each has two knots."""
    if not seeds:
        return []
    left, right = (np.array([[seed.x[end], seed.y[end]] for seed in seeds]) for end in (0, -1))
    space = np.array([seed.mean_space for seed in seeds])
    slope = (right[:, 1] - left[:, 1]) / (right[:, 0] - left[:, 0])
    gap = (left[None, :, 0] - right[:, None, 0]) / space[:, None]
    middle = (left[None, :, 0] + right[:, None, 0]) / 2
    before = right[:, None, 1] + slope[:, None] * (middle - right[:, None, 0])
    after = left[None, :, 1] + slope[None, :] * (middle - left[None, :, 0])
    fits = (np.abs(before - after) < 0.4 * space[:, None]) & (np.abs(space[None] / space[:, None] - 1) < 0.12)
    gap[~fits | (gap < -2) | (gap > GAP)] = np.inf
    after_of: dict[int, int] = {}
    for number in np.argsort(gap, axis=None)[: np.isfinite(gap).sum()]:
        first, then = divmod(int(number), len(seeds))
        if first != then and first not in after_of and then not in after_of.values():
            after_of[first] = then
    chains = []
    for first in set(range(len(seeds))) - set(after_of.values()):
        members = [first]
        while members[-1] in after_of:
            members.append(after_of[members[-1]])
        knots = np.concatenate([[left[n], right[n]] for n in members])
        ascending = np.concatenate([[True], np.diff(np.maximum.accumulate(knots[:, 0])) > 0])
        x, y = knots[ascending].T
        chains.append(StaffGeometry(x, y, np.repeat(space[members], 2)[ascending]))
    return sorted(chains, key=lambda chain: -float(chain.along()[-1]))
