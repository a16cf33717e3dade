"""Things beside the line: edges of other staves, a bracket or brace, the page's own edge. Never over notes."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degradations._ink import INKED, free
from training.data.degradation.degradations._texture import clouds
from training.data.degradation.degrade import Change, Rng, Stage

CLEAR = 0.6  # staff spaces between the music and anything drawn here
NEAREST = 3.2  # staff spaces from our middle line to anything of another staff: engravers keep staves apart


def surrounded(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    empty = free(picture, CLEAR * space)
    out = picture.copy()
    for side in (-1, 1):
        if rng.random() < 0.7 * strength:
            cv2.copyTo(cv2.min(out, _staff(picture, side, rng, space)), empty.view(np.uint8), out)
    if rng.random() < 0.6 * strength:
        np.minimum(out, _system_start(picture, rng, space), out=out)
    if rng.random() < 0.5 * strength:
        beyond = _beyond_the_page(picture, rng, space) & empty
        ground = float(rng.uniform(20, 210)) + 12 * clouds(picture.shape, space, rng)
        np.copyto(out, ground, where=beyond)
    return out


def _staff(picture: np.ndarray, side: int, rng: Rng, space: float) -> np.ndarray:
    """This staff, its bars in another order, above (`side` -1) or below: mostly outside, its edge in the picture."""
    height = len(picture)
    inked = np.flatnonzero((picture < INKED).any(axis=1)) - height / 2
    towards_us = max(inked * -side, default=0.0)
    away = side * round(max(float(rng.uniform(8.2, 11)) * space, towards_us + NEAREST * space))
    other = np.full_like(picture, 255)
    rows = slice(max(0, away), min(height, height + away)), slice(max(0, -away), min(height, height - away))
    other[rows[0]] = np.roll(picture, int(rng.integers(picture.shape[1])), axis=1)[rows[1]]
    return other


def _system_start(picture: np.ndarray, rng: Rng, space: float) -> np.ndarray:
    """A line, a bracket or a brace from this staff's start to that of the next one, above or below or both."""
    layer = np.full(picture.shape, 255, np.uint8)
    middle, reach = len(picture) / 2, 2 * space
    staff = picture[round(middle - reach) : round(middle + reach)]
    inked = np.flatnonzero(staff.min(axis=0) < INKED)
    if not len(inked):
        return layer
    left, side = int(inked[0]), float(rng.choice([-1, 1]))
    near, far = middle - side * reach, middle + side * (reach + float(rng.uniform(8.2, 11)) * space)
    if rng.random() < 0.3:
        near = middle - side * len(picture)  # the middle one of three staves, or more
    top, bottom = round(min(near, far)), round(max(near, far))
    if rng.random() < 0.8:
        cv2.rectangle(layer, (left, top), (left + round(float(rng.uniform(0, 0.2)) * space), bottom), 0, -1)
    kind = rng.random()
    if kind < 0.4:
        edge = left - round(0.4 * space)
        cv2.rectangle(layer, (edge - round(float(rng.uniform(0.2, 0.5)) * space), top), (edge, bottom), 0, -1)
    elif kind < 0.8:
        _brace(layer, left - 0.3 * space, (top, bottom), float(rng.uniform(1, 1.6)) * space)
    return layer


def _brace(layer: np.ndarray, right: float, ends: tuple[int, int], width: float) -> None:
    along = np.linspace(-1, 1, 41)
    half = 2 * (1 - np.abs(along)) - 1  # from -1 at the ends to 1 at the tip
    x, y = right - width * (0.5 + 0.5 * half**3), np.interp(along, (-1, 1), ends)
    thick = 0.06 * width + 0.2 * width * (1 - half**2)
    outline = np.concatenate([np.stack([x - thick, y], 1), np.stack([x + thick, y], 1)[::-1]])
    cv2.fillPoly(layer, [np.rint(outline * 16).astype(np.int32)], 0, cv2.LINE_AA, 4)


def _beyond_the_page(picture: np.ndarray, rng: Rng, space: float) -> np.ndarray:
    """True beyond an edge of the page, a little aslant, between the music and the picture's border."""
    height, width = picture.shape
    xs, ys = np.arange(width)[None, :], np.arange(height)[:, None]
    axis, side = int(rng.integers(2)), int(rng.integers(2))
    along, across = (xs, ys) if axis == 0 else (ys, xs)
    music = np.flatnonzero((picture < INKED).any(axis=1 - axis))
    if not len(music):
        return np.zeros((height, width), bool)
    inner = (music[0], picture.shape[axis] - 1 - music[-1])[side] - CLEAR * space
    if side:
        across = picture.shape[axis] - 1 - across
    depth = inner - float(rng.uniform(0, 1.5)) * space + float(rng.uniform(-0.02, 0.02)) * (along - along.mean())
    return np.broadcast_to(across < depth, (height, width))


DEGRADATION = Change(Stage.PRINT, "share of the largest chance of each", surrounded)
