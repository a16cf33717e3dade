"""A page cut into systems, in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Grey, StaffGeometry
from .left_out import notes_on
from .orientation import UpsideDown, clefs_at_the_end, is_dark_on_bright, turn, turned_round
from .single import complete
from .staff_lines import first_look
from .strip import is_interrupted, is_staff, look, shift
from .trace import Traced, trace

MIN_LENGTH = 8.0  # staff spaces; shorter finds are tables, rulers, text
MAX_SEEDS = 160  # of a page, longest first
MAX_FAILURES = 25  # seeds in a row that are no staff; the shorter ones that follow are none either
TRACED = 15.0  # px of a staff space; larger staves are traced in the halved page
MAX_JOIN, MAX_OVERLAP = 24.0, 8.0  # staff spaces between, or shared by, pieces of one staff
LINE_HEIGHT = 400  # px of a single line's picture in which faint lines are summed up
MAX_SIDE = 4_500  # px; of longer pages this much is enough to tell the staff space
LONG = 25.0  # staff spaces; chance draws no staff of this length
LINE = 3.0  # times as wide as high: a picture of one line
PART = 0.6  # of such a picture's width; of a staff that takes less, a part may have been too faint
BROKEN = 0.7  # of a seed; where less of it shows lines throughout, they are broken
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
    seen = max((staff.x[-1] - staff.x[0] for staff in staves), default=0.0)
    if len(staves) < 2 and page.shape[1] > LINE * page.shape[0] and seen < PART * page.shape[1]:
        staves = [staff for staff in [find_staff(page, staves)] if staff]
    return _Found(page, turned, [staff for staff in staves if not dark or is_dark_on_bright(page, staff)], doubtful)


def find_systems(grey: Grey) -> list[System]:
    """All systems of an upright page in reading order; empty where there is no staff."""
    return as_systems(find_staves(grey))


def as_systems(staves: Sequence[StaffGeometry]) -> list[System]:
    """Staves in reading order: the left page of a spread first, then from top to bottom, on one row from the left."""
    return [System(staff.box(), (staff,)) for page in _pages(list(staves)) for staff in _by_rows(page)]


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


def _by_rows(staves: list[StaffGeometry]) -> list[StaffGeometry]:
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
    whole = {id(piece.staff): piece for piece in pieces}
    together = _joined([piece.staff for piece in pieces], pages)
    joined = [whole.get(id(staff)) or pages.trace(staff, certain=True) for staff in together]
    good = [t.staff for t in joined if t and t.staff.along()[-1] >= MIN_LENGTH and is_staff(t.strip)]
    failed += [t.staff for t in joined if t and not any(t.staff is staff for staff in good)]
    staves: list[StaffGeometry] = []
    for staff in sorted(_without_ghosts(good), key=lambda staff: -staff.along()[-1]):
        if not any(_covers(longer, staff, 0.0) for longer in staves):
            staves.append(staff)
    staves = _by_rows(_plausible(staves))
    doubtful = [part for part in failed if not any(_covers(staff, part) for staff in staves)]
    return staves, doubtful


def _pieces(grey: Grey, pages: Sizes) -> tuple[list[Traced], list[StaffGeometry]]:
    """What the seeds of a page are part of, and the seeds that are part of nothing."""
    pieces: list[Traced] = []
    failed: list[StaffGeometry] = []
    failures = 0
    seeds = first_look(grey)[:MAX_SEEDS]
    for seed in [*chained(seeds), *seeds]:
        if any(_covers(piece.staff, seed) for piece in pieces):
            continue
        traced = pages.trace(seed)
        if len(seed.x) == 2 and (traced is None or traced.staff.along()[-1] < BROKEN * seed.along()[-1]):
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
        """The whole staff that a seed is part of, in px of the page; see `runtime.trace.trace`."""
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


def _moved_by_lines(staff: StaffGeometry, lines: int) -> StaffGeometry:
    return StaffGeometry(staff.x, staff.y + lines * staff.space, staff.space)


def _scaled(staff: StaffGeometry, factor: float) -> StaffGeometry:
    shift = 0.5 * factor - 0.5  # centres of pixels, not their corners, are at whole numbers
    return StaffGeometry(staff.x * factor + shift, staff.y * factor + shift, staff.space * factor)


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
    gap[~fits | (gap < -2) | (gap > MAX_JOIN)] = np.inf
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
        return bool(wide and 1.7 < other.mean_space / staff.mean_space < 2.3 and _covers(other, staff, 0.0))

    return [staff for staff in staves if not any(is_ghost(staff, other) for other in staves)]


def _covers(staff: StaffGeometry, other: StaffGeometry, alike: float = 0.6) -> bool:
    """Whether the middle of `other` lies within the lines of `staff`, one being at least `alike` times the other."""
    if not alike < staff.mean_space / other.mean_space < 1 / max(alike, 1e-9):
        return False
    x, y = float(np.median(other.x)), float(np.median(other.y))
    if not staff.x[0] - staff.mean_space <= x <= staff.x[-1] + staff.mean_space:
        return False
    return abs(float(np.interp(x, staff.x, staff.y)) - y) < 3 * staff.mean_space


def _plausible(staves: list[StaffGeometry]) -> list[StaffGeometry]:
    """Those of the size that most of the page has, and up to twice as large or small."""

    def alike(staff: StaffGeometry) -> list[StaffGeometry]:
        return [other for other in staves if 0.5 < other.mean_space / staff.mean_space < 2]

    sizes = [alike(staff) for staff in staves]
    return max(sizes, key=lambda some: sum(s.along()[-1] * (s.x[-1] - s.x[0]) for s in some), default=[])
