"""A small part of `benchmarks/staff_finding.py`: on engraved pages, scanned, photographed and cropped, every staff is
found, none is invented, and the page comes out upright.

The music is made here, so that no corpus is read; pictures, degradations and counts are the benchmark's.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.staff_finding import COUNTS, count
from benchmarks.staff_pictures import page_picture
from runtime.notation.score import to_musicxml

BARS = ("G2AB c2Bc", "d2e^f g4", "(3efg e2 dcBA", "G,2B,2 D2G2", "z2 c2 [ce]2 [df]2", "a2b2 c'4", "A,B,CD EFGA", "d8")
ROWS = range(12)
WRONG = ("missed", "invented", "turned_wrong", "refused", "misordered")


def music(rng: np.random.Generator) -> bytes:
    """A tune of 24 to 64 bars."""
    bars = rng.choice(BARS, int(rng.integers(24, 65)))
    return to_musicxml([f"X:1\nL:1/8\nM:4/4\nK:{rng.choice(['C', 'D', 'Bb', 'E'])}\n" + "|".join(bars) + "|]\n"])


@pytest.mark.parametrize("row", ROWS)
def test_every_staff_of_a_picture_is_found(row: int) -> None:
    rng = np.random.default_rng([7, row])
    made = page_picture([music(rng)], rng)
    assert made is not None and made.staves
    counts, _ = count(made)
    assert set(WRONG) < set(COUNTS)
    assert {name: counts[name] for name in WRONG} == dict.fromkeys(WRONG, 0), made.kind
