"""Tells whether the staves of a data set are too small to be read after its pictures are prepared."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from runtime.page.preparation import Preparation
from runtime.page.staves import staff_space
from training.data.dataset.pictures import decode_picture

SMALLEST = 6.0  # px; heads, dots and accidentals run together below that
SAMPLE = 8  # pictures looked at


def prepared_space(rows: Any, preparation: Preparation) -> float | None:
    """Median staff space in px of some pictures after preparation, by the reader's staff finder; None: no staff seen.

    Args:
        rows: a split with encoded pictures.
        preparation: what `Lines` does with them: scaled to its height, and down to its widest bucket.
    """
    spaces = []
    for index in np.unique(np.linspace(0, len(rows) - 1, SAMPLE).round().astype(int)):
        grey = decode_picture(rows[int(index)]["image"])
        height, width = grey.shape
        seen = staff_space(grey)
        if seen is not None:
            spaces.append(seen * min(preparation.height / height, preparation.width_buckets[-1] / width))
    return float(np.median(spaces)) if spaces else None


def warn_of_small_staves(rows: Any, preparation: Preparation) -> None:
    """Say so on stderr where staves are too small to be read."""
    space = prepared_space(rows, preparation)
    if space is not None and space < SMALLEST:
        print(
            f"warning: staves are {space:.1f} px a space once pictures are {preparation.height} px high, and under "
            f"{SMALLEST:g} px they can hardly be read: raise data.img_height, or take a data set of single systems",
            file=sys.stderr,
        )
