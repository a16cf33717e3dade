"""Pages that lie on their side or upside down, where the file doesn't say so."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .geometry import WHITE, Grey, StaffGeometry, straighten
from .image import whiten
from .staff_lines import find_hits

COLUMNS = 300  # looked at in each direction
# Measured on 60 engraved, scanned and photographed pages: at most 0.65 sideways, and at least 1.3 (median of a page)
# between the beginning and the end of the staves.
SIDEWAYS = 1.2
UPSIDE_DOWN = 0.7
BEGINNING = 3.0  # staff spaces: a clef


def turn(grey: Grey, quarters: int) -> Grey:
    """The picture turned clockwise by so many quarter turns."""
    return np.ascontiguousarray(np.rot90(grey, -quarters))


def lies_sideways(grey: Grey) -> bool:
    """Whether more staff lines run down the page than across."""
    across, down = len(find_hits(grey, COLUMNS)), len(find_hits(turn(grey, 1), COLUMNS))
    # Taller pictures show more rows to each column.
    return down / grey.shape[1] > SIDEWAYS * across / grey.shape[0] and down > 20


def upside_down(grey: Grey, staves: Sequence[StaffGeometry]) -> bool:
    """Whether the staves end with as much ink as clefs have, and begin with little."""
    ratios = [_ends_ratio(grey, staff) for staff in staves]
    return bool(ratios) and float(np.median(ratios)) < UPSIDE_DOWN


def _ends_ratio(grey: Grey, staff: StaffGeometry) -> float:
    """Ink in a clef's width at the beginning, relative to that at the end."""
    space = 7
    strip = WHITE - cv2.blur(whiten(straighten(grey, staff, space, 8 * space, (0.0, 0.0)), 3 * space), (1, 1))
    first, last = round(0.4 * space), round((0.4 + BEGINNING) * space)
    return float(strip[:, first:last].mean()) / max(float(strip[:, -last:-first].mean()), 1.0)
