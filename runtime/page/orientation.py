"""Pages that lie on their side or upside down, where the file doesn't say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from .geometry import WHITE, Grey, StaffGeometry, straighten
from .preparation import whiten

UpsideDown = Callable[[Grey, Sequence[StaffGeometry]], bool]  # of a page with at least one staff

BEGINNING = 3.0  # staff spaces: a clef
UPSIDE_DOWN = 0.7


def turn(grey: Grey, quarters: int) -> Grey:
    """The picture turned clockwise by so many quarter turns."""
    return np.ascontiguousarray(np.rot90(grey, -quarters))


def clefs_at_the_end(grey: Grey, staves: Sequence[StaffGeometry]) -> bool:
    """Whether the staves end with as much ink as clefs have, and begin with little."""
    return float(np.median([_ends_ratio(grey, staff) for staff in staves])) < UPSIDE_DOWN


def turned_round(staff: StaffGeometry, grey: Grey) -> StaffGeometry:
    """The same staff in the page turned by half."""
    height, width = grey.shape
    return StaffGeometry(width - 1 - staff.x[::-1], height - 1 - staff.y[::-1], staff.space[::-1])


def is_dark_on_bright(grey: Grey, staff: StaffGeometry) -> bool:
    """Whether most of what lies around a staff is paper, brighter than the rest."""
    strip = whiten(straighten(grey, staff, 5, 40, (0.0, 0.0)), 15)
    darkest, usual, brightest = np.quantile(strip, (0.02, 0.5, 0.98))
    return bool(brightest - usual < usual - darkest)


def _ends_ratio(grey: Grey, staff: StaffGeometry) -> float:
    """Ink in a clef's width at the beginning, relative to that at the end."""
    space = 7
    strip = WHITE - cv2.blur(whiten(straighten(grey, staff, space, 8 * space, (0.0, 0.0)), 3 * space), (1, 1))
    first, last = round(0.4 * space), round((0.4 + BEGINNING) * space)
    return float(strip[:, first:last].mean()) / max(float(strip[:, -last:-first].mean()), 1.0)
