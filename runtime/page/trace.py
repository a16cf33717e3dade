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

from .geometry import Floats, Grey, StaffGeometry
from .staff_strip import REACH, SPACE, Strip, comb, look, visible_ends

SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)  # staff spaces tried, relative to the guess
ROUNDS = 12
STRAIGHT = 0.05  # staff spaces off the middle line at which a strip is straight enough to be looked at once
STIFFNESS = 200.0  # of the smoothed line; bends over less than about eight staff spaces are noise


@dataclass(frozen=True, eq=False)
class Traced:
    """A staff from its first to its last line end, and the strip along it."""

    staff: StaffGeometry
    strip: Strip


def trace(grey: Grey, seed: StaffGeometry, certain: bool = False) -> Traced | None:
    """The whole staff that a seed is part of.

    Args:
        grey: the page.
        seed: a short, roughly right piece of a staff.
        certain: all of the seed is staff, even where its lines are hidden.

    Returns:
        The staff, or None where there is none after all.
    """
    staff = resampled(seed)
    known = (0.0, float(staff.along()[-1])) if certain else None
    grown, settled = 16.0, False
    for _ in range(ROUNDS):
        guess = extended(staff, grown)
        strip = look(grey, guess, grown)
        longer = refined(guess, strip)
        moved = float(np.quantile(np.hypot(longer.x - guess.x, longer.y - guess.y) / guess.space, 0.9))
        if moved > STRAIGHT:
            guess, strip = longer, look(grey, longer, grown)
        if known is not None:
            known = (known[0] + grown, known[1] + grown)
        ends = visible_ends(strip, known)
        if ends is None:
            return None
        if known is not None:
            known = (known[0] - ends[0], known[1] - ends[0])
        gained = ends[1] - ends[0] - float(staff.along()[-1])
        # A strip that was looked at once is that of the guess, whose staff spaces may be a little larger or smaller.
        start, stop = (float(np.interp(end, guess.along(), longer.along())) for end in ends)
        staff, shown = resampled(longer, start, stop), strip.part(*ends)
        if gained < 0.5 and (settled or moved <= STRAIGHT):
            break
        settled = gained < 0.5
        grown = min(2 * grown, 48.0) if gained > 0.8 * grown else 8.0
    return Traced(staff, shown)


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
    pooled = smoothed(near.T, np.ones(count), 400.0).T
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
    cost = 0.06 * max(float(response.max()), 1e-6)
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
    """Whittaker's smoother: close to the values where they weigh much, and of small second difference.

    The system of equations has five diagonals and is solved by LDL' (Golub and Van Loan, Matrix Computations, 4.3.6).

    Args:
        values: [K], or [K, N] for N rows of values under one weight.
        weight: [K].
        stiffness: of the result.
    """
    count = len(values)
    if count < 4:
        return np.broadcast_to(np.average(values, axis=0, weights=weight + 1e-9), values.shape).copy()
    main, near, far = np.zeros(count), np.zeros(count), np.zeros(count)
    for at, factor in enumerate((1.0, -2.0, 1.0)):
        main[at : count - 2 + at] += factor * factor
    near[: count - 2] -= 2.0
    near[1 : count - 1] -= 2.0
    far[: count - 2] = 1.0
    d = (weight + 1e-6 + stiffness * main).tolist()
    e, f = (stiffness * near).tolist(), (stiffness * far).tolist()
    result = list(weight * values if values.ndim == 1 else weight[:, None] * values)
    lower, second = [0.0] * count, [0.0] * count
    for i in range(count):  # factors and forward substitution in one pass
        if i >= 2:
            d[i] -= second[i - 2] * second[i - 2] * d[i - 2]
        if i >= 1:
            d[i] -= lower[i - 1] * lower[i - 1] * d[i - 1]
            result[i] = result[i] - lower[i - 1] * result[i - 1]
        if i >= 2:
            result[i] = result[i] - second[i - 2] * result[i - 2]
        if i + 1 < count:
            above = second[i - 1] * d[i - 1] * lower[i - 1] if i >= 1 else 0.0
            lower[i] = (e[i] - above) / d[i]
        if i + 2 < count:
            second[i] = f[i] / d[i]
    for i in reversed(range(count)):
        result[i] = result[i] / d[i]
        if i + 1 < count:
            result[i] = result[i] - lower[i] * result[i + 1]
        if i + 2 < count:
            result[i] = result[i] - second[i] * result[i + 2]
    return np.array(result)
