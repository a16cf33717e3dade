"""The five-line staves of an upright page.

A first look gives seeds (`runtime.page.staff_lines`), each seed is followed to both ends of its staff
(`runtime.page.trace`), pieces that dense notes cut apart are put together, and what is no staff after all is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .geometry import Grey, StaffGeometry
from .single_line import complete
from .staff_lines import chained, first_look
from .staff_strip import is_interrupted, is_staff, look, shift
from .trace import Traced, trace

MIN_LENGTH = 10.0  # staff spaces; clef, meter and a note take more, and shorter finds are tables, rulers, text
MAX_SEEDS = 160  # of a page, longest first
MAX_FAILURES = 25  # seeds in a row that are no staff; the shorter ones that follow are none either
TRACED = 15.0  # px of a staff space; larger staves are traced in the halved page
MAX_JOIN, MAX_OVERLAP = 24.0, 8.0  # staff spaces between, or shared by, pieces of one staff
TOO_NEAR = 4.5  # staff spaces from middle line to middle line; ledger lines lie there, and no other staff
SURE = 6.0  # staff spaces of a seed that is staff even if its lines are broken
GHOST, ANY = 2.4, float("inf")  # times a staff is larger than what is drawn between its lines, or than anything
BROKEN = 0.7  # of a seed; where less of it shows lines throughout, they are broken
LINE_HEIGHT = 400  # px of a single line's picture in which faint lines are summed up
MAX_SIDE = 4_500  # px; of longer pages this much is enough to tell the staff space


def find_staff(grey: Grey, seen: Sequence[StaffGeometry] | None = None) -> StaffGeometry | None:
    """The staff of a picture that shows one line, from end to end even where it is faint.

    Args:
        grey: the picture.
        seen: what `find_staves` found on it; it is called without that.
    """
    if min(grey.shape) < 16:
        return None
    longest = max(find_staves(grey) if seen is None else seen, key=lambda staff: staff.along()[-1], default=None)
    scale = min(2.0, LINE_HEIGHT / grey.shape[0])
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    scaled = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method), dtype=np.uint8)
    found = complete(scaled, None if longest is None else _scaled(longest, scale))
    return None if found is None else _scaled(found, 1 / scale)


def staff_space(grey: Grey) -> float | None:
    """Staff space of an upright page in px, from the first look alone; None where it sees no staff."""
    top = grey[:MAX_SIDE]  # enough of a very long page
    seeds = first_look(top) if min(top.shape) >= 16 else []
    return seeds[0].mean_space if seeds else None


def find_staves(grey: Grey) -> list[StaffGeometry]:
    """All five-line staves of an upright page, from top to bottom."""
    return search(grey)[0]


def search(grey: Grey) -> tuple[list[StaffGeometry], list[StaffGeometry]]:
    """All five-line staves of an upright page from top to bottom, and what looks like parts of others."""
    if min(grey.shape) < 16:
        return [], []
    pages = Sizes(grey)
    pieces, failed = _pieces(grey, pages)
    # What lies beside a page may run on where a staff ends; only what is staff by itself is joined.
    likely = {id(piece.staff): piece for piece in pieces if is_staff(piece.strip)}
    joined = [piece for piece in pieces if id(piece.staff) not in likely]
    for staff in _joined([piece.staff for piece in likely.values()], pages):
        whole = likely.get(id(staff)) or pages.trace(staff, certain=True)
        joined += [whole] if whole else []
    good = [t.staff for t in joined if t.staff.along()[-1] >= MIN_LENGTH and pages.is_staff(t.staff)]
    failed += [t.staff for t in joined if not any(t.staff is staff for staff in good)]
    staves: list[StaffGeometry] = []
    for staff in sorted(_without_ghosts(good), key=lambda staff: -staff.along()[-1]):
        if not any(_covers(longer, staff, ANY) for longer in staves):
            staves.append(staff)
    staves = by_rows(_plausible(staves))
    doubtful = [part for part in failed if not any(_covers(staff, part) for staff in staves)]
    return staves, doubtful


def _pieces(grey: Grey, pages: Sizes) -> tuple[list[Traced], list[StaffGeometry]]:
    """What the seeds of a page are part of, and the seeds that are part of nothing."""
    pieces: list[Traced] = []
    failed: list[StaffGeometry] = []
    failures = 0
    seeds = first_look(grey)[:MAX_SEEDS]
    chains = chained(seeds)
    alone = {(chain.x[0], chain.y[0]) for chain in chains if len(chain.x) == 2}
    for seed in [*chains, *(seed for seed in seeds if (seed.x[0], seed.y[0]) not in alone)]:
        if any(_covers(piece.staff, seed, GHOST) for piece in pieces):
            continue
        traced = pages.trace(seed)
        length = float(seed.along()[-1])
        if len(seed.x) == 2 and length > SURE and (traced is None or traced.staff.along()[-1] < BROKEN * length):
            traced = pages.trace(seed, certain=True)
        if traced is not None and not any(_covers(piece.staff, traced.staff) for piece in pieces):
            pieces.append(traced)
            failures = 0
            continue
        failures += 1
        if traced is None:
            failed.append(seed)
        if failures > MAX_FAILURES:
            break
    return pieces, failed


class Sizes:
    """A page in several sizes, so that every staff is traced where its staff space is at most `TRACED` px.

    Larger sizes cost time and show the dots of halftoned lines instead of lines.
    """

    def __init__(self, grey: Grey) -> None:
        self.pages = [grey]

    def at(self, space: float) -> tuple[Grey, float]:
        """The page for staves of `space` px, and its scale."""
        halvings = max(0, int(np.ceil(np.log2(space / TRACED))))
        while len(self.pages) <= halvings:
            smaller = cv2.resize(self.pages[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            self.pages.append(np.asarray(smaller, np.uint8))
        return self.pages[halvings], 0.5**halvings

    def trace(self, seed: StaffGeometry, certain: bool = False) -> Traced | None:
        """The whole staff that a seed is part of, in px of the page; see `runtime.page.trace.trace`."""
        page, scale = self.at(seed.mean_space)
        traced = trace(page, _scaled(seed, scale), certain)
        for _ in range(2):
            lines = 0 if traced is None else shift(traced.strip)
            if traced is None or not lines:
                break
            traced = trace(page, _moved_by_lines(traced.staff, lines))
        return None if traced is None else Traced(_scaled(traced.staff, 1 / scale), traced.strip)

    def part(self, left: StaffGeometry, right: StaffGeometry) -> bool:
        """Whether bare paper lies between two pieces."""
        page, scale = self.at(left.mean_space)
        both = _scaled(_together(left, right), scale)
        along = both.along()
        ends = [float(np.interp(x * scale, both.x, along)) for x in (left.x[-1], right.x[0])]
        return is_interrupted(look(page, both, 0.0), min(ends), max(ends))

    def is_staff(self, staff: StaffGeometry) -> bool:
        """See `runtime.page.staff_strip.is_staff`."""
        page, scale = self.at(staff.mean_space)
        return is_staff(look(page, _scaled(staff, scale), 0.0))


def _moved_by_lines(staff: StaffGeometry, lines: int) -> StaffGeometry:
    return StaffGeometry(staff.x, staff.y + lines * staff.space, staff.space)


def _scaled(staff: StaffGeometry, factor: float) -> StaffGeometry:
    shift = 0.5 * factor - 0.5  # centres of pixels, not their corners, are at whole numbers
    return StaffGeometry(staff.x * factor + shift, staff.y * factor + shift, staff.space * factor)


def _joined(pieces: list[StaffGeometry], pages: Sizes) -> list[StaffGeometry]:
    """Pieces of one staff, cut apart by dense notes, put together where one carries on the other."""
    rest = sorted(pieces, key=lambda staff: float(staff.x[0]))
    joined: list[StaffGeometry] = []
    while rest:
        staff = rest.pop(0)
        for other in [piece for piece in rest if piece.x[-1] > staff.x[-1]]:
            if _carries_on(staff, other) and not pages.part(staff, other):
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


def _without_ghosts(staves: list[StaffGeometry]) -> list[StaffGeometry]:
    """Without staves half as large inside others: sharpening draws a ghost between each two lines."""

    def is_ghost(staff: StaffGeometry, other: StaffGeometry) -> bool:
        wide = other.x[-1] - other.x[0] > 0.5 * (staff.x[-1] - staff.x[0])
        return bool(wide and 1.7 < other.mean_space / staff.mean_space < 2.3 and _covers(other, staff, ANY))

    return [staff for staff in staves if not any(is_ghost(staff, other) for other in staves)]


def _covers(staff: StaffGeometry, other: StaffGeometry, larger: float = 1.7) -> bool:
    """Whether the middle of `other` lies too near `staff`, up to so many times larger, to be a staff beside it."""
    if larger < ANY and not 0.6 < staff.mean_space / other.mean_space < larger:
        return False
    x, y = float(np.median(other.x)), float(np.median(other.y))
    if not staff.x[0] - staff.mean_space <= x <= staff.x[-1] + staff.mean_space:
        return False
    return abs(float(np.interp(x, staff.x, staff.y)) - y) < TOO_NEAR * staff.mean_space


def _plausible(staves: list[StaffGeometry]) -> list[StaffGeometry]:
    """Those of the size that most of the page has, and up to twice as large or small."""

    def alike(staff: StaffGeometry) -> list[StaffGeometry]:
        return [other for other in staves if 0.5 < other.mean_space / staff.mean_space < 2]

    sizes = [alike(staff) for staff in staves]
    return max(sizes, key=lambda some: sum(s.along()[-1] * (s.x[-1] - s.x[0]) for s in some), default=[])


def by_rows(staves: list[StaffGeometry]) -> list[StaffGeometry]:
    """From top to bottom; staves that carry on the same row from left to right."""
    rows: list[list[StaffGeometry]] = []
    for staff in sorted(staves, key=lambda staff: float(staff.y.mean())):
        row = next((row for row in rows if all(_same_row(other, staff) for other in row)), None)
        if row is None:
            rows.append([staff])
        else:
            row.append(staff)
    return [staff for row in rows for staff in sorted(row, key=lambda staff: float(staff.x[0]))]


def _same_row(one: StaffGeometry, other: StaffGeometry) -> bool:
    left, right = sorted((one, other), key=lambda staff: float(staff.x[0]))
    if right.x[0] < left.x[-1]:
        return False
    gap = float(right.x[0] - left.x[-1]) / left.mean_space
    y = left.at(np.array([left.along()[-1] + gap]))[1][0]
    return bool(abs(y - right.y[0]) < 3 * left.mean_space)
