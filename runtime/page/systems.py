"""A page cut into systems, in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .geometry import Grey, StaffGeometry
from .left_out import notes_on
from .orientation import UpsideDown, clefs_at_the_end, is_dark_on_bright, turn, turned_round
from .staves import by_rows, find_staff, find_staves, search

LONG = 25.0  # staff spaces; chance draws no staff of this length
LINE = 3.0  # times as wide as high: a picture of one line
DARK = 110  # grey of a page that may be white on black


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
        systems: in reading order; empty where there is no staff.
        notes: sentences on staves that are too small to be read surely, or that may have been left out.
    """

    grey: Grey
    turned: int
    systems: tuple[System, ...]
    notes: tuple[str, ...] = ()


def lay_out(grey: Grey, lies_upside_down: UpsideDown = clefs_at_the_end) -> Layout:
    """Turns a page the right way up and finds its systems.

    The page is taken as it lies. Only where that shows no long staff is it tried on its side, and as white on black;
    what holds more staff wins.

    Args:
        grey: uint8 [H, W], in any of the four orientations, black on white or white on black.
        lies_upside_down: tells it from the page and its staves; without a network, from their ink alone.
    """
    dark = bool(np.median(grey[::8, ::8]) < DARK)
    best = _found(grey, 0, dark)
    for page in (255 - grey, grey) if dark else (grey,):
        for turned in (0, 1):
            if (turned or page is not grey) and not (best.convincing and page is grey):
                best = max(best, _found(turn(page, turned), turned, dark), key=lambda found: found.weight)
    if best.staves and lies_upside_down(best.page, best.staves):
        staves = [turned_round(staff, best.page) for staff in best.staves]
        doubtful = [turned_round(staff, best.page) for staff in best.doubtful]
        best = _Found(turn(best.page, 2), best.turned + 2, staves, doubtful)
    systems = tuple(as_systems(best.staves))
    notes = notes_on(best.page, [system.staves[0] for system in systems], best.doubtful)
    return Layout(best.page, best.turned, systems, tuple(notes))


@dataclass(frozen=True, eq=False)
class _Found:
    """What one orientation of a page shows."""

    page: Grey
    turned: int
    staves: list[StaffGeometry]
    doubtful: list[StaffGeometry]

    @property
    def weight(self) -> float:
        """Staff spaces of all staves together; short ones, which chance may draw, count little."""
        lengths = [float(staff.along()[-1]) for staff in self.staves]
        return sum(min(1.0, (length / LONG) ** 2) * length for length in lengths)

    @property
    def convincing(self) -> bool:
        """Whether there is a staff that no chance draws."""
        return any(staff.along()[-1] >= LONG for staff in self.staves)


def _found(page: Grey, turned: int, dark: bool) -> _Found:
    staves, doubtful = search(page)
    longest = max((float(staff.along()[-1]) for staff in staves), default=0.0)
    # In a picture of one line more of it may be there, too faint for a page's search.
    if len(staves) < 2 and longest < LONG and page.shape[1] > LINE * page.shape[0]:
        staves = [staff for staff in [find_staff(page, staves)] if staff]
    return _Found(page, turned, [staff for staff in staves if not dark or is_dark_on_bright(page, staff)], doubtful)


def find_systems(grey: Grey) -> list[System]:
    """All systems of an upright page in reading order; empty where there is no staff."""
    return as_systems(find_staves(grey))


def as_systems(staves: Sequence[StaffGeometry]) -> list[System]:
    """Staves in reading order: the left page of a spread first, then from top to bottom, on one row from the left."""
    return [System(staff.box(), (staff,)) for page in _pages(list(staves)) for staff in by_rows(page)]


def _pages(staves: list[StaffGeometry]) -> list[list[StaffGeometry]]:
    """The staves of each page of a spread: two groups side by side, each of two staves at least."""
    by_place = sorted(staves, key=lambda staff: float(staff.x.mean()))
    places = [float(staff.x.mean()) for staff in by_place]
    for count in sorted(range(2, len(staves) - 1), key=lambda n: places[n - 1] - places[n]):
        left, right = by_place[:count], by_place[count:]
        pairs = [(one, other) for one in left for other in right if _beside(one, other)]
        several = min(len({id(pair[side]) for pair in pairs}) for side in (0, 1)) > 1 if pairs else False
        if several and all(one.x[-1] < other.x[0] for one, other in pairs):
            return [*_pages(left), *_pages(right)]
    return [staves]


def _beside(one: StaffGeometry, other: StaffGeometry) -> bool:
    """Whether two staves are as high as each other on the page, give or take a line of music."""
    return bool(abs(one.y[-1] - other.y[0]) < 8 * one.mean_space)
