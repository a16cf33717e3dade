"""Does to a line of music what scanners and phone cameras do: applies steps from a registry to a grey picture.

A step is a file in `degradations/` and has that file's name. It changes grey values (`Change`) or moves points of the
picture (`Move`). Steps come in the order in which they happen between paper and file (`Stage`). All moves together are
one resampling, because each resampling blurs. A preset says how strong a step may be and how often it happens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, reduce
from itertools import accumulate
from typing import ClassVar

import cv2
import numpy as np

from runtime.errors import ConfigError
from runtime.registry import Registry
from training.data.degradation.photo import XMap, photo

DEGRADATIONS = Registry("training.data.degradation.degradations", "DEGRADATION", "degradation")
SPACE = 7.0  # px a staff space, where nothing else is said
GRID = 8  # px between points that are computed; interpolating the others is less than a hundredth of a px off
MARGIN = 2.0  # staff spaces of extra paper around the picture until moves are done, so that neighbours can move in

Rng = np.random.Generator
Places = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # (x, y) in px to (x, y)


class Stage(IntEnum):
    """When a step happens on the way from paper to file. Steps of one stage come in the order of their names."""

    PRINT = 0  # what is printed or lies beside the music
    INK = 1
    PAPER = 2
    SHAPE = 3
    LIGHT = 4
    LENS = 5
    SENSOR = 6
    FILE = 7


@dataclass(frozen=True)
class Change:
    """A step that changes grey values.

    Attributes:
        stage: when it happens.
        unit: what its strength measures; lengths in staff spaces. At strength 0 the picture stays as it is.
        apply: (float32 grey [H, W] from 0 to 255, strength, rng, px a staff space) -> picture of the same shape. In
            stages before SHAPE it sees MARGIN more paper on each side, and all ink in it may be music.
    """

    stage: Stage
    unit: str
    apply: Callable[[np.ndarray, float, Rng, float], np.ndarray]


@dataclass(frozen=True)
class Moved:
    """Where points of the picture go, and where points of the result come from.

    Attributes:
        there: of the picture.
        back: of the result.
        matrix: the homography [3, 3] that does the same as `there`, if there is one.
    """

    there: Places
    back: Places
    matrix: np.ndarray | None = None


@dataclass(frozen=True)
class Move:
    """A step that moves points of the picture.

    Attributes:
        unit: what its strength counts.
        apply: ((H, W), strength, rng, px a staff space) -> how places move. The staff's middle line is at H / 2.
    """

    stage: ClassVar[Stage] = Stage.SHAPE
    unit: str
    apply: Callable[[tuple[int, int], float, Rng, float], Moved]


Doses = Mapping[str, tuple[float, float]]  # step -> largest strength, chance that it happens


@dataclass(frozen=True)
class Look:
    """One way in which lines look: share of the lines, its steps, and a factor on their strengths."""

    share: float
    doses: Doses
    factor: float = 1.0

    def draw(self, rng: Rng) -> dict[str, float]:
        """The strengths of one line."""
        happening = [(name, largest) for name, (largest, chance) in self.doses.items() if rng.random() < chance]
        return {name: self.factor * largest * float(rng.random()) for name, largest in happening}


SCAN: Doses = {
    "neighbours": (0.8, 0.7), "text": (4, 0.5), "thick_lines": (0.14, 0.3), "thin_lines": (0.055, 0.3),
    "bleed_through": (0.16, 0.25), "broken": (0.25, 0.25), "contrast": (0.35, 0.4), "dust": (1.2, 0.5),
    "toned_paper": (0.2, 0.4), "framing": (0.05, 0.8), "page_curl": (0.12, 0.4), "skew": (0.6, 0.8),
    "defocus": (0.25, 0.5), "low_resolution": (0.35, 0.4), "noise": (8, 0.5), "threshold": (0.8, 0.35),
    "jpeg": (55, 0.6),
}  # fmt: skip
PHONE: Doses = {
    "neighbours": (0.8, 0.7), "text": (4, 0.5), "thick_lines": (0.1, 0.25), "thin_lines": (0.05, 0.2),
    "bleed_through": (0.1, 0.15), "broken": (0.15, 0.1), "contrast": (0.4, 0.5), "dust": (0.5, 0.2),
    "toned_paper": (0.25, 0.7), "framing": (0.07, 0.8), "page_curl": (0.22, 0.6), "perspective": (0.35, 0.8),
    "skew": (0.85, 0.8), "shadow": (0.4, 0.4), "uneven_light": (0.45, 0.7), "defocus": (0.3, 0.6),
    "motion_blur": (0.4, 0.3), "low_resolution": (0.35, 0.4), "moire": (0.12, 0.12), "noise": (12, 0.7),
    "jpeg": (65, 0.8),
}  # fmt: skip
HALFTONE: Doses = {"halftone": (0.8, 0.15)}  # in training alone: test sets stay what they were
PRESETS: dict[str, tuple[Look, ...]] = {
    "clean": (),
    "scan": (Look(1.0, SCAN),),
    "phone": (Look(1.0, PHONE),),
    "train": (
        Look(0.35, {**SCAN, **HALFTONE}, 1.2), Look(0.45, {**PHONE, **HALFTONE}, 1.2),
        Look(0.2, {**SCAN, **PHONE, **HALFTONE}, 0.25),
    ),  # fmt: skip
}
RECIPES = {"photo": photo}  # test sets that never change
NAMES = (*PRESETS, *RECIPES)


def degrade(image: np.ndarray, preset: str, rng: Rng, space: float = SPACE) -> tuple[np.ndarray, XMap]:
    """Degrade one picture.

    Args:
        image: uint8 grey [H, W], black on white, the staff's middle line at H / 2.
        preset: one of NAMES.
        rng: draws what happens and how strongly; an equal state gives an equal picture.
        space: px a staff space.

    Returns:
        The degraded picture, of the same size (with `photo` on a canvas that is tall enough for the rotation), and a
        function from x in the clean picture to x in the degraded one, at the height of the staff's middle line.

    Raises:
        ConfigError: no such preset.
    """
    if check(preset) in RECIPES:
        return RECIPES[preset](image, rng, space)
    looks = PRESETS[preset]
    if not looks:
        return image, lambda xs: xs
    ends = list(accumulate(look.share for look in looks))
    look = looks[bisect_right(ends[:-1], float(rng.random()))]
    return apply(image, look.draw(rng), rng, space)


def check(preset: str) -> str:
    """`preset` itself, if there is such a one.

    Raises:
        ConfigError: there is none.
    """
    if preset not in NAMES:
        raise ConfigError(f"no degradation preset called {preset!r} (known: {', '.join(NAMES)})")
    return preset


def apply(image: np.ndarray, strengths: Mapping[str, float], rng: Rng, space: float = SPACE) -> tuple[np.ndarray, XMap]:
    """One picture through these steps, each at its strength; see `degrade`."""
    height, width = image.shape
    margin = round(MARGIN * space)
    paper = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(255,))
    picture, moved = paper.astype(np.float32), []
    for name in sorted(strengths, key=lambda name: (step(name).stage, name)):
        todo, strength = step(name), strengths[name]
        if isinstance(todo, Move):
            moved.append(todo.apply((height, width), strength, rng, space))
            continue
        if todo.stage > Stage.SHAPE and picture.shape != image.shape:
            picture = _framed(picture, moved, margin)
        picture = todo.apply(picture, strength, rng, space)
    if picture.shape != image.shape:
        picture = _framed(picture, moved, margin)

    def x_map(xs: np.ndarray) -> np.ndarray:
        places = np.asarray(xs, np.float64), np.full(len(xs), height / 2)
        for one in moved:
            places = one.there(*places)
        return places[0]

    return np.asarray(cv2.add(picture, (0.0,), dtype=cv2.CV_8U)), x_map  # rounded, from 0 to 255


@cache
def step(name: str) -> Change | Move:
    """The step called `name`.

    Raises:
        OmrError: there is none.
    """
    found: Change | Move = DEGRADATIONS.get(name)
    return found


def strongest() -> dict[str, float]:
    """The largest strength that any preset gives each step."""
    found: dict[str, float] = {}
    for look in (look for looks in PRESETS.values() for look in looks):
        for name, (largest, _) in look.doses.items():
            found[name] = max(found.get(name, 0.0), look.factor * largest)
    return found


def _framed(paper: np.ndarray, moved: Sequence[Moved], margin: int) -> np.ndarray:
    """The picture without its margin, every place moved: one resampling."""
    height, width = (side - 2 * margin for side in paper.shape)
    if not moved:
        return paper[margin : margin + height, margin : margin + width]
    straight = [one.matrix for one in moved if one.matrix is not None]
    if len(straight) == len(moved):
        whole = reduce(lambda before, after: after @ before, straight)
        shift = np.array([[1, 0, -margin], [0, 1, -margin], [0, 0, 1]], np.float64)
        size = width, height
        return cv2.warpPerspective(paper, whole @ shift, size, None, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    xs, ys = _grid(width)[None, :], _grid(height)[:, None]
    shape = ys.size, xs.size
    for one in reversed(moved):
        xs, ys = one.back(xs, ys)
    coarse = (np.ascontiguousarray(np.broadcast_to(at + margin, shape), np.float32) for at in (xs, ys))
    fine = (cv2.resize(at, None, fx=GRID, fy=GRID)[GRID : GRID + height, GRID : GRID + width] for at in coarse)
    return cv2.remap(paper, *fine, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _grid(size: int) -> np.ndarray:
    """Every GRID-th place along a side, one more at each end, where `cv2.resize` takes them to be."""
    return GRID * np.arange(-1, -(-size // GRID) + 1, dtype=np.float32) + (GRID - 1) / 2
