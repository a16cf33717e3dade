"""The table of notation is true: what is labelled is drawn and read back, clutter is drawn and not labelled."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.abc.tune import Tune, write
from training.data.engraving.clutter import KINDS, Clutter, scatter
from training.data.engraving.engravers.verovio import ENGRAVER
from training.data.lines.labelled_notation import NOTATIONS, Notation

LABELLED = [row for row in NOTATIONS if row.labelled]


def line(music: str) -> Tune:
    return parse(f"L:1/8\nK:C clef=treble\n{music}\n", strict=True)


@pytest.mark.parametrize("row", LABELLED, ids=lambda row: row.name)
def test_what_is_labelled_is_drawn_and_read_back(row: Notation) -> None:
    tune, plain = line(row.example), line(row.plain)
    assert write(tune).splitlines()[-1] == row.example
    assert write(tune) != write(plain)
    with_it = ENGRAVER.draw(tune, np.random.default_rng(0)).image
    without = ENGRAVER.draw(plain, np.random.default_rng(0)).image
    assert with_it.shape != without.shape or (with_it != without).any()


@pytest.mark.parametrize("kind", KINDS)
def test_clutter_of_every_kind_is_drawn_and_never_labelled(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.engraving.clutter.KINDS", {name: float(name == kind) for name in KINDS})
    tune = line("c2d2e2f2|g2a2b2c'2|c2d2e2f2|g2a2b2c'2|")
    found = [scatter(tune, np.random.default_rng(seed), share=1.0) for seed in range(6)]
    drawn = 0
    for seed, clutter in enumerate(found):
        drawn += clutter != Clutter(first_bar=clutter.first_bar)
        full = ENGRAVER.draw(tune, np.random.default_rng(seed), clutter=1.0)
        plain = ENGRAVER.draw(tune, np.random.default_rng(seed))
        assert [row[0] for row in full.symbols] == [row[0] for row in plain.symbols]
    assert drawn
