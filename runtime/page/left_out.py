"""What a page may hold besides the staves that were found, in sentences for the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .geometry import Grey, StaffGeometry
from .staff_strip import HALF, SPACE, look

SURE = 5.0  # px of a staff space from which readings are as good as from larger pictures
LIKELY = 12.0  # staff spaces of something like a staff that are worth a word
WIDE = 1.6  # times the largest usual distance of staves: room for one more
INKED = 0.06  # share of ink in that room; less is empty paper


def notes_on(page: Grey, staves: Sequence[StaffGeometry], doubtful: Sequence[StaffGeometry]) -> list[str]:
    """Sentences on small staves, on parts of staves that could not be followed, and on gaps between staves.

    Args:
        page: upright.
        staves: those found, in reading order.
        doubtful: what looked like part of a staff and was given up.
    """
    return [*_small(staves), *_given_up(staves, doubtful), *_gaps(page, staves)]


def _small(staves: Sequence[StaffGeometry]) -> Iterator[str]:
    sizes = [staff.mean_space for staff in staves if staff.mean_space < SURE]
    if sizes:
        yield (
            f"{len(sizes)} of {len(staves)} staves have only {min(sizes):.1f} px from line to line; "
            f"expect errors below {SURE:.0f} px, and give a larger picture if there is one"
        )


def _given_up(staves: Sequence[StaffGeometry], doubtful: Sequence[StaffGeometry]) -> Iterator[str]:
    usual = float(np.median([staff.mean_space for staff in staves])) if staves else 0.0
    told: list[float] = []
    for part in doubtful:
        y = float(part.y.mean())
        alike = not usual or 0.8 < part.mean_space / usual < 1.25
        if alike and part.along()[-1] >= LIKELY and all(abs(y - other) > 4 * part.mean_space for other in told):
            told.append(y)
            x = float(part.x.mean())
            yield f"something like a staff at x {x:.0f}, y {y:.0f} px was left out: it could not be followed"


def _gaps(page: Grey, staves: Sequence[StaffGeometry]) -> Iterator[str]:
    """Where two staves are further apart than any others, with ink between them."""
    pairs = [
        (number, above, below)
        for number, (above, below) in enumerate(zip(staves[:-1], staves[1:], strict=True), 1)
        if min(above.x[-1], below.x[-1]) - max(above.x[0], below.x[0]) > LIKELY * above.mean_space
    ]
    distances = [_distance(above, below) for _, above, below in pairs]
    for place, ((number, above, below), distance) in enumerate(zip(pairs, distances, strict=True)):
        others = distances[:place] + distances[place + 1 :]
        if len(others) > 1 and distance > WIDE * max(others) and _ink_between(page, above, below) > INKED:
            yield f"between staff {number} and staff {number + 1} there is room for another one, which was not found"


def _distance(above: StaffGeometry, below: StaffGeometry) -> float:
    """From middle line to middle line in px, where both are."""
    x = (max(above.x[0], below.x[0]) + min(above.x[-1], below.x[-1])) / 2
    return float(np.interp(x, below.x, below.y) - np.interp(x, above.x, above.y))


def _ink_between(page: Grey, above: StaffGeometry, below: StaffGeometry) -> float:
    """Share of ink halfway between two staves, as wide as the upper one and ten staff spaces high."""
    halfway = StaffGeometry(above.x, above.y + _distance(above, below) / 2, above.space)
    ink = look(page, halfway, 0.0).ink
    return float((ink[SPACE : (2 * HALF - 1) * SPACE] > 0.6).mean())
