"""The interface of engravers, which draw a tune as a picture. Each is a file in `engravers/` and has that file's
name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from runtime.abc.tune import Tune
from runtime.errors import OmrError
from runtime.page.preparation import Preparation, prepare
from runtime.page.staves import find_staff
from runtime.registry import Registry
from training.data.engraving.column_labels import Row

HEIGHT = 96  # px
STAFF_SPACE = 7.0  # px
MIDDLE = 48.0  # row of the middle staff line


class EngraveError(Exception):
    """This engraver can't draw the tune. The caller takes another tune."""


@dataclass(frozen=True)
class Engraving:
    """A line of music as uint8 grey [96, W], 7 px a staff space, and the places of its symbols (empty if unknown)."""

    image: np.ndarray
    symbols: list[Row]


class Engraver(Protocol):
    """Draws lines; `held_out` ones are refused by training."""

    held_out: bool

    def draw(self, tune: Tune, rng: np.random.Generator, clutter: float = 0.0) -> Engraving:
        """Draw a tune in a style that `rng` chooses.

        Args:
            tune: one staff.
            rng: draws the style.
            clutter: share of lines with words and signs that aren't labelled, where the engraver can.

        Raises:
            EngraveError: this engraver can't draw it.
        """


class Program:
    """A held-out engraver that is a slow program with a `draw_many` of its own: one line is a run of one."""

    held_out = True

    def draw_many(self, tunes: list[Tune], rngs: list[np.random.Generator]) -> list[Engraving | None]:
        """Draw lines in one run of the program; None where one can't be drawn."""
        raise NotImplementedError

    def draw(self, tune: Tune, rng: np.random.Generator, clutter: float = 0.0) -> Engraving:
        drawn = self.draw_many([tune], [rng])[0]
        if drawn is None:
            raise EngraveError(f"{type(self).__name__} can't draw the line as it should be")
        return drawn


def draw_many(
    engraver: Engraver, lines: list[list[Tune]], rngs: list[np.random.Generator], clutter: float = 0.0
) -> list[Engraving | None]:
    """Draw several lines, at once where the engraver is a slow program that can; None where one can't be drawn.

    Raises:
        OmrError: lines of several staves, and an engraver that draws one.
    """
    several = any(len(staves) > 1 for staves in lines)
    if several and not hasattr(engraver, "draw_staves"):
        raise OmrError("this engraver draws one staff; expected verovio for a mix of grand staves")
    if hasattr(engraver, "draw_many"):
        drawn: list[Engraving | None] = engraver.draw_many([staves[0] for staves in lines], rngs)
        return drawn
    out: list[Engraving | None] = []
    for staves, rng in zip(lines, rngs, strict=True):
        try:
            one_staff = len(staves) == 1
            out.append(engraver.draw(staves[0], rng, clutter) if one_staff else engraver.draw_staves(staves, rng))
        except EngraveError:
            out.append(None)
    return out


def as_read(page: np.ndarray) -> np.ndarray:
    """A degraded picture, cut as the reader would cut it. If no staff is found, its middle rows, so that it still
    counts."""
    staff = find_staff(page)
    if staff is None:
        top = (page.shape[0] - HEIGHT) // 2
        return page[top : top + HEIGHT]
    return prepare(page, Preparation(height=HEIGHT, staff_space=STAFF_SPACE, whiten_window=0), staff)


ENGRAVERS = Registry("training.data.engraving.engravers", "ENGRAVER", "engraver")
