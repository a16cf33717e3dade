"""Describes where a staff is in a picture, and straightens its picture.

A staff is described by its middle line, as knots from left to right, with the staff space (distance between
neighbouring lines) at each knot. Straightening walks along that line and samples at right angles to it, so rotation,
curvature and a staff that shrinks with distance all go away in one resampling.

Coordinates follow OpenCV: pixel (0, 0) has its centre at 0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Floats = NDArray[np.float64]

WHITE = 255
MAX_SUPERSAMPLING = 6  # a staff space of 6 x 7 px is far above what any scan of a page has at our page sizes


@dataclass(frozen=True, eq=False)
class StaffGeometry:
    """The middle line of a staff.

    Attributes:
        x: columns of the knots in px, ascending along the staff (K >= 2).
        y: rows of the middle line at the knots in px.
        space: staff space at the knots in px.
    """

    x: Floats
    y: Floats
    space: Floats

    @property
    def mean_space(self) -> float:
        """Mean staff space in px."""
        return float(self.space.mean())

    def along(self) -> Floats:
        """Distance of each knot from the first one, in staff spaces."""
        steps = np.hypot(np.diff(self.x), np.diff(self.y)) / (0.5 * (self.space[1:] + self.space[:-1]))
        return np.concatenate([[0.0], np.cumsum(steps)])

    def at(self, distance: Floats) -> tuple[Floats, Floats, Floats]:
        """x, y and staff space at distances (staff spaces) from the first knot; straight beyond both ends."""
        knots = self.along()
        values = [np.interp(distance, knots, column) for column in (self.x, self.y, self.space)]
        for end, inner in ((0, 1), (-1, -2)):
            outside = distance < knots[0] if end == 0 else distance > knots[-1]
            if outside.any():
                span = knots[end] - knots[inner]
                for value, column in zip(values[:2], (self.x, self.y), strict=True):
                    slope = (column[end] - column[inner]) / span
                    value[outside] = column[end] + slope * (distance[outside] - knots[end])
        return values[0], values[1], values[2]

    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in px around the five lines."""
        return (
            int(np.floor(self.x.min())),
            int(np.floor((self.y - 2 * self.space).min())),
            int(np.ceil(self.x.max())) + 1,
            int(np.ceil((self.y + 2 * self.space).max())) + 1,
        )

    def outline(self, around: float) -> list[tuple[int, int]]:
        """A polygon that follows the staff, `around` staff spaces beyond its outer lines and its ends."""
        distance = np.append(np.arange(-around, self.along()[-1] + around, 4.0), self.along()[-1] + around)
        x, y, space = self.at(distance)
        across = (2 + around) * space
        points = [*zip(x, y - across, strict=True), *zip(x[::-1], (y + across)[::-1], strict=True)]
        return [(round(float(u)), round(float(v))) for u, v in points]

    def moved(self, matrix: NDArray[np.float64]) -> StaffGeometry:
        """The same staff after an affine map (2x3) of its picture."""
        points = np.stack([self.x, self.y, np.ones_like(self.x)])
        x, y = matrix @ points
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        return StaffGeometry(x, y, self.space * scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, rounded to a hundredth of a pixel."""
        return {name: [round(float(v), 2) for v in getattr(self, name)] for name in ("x", "y", "space")}


def straighten(
    grey: Grey,
    staff: StaffGeometry,
    space: float,
    height: int,
    margins: tuple[float, float] = (1.0, 1.0),
    fill: int = WHITE,
    coarse: bool = False,
    middle: float = 0.5,
) -> Grey:
    """The picture of one staff with its lines horizontal and a constant staff space.

    Args:
        grey: picture the staff was found in.
        staff: where it lies.
        space: staff space of the result in px.
        height: height of the result in px.
        margins: staff spaces kept left and right of the staff's ends.
        fill: value outside the picture.
        coarse: sample half as finely, four times as fast; good enough to look for lines, not to read.
        middle: the middle line falls on `middle * height`.

    Returns:
        uint8 [height, W]. Sampled finer and averaged where the result is smaller than the source.
    """
    finer = int(np.clip(np.ceil(staff.space.max() / space / (2 if coarse else 1)), 1, MAX_SUPERSAMPLING))
    length = staff.along()[-1] + sum(margins)
    width = max(1, round(length * space))
    columns = (np.arange(width * finer) + 0.5) / (space * finer) - margins[0]
    x, y, local = staff.at(columns)
    direction = _directions(staff, columns)
    rows = ((np.arange(height * finer) + 0.5) / finer - height * middle) / space
    offset = rows[:, None] * local[None, :]
    map_x = (x[None, :] - offset * direction[1][None, :]).astype(np.float32)
    map_y = (y[None, :] + offset * direction[0][None, :]).astype(np.float32)
    sampled = _remap(grey, map_x, map_y, fill)
    if finer > 1:
        sampled = cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(sampled, dtype=np.uint8)


def _directions(staff: StaffGeometry, columns: Floats) -> tuple[Floats, Floats]:
    """Unit tangent (x, y) of the middle line at each distance, averaged over three staff spaces.

    Without the average a kink at a knot would tear stems apart above and below the staff.
    """
    ahead, behind = staff.at(columns + 1.5), staff.at(columns - 1.5)
    dx, dy = ahead[0] - behind[0], ahead[1] - behind[1]
    norm = np.hypot(dx, dy)
    return dx / norm, dy / norm


def _remap(grey: Grey, map_x: NDArray[np.float32], map_y: NDArray[np.float32], fill: int) -> NDArray[Any]:
    """`cv2.remap` on the part of the picture that is needed: its coordinates must stay below 32,768."""
    left, top = max(0, int(map_x.min()) - 2), max(0, int(map_y.min()) - 2)
    right, bottom = int(map_x.max()) + 3, int(map_y.max()) + 3
    part = np.ascontiguousarray(grey[top : max(bottom, top + 1), left : max(right, left + 1)])
    if part.size == 0:
        return np.full(map_x.shape, fill, np.uint8)
    return cv2.remap(
        part, map_x - left, map_y - top, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(fill,)
    )
