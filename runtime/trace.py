"""Follows a staff from a seed to both of its ends.

The page around the guessed line is made straight (`geometry.straighten`); whatever bend is left shows as a
small offset of the five lines, band by band. The offsets correct the guess, the ends move outwards as long as
there are lines, and after a few rounds the staff is straight.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import WHITE, Floats, Grey, StaffGeometry, straighten
from .image import whiten

SPACE = 10  # px of a staff space in the straightened strip
HALF = 5  # staff spaces looked at above and below the middle line
MIDDLE = HALF * SPACE - 1  # row of the middle line among the ridges (each averages two rows of the strip)
LINES = (-2, -1, 0, 1, 2)  # staff spaces from the middle line
GAPS = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
REACH = 12  # the offset searched, in px of the strip
MIN_CONTRAST = 4.0  # grey levels between a line and the paper beside it
SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)  # staff spaces tried, relative to the guess
ROUNDS = 12
MAX_GAP = 10.0  # staff spaces of ink that hide the lines inside a staff
MAX_INK = 4  # staff spaces of it taken on beyond the last visible lines
COVER = 4 * SPACE + 1  # px of the strip over which a line must come through
STIFFNESS = 60.0  # of the smoothed line; bends over less than about six staff spaces are noise


def trace(grey: Grey, seed: StaffGeometry, certain: bool = False) -> StaffGeometry | None:
    """The whole staff that a seed is part of.

    Args:
        grey: the page.
        seed: a short, roughly right piece of a staff.
        certain: all of the seed is staff, even where its lines are hidden.

    Returns:
        The staff from its first to its last line end, or None where there is none after all.
    """
    staff = resampled(seed)
    known = (0.0, float(staff.along()[-1])) if certain else None
    grown, settled = 16.0, False
    for _ in range(ROUNDS):
        longer = extended(staff, grown)
        longer = refined(longer, look(grey, longer, grown))
        if known is not None:
            known = (known[0] + grown, known[1] + grown)
        ends = visible_ends(look(grey, longer, grown), known)
        if ends is None:
            return None
        if known is not None:
            known = (known[0] - ends[0], known[1] - ends[0])
        gained = ends[1] - ends[0] - float(staff.along()[-1])
        staff = resampled(longer, *ends)
        if gained < 0.5 and settled:
            break
        settled = gained < 0.5
        grown = min(2 * grown, 48.0) if gained > 0.8 * grown else 8.0
    return staff


def resampled(staff: StaffGeometry, start: float = 0.0, stop: float | None = None) -> StaffGeometry:
    """The same line with knots every staff space, from `start` to `stop` staff spaces along it."""
    stop = staff.along()[-1] if stop is None else stop
    knots = np.linspace(start, stop, max(2, round(stop - start) + 1))
    return StaffGeometry(*staff.at(knots))


def extended(staff: StaffGeometry, by: float) -> StaffGeometry:
    """The line carried on at both ends, in the direction of its last eight staff spaces."""
    length = staff.along()[-1]
    inner = np.arange(0.0, length, 1.0)
    x, y, space = staff.at(np.append(inner, length))
    near = min(8.0, length)
    pieces = []
    for end, sign in ((0.0, -1.0), (length, 1.0)):
        tip = [float(v[0]) for v in staff.at(np.array([end]))]
        back = [float(v[0]) for v in staff.at(np.array([end - sign * near]))]
        out = np.arange(1.0, by + 1.0)
        pieces.append([tip[axis] + (tip[axis] - back[axis]) / near * out for axis in (0, 1)] + [tip[2] + 0 * out])
    left, right = pieces
    joined = [np.concatenate([left[i][::-1], middle, right[i]]) for i, middle in enumerate((x, y, space))]
    return resampled(StaffGeometry(*joined))


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


def look(grey: Grey, staff: StaffGeometry, unsure: float) -> Strip:
    """The strip along a guessed line.

    Args:
        grey: the page.
        staff: the line guessed.
        unsure: staff spaces at both ends where there may be no staff, so no line to learn the darkness from.
    """
    strip = straighten(grey, staff, SPACE, 2 * HALF * SPACE, (0.0, 0.0))
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
    return lines / 5 - (at(-3) + at(3)) / 5


def refined(staff: StaffGeometry, strip: Strip) -> StaffGeometry:
    """The staff with the offsets and sizes seen in its strip, smoothed along its length."""
    count = len(staff.x)
    columns = np.clip(np.round(staff.along() * SPACE), 0, strip.ridge.shape[1] - 1).astype(np.int64)
    wide = cv2.blur(strip.ridge, (3 * SPACE + 1, 1), borderType=cv2.BORDER_REPLICATE)
    bands = np.asarray(wide, np.float64)[:, columns]
    responses = np.stack([comb(bands, scale) for scale in SCALES])
    path = best_path(responses.max(axis=0))
    every = np.arange(count)
    near = responses[:, path, every]
    weight = np.clip(near.max(axis=0), 0, None)
    if weight.sum() <= 0:
        return staff
    weight = weight / weight.max()
    offset = smoothed(_peak(responses.max(axis=0), path, every) - REACH, weight) / SPACE
    # Sizes change slowly, so bands are pooled before the best scale is taken.
    pooled = np.stack([smoothed(row, np.ones(count), 400.0) for row in near])
    best = np.clip(pooled.argmax(axis=0), 1, len(SCALES) - 2)
    scale = np.array(SCALES)[best] + (SCALES[1] - SCALES[0]) * _parabola(pooled, best, every)
    scale = smoothed(np.clip(scale, SCALES[0], SCALES[-1]), weight, 400.0)
    ahead = staff.at(staff.along() + 1.5)
    behind = staff.at(staff.along() - 1.5)
    dx, dy = ahead[0] - behind[0], ahead[1] - behind[1]
    norm = np.hypot(dx, dy)
    shift = offset * staff.space
    return StaffGeometry(staff.x - shift * dy / norm, staff.y + shift * dx / norm, staff.space * scale)


def best_path(response: Floats) -> NDArray[np.int64]:
    """The offset of each band that collects most response while moving by at most one step a band (Viterbi)."""
    steps, count = response.shape
    # A line that bends costs a little, so that an empty stretch is crossed straight.
    cost = 0.02 * max(float(response.max()), 1e-6)
    total = response[:, 0].copy()
    back = np.zeros((steps, count), np.int64)
    own = np.arange(steps)
    for band in range(1, count):
        up = np.concatenate([[-np.inf], total[:-1]]) - cost
        down = np.concatenate([total[1:], [-np.inf]]) - cost
        options = np.stack([total, up, down])
        choice = options.argmax(axis=0)
        back[:, band] = own + np.array([0, -1, 1])[choice]
        total = options[choice, own] + response[:, band]
    path = np.empty(count, np.int64)
    path[-1] = int(total.argmax())
    for band in range(count - 1, 0, -1):
        path[band - 1] = back[path[band], band]
    return path


def _peak(response: Floats, path: NDArray[np.int64], every: NDArray[np.int64]) -> Floats:
    inner = np.clip(path, 1, response.shape[0] - 2)
    return np.asarray(path + np.where(inner == path, _parabola(response, inner, every), 0.0), np.float64)


def _parabola(values: Floats, index: NDArray[np.int64], every: NDArray[np.int64]) -> Floats:
    """Where between its neighbours a maximum lies, -0.5..0.5."""
    before, at, after = (values[index + k, every] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    safe = np.where(bend < -1e-9, bend, -1.0)
    return np.asarray(np.where(bend < -1e-9, np.clip(0.5 * (before - after) / safe, -0.5, 0.5), 0.0))


def smoothed(values: Floats, weight: Floats, stiffness: float = STIFFNESS) -> Floats:
    """Whittaker's smoother: close to the values where they weigh much, and of small second difference."""
    count = len(values)
    if count < 4:
        return np.full(count, np.average(values, weights=weight + 1e-9))
    second = np.diff(np.eye(count), 2, axis=0)
    system = np.diag(weight + 1e-6) + stiffness * second.T @ second
    return np.asarray(np.linalg.solve(system, weight * values))


def visible_ends(strip: Strip, known: tuple[float, float] | None = None) -> tuple[float, float] | None:
    """First and last place of the staff, in staff spaces along the strip, or None where none runs through.

    Among dense notes hardly a column shows all lines, but over a few staff spaces each of them comes through.
    The staff is the longest stretch that no gap of more than `MAX_GAP` interrupts; from `known[0]` to
    `known[1]` there is staff for certain.
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
    runs = np.split(places, np.flatnonzero(np.diff(places) > MAX_GAP * SPACE) + 1)
    longest = max(runs, key=len)
    if len(longest) < 2 * SPACE:
        return None
    inked = (strip.ink[MIDDLE - 2 * SPACE : MIDDLE + 2 * SPACE + 1] > 0.8).mean(axis=0) > 0.12
    left, right = _with_ink(inked, int(longest[0]), -1), _with_ink(inked, int(longest[-1]), 1)
    return left / SPACE, (right + 1) / SPACE


def _with_ink(inked: NDArray[np.bool_], end: int, step: int) -> int:
    """The end moved past what still stands on the staff where its lines can't be told: a clef, a thick bar."""
    for place in range(end, end + step * MAX_INK * SPACE, step):
        if not 0 <= place < len(inked) or abs(place - end) > SPACE // 2:
            break
        if inked[place]:
            end = place
    return end
