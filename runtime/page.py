"""A page cut into systems, in reading order."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Grey, StaffGeometry
from .orientation import lies_sideways, turn, upside_down
from .single import complete
from .staff_lines import find_hits, seeds
from .strip import is_staff, look
from .trace import trace

MIN_LENGTH = 8.0  # staff spaces; shorter finds are tables, rulers, text
MAX_SEEDS = 400
MAX_JOIN, MAX_OVERLAP = 24.0, 8.0  # staff spaces between, or shared by, pieces of one staff
SMALL = 400  # px; pictures no higher than this show one or two lines, with few pixels a staff space
MAX_SIDE = 4_500  # px; larger pages are looked at reduced


@dataclass(frozen=True, eq=False)
class System:
    """What is read in one go: one staff now, later the staves that sound together.

    Attributes:
        box: left, top, right, bottom of the staff lines in px of the page.
        staves: from top to bottom.
    """

    box: tuple[int, int, int, int]
    staves: tuple[StaffGeometry, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """A page the right way up, and what stands on it.

    Attributes:
        grey: the page after turning.
        turned: quarter turns clockwise that brought it up, 0 to 3.
        systems: from top to bottom; empty where there is no staff.
    """

    grey: Grey
    turned: int
    systems: tuple[System, ...]


def lay_out(grey: Grey) -> Layout:
    """Turns a page the right way up and finds its systems."""
    turned = 1 if lies_sideways(grey) else 0
    page = turn(grey, turned)
    systems = find_systems(page)
    if upside_down(page, [system.staves[0] for system in systems]):
        turned, page = turned + 2, turn(page, 2)
        systems = find_systems(page)
    return Layout(page, turned, tuple(systems))


def find_systems(grey: Grey) -> list[System]:
    """All systems of an upright page from top to bottom; empty where there is no staff."""
    return [System(staff.box(), (staff,)) for staff in find_staves(grey)]


def find_staff(grey: Grey) -> StaffGeometry | None:
    """The staff of a picture that shows one line, from end to end even where it is faint."""
    if min(grey.shape) < 16:
        return None
    longest = max(find_staves(grey), key=lambda staff: staff.along()[-1], default=None)
    if grey.shape[0] > SMALL:
        return complete(grey, longest)
    found = complete(_doubled(grey), None if longest is None else _scaled(longest, 2.0))
    return None if found is None else _scaled(found, 0.5)


def staff_space(grey: Grey) -> float | None:
    """Staff space of an upright page in px, from the first look alone; None where it sees no staff."""
    top = grey[:MAX_SIDE]  # enough of a very long page
    if min(top.shape) < 16:
        return None
    scale = 1.0 if top.shape[0] > SMALL else 2.0
    seed = next(seeds(find_hits(top if scale == 1 else _doubled(top))), None)
    return None if seed is None else seed.mean_space / scale


def find_staves(grey: Grey) -> list[StaffGeometry]:
    """All five-line staves of an upright page, from top to bottom."""
    scale = min(1.0, MAX_SIDE / max(grey.shape))
    if scale < 1:
        smaller = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return [_scaled(staff, 1 / scale) for staff in find_staves(np.asarray(smaller, dtype=np.uint8))]
    if min(grey.shape) < 16:
        return []
    if grey.shape[0] > SMALL:
        return _traced(grey)
    return [_scaled(staff, 0.5) for staff in _traced(_doubled(grey))]


def _doubled(grey: Grey) -> Grey:
    """Drawn larger, because blurred lines 7 px apart merge otherwise."""
    return np.asarray(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _scaled(staff: StaffGeometry, factor: float) -> StaffGeometry:
    shift = 0.5 * factor - 0.5  # centres of pixels, not their corners, are at whole numbers
    return StaffGeometry(staff.x * factor + shift, staff.y * factor + shift, staff.space * factor)


def _traced(grey: Grey) -> list[StaffGeometry]:
    found: list[StaffGeometry] = []
    for count, seed in enumerate(seeds(find_hits(grey))):
        if count >= MAX_SEEDS:
            break
        if any(_covers(staff, seed) for staff in found):
            continue
        staff = trace(grey, seed)
        if staff is not None and not any(_covers(other, staff) for other in found):
            found.append(staff)
    joined = _joined(found)
    whole = [staff if staff in found else trace(grey, staff, certain=True) for staff in joined]
    staves = [staff for staff in whole if staff and is_staff(look(grey, staff, 0.0))]
    return sorted(_plausible(staves), key=lambda staff: float(staff.y.mean()))


def _joined(pieces: list[StaffGeometry]) -> list[StaffGeometry]:
    """Pieces of one staff, cut apart by dense notes, put together where one carries on the other."""
    rest = sorted(pieces, key=lambda staff: float(staff.x[0]))
    joined: list[StaffGeometry] = []
    while rest:
        staff = rest.pop(0)
        for other in [piece for piece in rest if piece.x[-1] > staff.x[-1]]:
            if _carries_on(staff, other):
                rest.remove(other)
                staff = _together(staff, other)
        joined.append(staff)
    return joined


def _together(left: StaffGeometry, right: StaffGeometry) -> StaffGeometry:
    left_end = min(float(left.x[-1]), float(right.x[0])) - left.mean_space
    start = max(float(left.x[-1]), float(right.x[0])) + left.mean_space
    first, then = left.x <= max(left_end, left.x[0]), right.x >= min(start, right.x[-1])
    x, y, space = (
        np.concatenate([getattr(left, name)[first], getattr(right, name)[then]]) for name in ("x", "y", "space")
    )
    return StaffGeometry(x, y, space)


def _carries_on(left: StaffGeometry, right: StaffGeometry) -> bool:
    """Whether `right`, carried on to where `left` ends, meets it. Pieces may overlap by a clef's width."""
    gap = float(right.x[0] - left.x[-1]) / left.mean_space
    if not -MAX_OVERLAP < gap < MAX_JOIN or abs(right.mean_space / left.mean_space - 1) > 0.15:
        return False
    y_left = left.at(np.array([left.along()[-1] + gap / 2]))[1][0]
    y_right = right.at(np.array([-gap / 2]))[1][0]
    return bool(abs(y_left - y_right) < 0.6 * left.mean_space)


def _covers(staff: StaffGeometry, other: StaffGeometry) -> bool:
    """Whether the middle of `other` lies within the lines of `staff`."""
    x, y = float(np.median(other.x)), float(np.median(other.y))
    if not staff.x[0] - staff.mean_space <= x <= staff.x[-1] + staff.mean_space:
        return False
    return abs(float(np.interp(x, staff.x, staff.y)) - y) < 3 * staff.mean_space


def _plausible(staves: list[StaffGeometry]) -> list[StaffGeometry]:
    """Long enough, and of a size with the longest one."""
    if not staves:
        return []
    longest = max(staves, key=lambda staff: staff.along()[-1])
    return [
        staff
        for staff in staves
        if staff.along()[-1] >= MIN_LENGTH and 0.5 < staff.mean_space / longest.mean_space < 2
    ]
