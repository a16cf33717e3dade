"""Verovio with the font that training never sees."""

from __future__ import annotations

from training.data.engraving.engravers.verovio import VerovioEngraver

EXTRA = "train"
ENGRAVER = VerovioEngraver(fonts=("Gootville",), held_out=True)
