"""Engravers draw a tune as a picture. Each is a file in `engravers/`; its name there is its name on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from runtime.abc import Tune
from runtime.registry import Registry
from training.data.columns import Row

HEIGHT = 96  # px
STAFF_SPACE = 7.0  # px
MIDDLE = 48.0  # row of the middle staff line


class EngraveError(Exception):
    """A tune that this engraver can't draw; the caller takes another."""


@dataclass(frozen=True)
class Engraving:
    """A line of music as uint8 grey [96, W], 7 px a staff space, and where its symbols stand (empty where unknown)."""

    image: np.ndarray
    symbols: list[Row]


class Engraver(Protocol):
    """Draws lines; `held_out` ones are refused by training."""

    held_out: bool

    def draw(self, tune: Tune, rng: np.random.Generator) -> Engraving:
        """Draw a tune in a style that `rng` chooses.

        Raises:
            EngraveError: this engraver can't draw it.
        """


ENGRAVERS = Registry("training.data.engravers", "ENGRAVER", "engraver")
