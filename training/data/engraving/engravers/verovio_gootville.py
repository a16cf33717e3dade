"""Verovio with its font Gootville, held out: training never sees it."""

from __future__ import annotations

from training.data.engraving.engravers.verovio import VerovioEngraver

EXTRA = "train"
ENGRAVER = VerovioEngraver(fonts=("Gootville",), held_out=True)
