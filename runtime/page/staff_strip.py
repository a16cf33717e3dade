"""What is drawn along a guessed staff, and whether five lines run through it.

A strip is the page around the guess made straight; everything here looks at strips, and `runtime.page.trace` moves the
guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import WHITE, Floats, Grey, StaffGeometry, straighten
from .preparation import whiten

SPACE = 10  # px of a staff space in a strip
HALF = 5  # staff spaces shown above and below the middle line
MIDDLE = HALF * SPACE - 1  # row of the middle line (each row averages two of the straightened picture)
LINES = (-2, -1, 0, 1, 2)  # staff spaces from the middle line
GAPS = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
REACH = 12  # the offset searched, in px of the strip
MIN_CONTRAST = 4.0  # grey levels between a line and the paper beside it
MAX_GAP = 10.0  # staff spaces of ink that hide the lines inside a staff
MAX_BLANK = 1.2  # staff spaces of bare paper; more is the margin between two pages
MAX_INK = 4  # staff spaces of it taken on beyond the last visible lines
# Of the first, third and fifth line that the others have at least between the notes: with less they are ghosts that
# sharpening draws between the lines of a staff twice as large. Such ghosts had 0.22 to 0.31, staves 0.55 or more, even
# where lines 4.5 px apart fall on whole and half pixels in turn.
EVEN = 0.42
COVER = 4 * SPACE + 1  # px over which a line must come through


@dataclass(frozen=True)
class Strip:
    """What is drawn around a staff, made straight at SPACE px a staff space: [2 * HALF * SPACE - 1, W].

    Attributes:
        ink: 0 paper, 1 as dark as the staff's own lines, or darker.
        ridge: thin horizontal strokes, by how much darker they are than what lies a quarter of a staff space
            above and below. Beams and noteheads, darker and thicker, would pull the trace to them otherwise.
    """

    ink: Floats
    ridge: Floats

    def part(self, start: float, stop: float) -> Strip:
        """What lies between two places, in staff spaces along the strip."""
        columns = slice(round(start * SPACE), max(round(stop * SPACE), round(start * SPACE) + 1))
        return Strip(self.ink[:, columns], self.ridge[:, columns])


def look(grey: Grey, staff: StaffGeometry, unsure: float) -> Strip:
    """The strip along a guessed line.

    Args:
        grey: the page.
        staff: the line guessed.
        unsure: staff spaces at both ends where there may be no staff, so no line to learn the darkness from.
    """
    strip = straighten(grey, staff, SPACE, 2 * HALF * SPACE, (0.0, 0.0), coarse=True)
    dark = WHITE - whiten(strip, 3 * SPACE + 1).astype(np.float32)
    ink = np.asarray(cv2.blur(dark, (5, 1), borderType=cv2.BORDER_REPLICATE), np.float64)
    ink = 0.5 * (ink[1:] + ink[:-1])
    edge = round(unsure * SPACE)
    sure = slice(edge, max(ink.shape[1] - edge, edge + 1))
    ink = np.minimum(ink / _level(ink[:, sure]), 1.0)
    far = SPACE // 4 + 1
    padded = np.pad(ink, ((far, far), (0, 0)), mode="edge")
    ridge = np.clip(ink - np.maximum(padded[: -2 * far], padded[2 * far :]), 0.0, None)
    return Strip(ink, np.minimum(ridge / _level(ridge[:, sure], 0.1), 1.0))


def _level(values: Floats, least: float = MIN_CONTRAST) -> float:
    """How strong the lines are where they can be seen."""
    return max(float(np.quantile(np.median(_rows(values, LINES), axis=0), 0.6)), least)


def _rows(values: Floats, places: tuple[float, ...]) -> Floats:
    """The strongest value near each of some places, given in staff spaces from the middle line: [places, W]."""
    rows = [round(MIDDLE + place * SPACE) for place in places]
    return np.stack([values[row - 1 : row + 2].max(axis=0) for row in rows])


def comb(ridge: Floats, scale: float = 1.0) -> Floats:
    """How much of five lines, and of nothing where a sixth would be, there is.

    Returns:
        [2 * REACH + 1, W]: for each offset of the middle line, -REACH..REACH in px of the strip.
    """
    offsets = np.arange(-REACH, REACH + 1, dtype=np.float32)
    columns = np.arange(ridge.shape[1], dtype=np.float32)
    source = ridge.astype(np.float32)

    def at(line: float) -> Floats:
        rows = (MIDDLE + offsets + line * SPACE * scale)[:, None]
        map_y = np.repeat(rows, len(columns), axis=1).astype(np.float32)
        map_x = np.repeat(columns[None], len(offsets), axis=0)
        values = cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(values, dtype=np.float64)

    lines = at(-2) + at(-1) + at(0) + at(1) + at(2)
    return lines / 5 - 0.3 * (at(-3) + at(3))


def visible_ends(strip: Strip, known: tuple[float, float] | None = None) -> tuple[float, float] | None:
    """First and last place of the staff, in staff spaces along the strip, or None where none runs through.

    Among dense notes hardly a column shows all lines, but over a few staff spaces each of them comes through.
    The staff is the longest stretch that no gap of more than `MAX_GAP`, or `MAX_BLANK` of bare paper, interrupts;
    from `known[0]` to `known[1]` there is staff for certain.
    """
    lines = _rows(strip.ridge, LINES)
    cover = np.sort(cv2.blur(lines, (COVER, 1), borderType=cv2.BORDER_CONSTANT), axis=0)
    # Noise and print that shines through make strokes as well, but between all lines as often as on them.
    gaps = cv2.blur(_rows(strip.ridge, GAPS), (COVER, 1), borderType=cv2.BORDER_CONSTANT)
    noise = np.median(gaps, axis=0)
    running = (cover[1] > 0.12 + noise) & (cover.mean(axis=0) > 0.25 + noise)  # a beam may hide one line
    clear = np.sort(cv2.blur(lines, (5, 1), borderType=cv2.BORDER_CONSTANT), axis=0)
    # The few columns before a clef are no stretch, but there nothing hides the lines.
    seen = (running & (clear[2] > 0.5)) | ((clear[1] > 0.6) & (noise < 0.2))
    if known is not None:
        seen[round(known[0] * SPACE) : round(known[1] * SPACE)] = True
    places = np.flatnonzero(seen)
    if len(places) == 0:
        return None
    blank = np.concatenate([[0], np.cumsum(_blank(strip))])
    bare = blank[places[1:]] - blank[places[:-1]]
    runs = np.split(places, np.flatnonzero((np.diff(places) > MAX_GAP * SPACE) | (bare > MAX_BLANK * SPACE)) + 1)
    longest = max(runs, key=len)
    if len(longest) < 2 * SPACE:
        return None
    inked = (strip.ink[MIDDLE - 2 * SPACE : MIDDLE + 2 * SPACE + 1] > 0.8).mean(axis=0) > 0.12
    left, right = _with_ink(inked, int(longest[0]), -1), _with_ink(inked, int(longest[-1]), 1)
    return left / SPACE, (right + 1) / SPACE


def is_interrupted(strip: Strip, start: float, stop: float) -> bool:
    """Whether bare paper lies between two places, in staff spaces along the strip."""
    return bool(_blank(strip)[round(start * SPACE) : round(stop * SPACE)].sum() > MAX_BLANK * SPACE)


def _blank(strip: Strip) -> NDArray[np.bool_]:
    """Columns of bare paper: nothing hides the lines, and over some staff spaces there is no trace of them."""
    ink = strip.ink[MIDDLE - 2 * SPACE : MIDDLE + 2 * SPACE + 1].mean(axis=0)
    lines = _rows(strip.ridge, LINES).mean(axis=0) - _rows(strip.ridge, GAPS).mean(axis=0)
    trace = cv2.blur(lines[None], (3 * SPACE // 2 + 1, 1), borderType=cv2.BORDER_REPLICATE)[0]
    return np.asarray((ink < 0.35) & (trace < 0.06), np.bool_)  # grain alone is 0.25


def _with_ink(inked: NDArray[np.bool_], end: int, step: int) -> int:
    """The end moved past what still stands on the staff where its lines can't be told: a clef, a thick bar."""
    for place in range(end, end + step * MAX_INK * SPACE, step):
        if not 0 <= place < len(inked) or abs(place - end) > SPACE // 2:
            break
        if inked[place]:
            end = place
    return end


def shift(strip: Strip) -> int:
    """By how many lines a guess lies too high: -2 to 2.

    Below low notes and above high ones, ledger lines continue the staff. Between the notes there are five lines alone,
    so only the emptiest columns are asked.
    """
    clear = _clear(strip)
    rows = _rows(strip.ridge, tuple(range(-4, 5)))[:, clear].mean(axis=1)
    padded = np.concatenate([[0.0], rows, [0.0]])
    five = np.array([rows[k : k + 5].mean() - 0.5 * (padded[k] + padded[k + 6]) for k in range(5)])
    best = int(five.argmax()) - 2
    return best if five[best + 2] > five[2] + 0.05 * max(float(rows.max()), 1e-6) else 0


def _clear(strip: Strip) -> NDArray[np.bool_]:
    """The quarter of the columns with least ink, up to four staff spaces from the middle line."""
    ink = strip.ink[MIDDLE - 4 * SPACE : MIDDLE + 4 * SPACE + 1].mean(axis=0)
    ink = cv2.blur(ink[None], (5, 1), borderType=cv2.BORDER_REPLICATE)[0]
    return np.asarray(ink <= np.quantile(ink, 0.25))


def is_staff(strip: Strip, sixth: float = 0.6, steady: float = 0.35) -> bool:
    """Five lines, no sixth and little between them: ruled paper, tablature, chant and noise are none.

    On 773 staves of engraved and photographed pages the faintest line had at least 0.45 of the median line, places
    of a sixth line at most 0.39, gaps at most 0.04. Columns without notes are asked as well: there ledger lines of
    many low or high notes are no sixth line, and there 306 engraved staves, photographed and scanned, had at least
    0.66 more on their lines than between them (99 % of them 0.35 on the faintest line of each column), while what
    grain and rows of notes look like had at most 0.26 (and 0.01).

    Args:
        strip: along the whole staff.
        sixth: share of the median line up to which a sixth line may be a beam or a slur.
        steady: how much more must be on the lines than between them, where nothing else is; 0 to 1.
    """
    lines, beyond, gaps = (_rows(strip.ridge, places) for places in (LINES, (-3, 3), GAPS))
    usual = float(np.median(lines.mean(axis=1)))
    if lines.mean(axis=1).min() <= 0.25 * usual or np.median(gaps.mean(axis=1)) >= 0.25 * usual:
        return False
    clear = _clear(strip)
    if lines[1::2, clear].mean() < EVEN * lines[::2, clear].mean():
        return False
    if lines[:, clear].mean() - gaps[:, clear].mean() < steady or lines[:, clear].min(axis=0).mean() < 0.2 * steady:
        return False
    if beyond.mean(axis=1).max() < sixth * usual:
        return True
    usual = float(np.median(lines[:, clear].mean(axis=1)))
    return bool(beyond[:, clear].mean(axis=1).max() < 0.65 * usual)
