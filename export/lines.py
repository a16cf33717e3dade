"""Lines of music that an exported model is tried on: invented and engraved from a seed, so that no data set is
needed; or those of a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from runtime.engine import Floats, Integers
from runtime.geometry import Grey
from runtime.image import Preparation, batch, bucket_for, prepare
from training.data.degrade import degrade
from training.data.engraver import ENGRAVERS
from training.data.excerpt import Mix, excerpt

BARS = (1, 2, 3, 4, 6, 8)  # of the lines tried, in order
SEED = 20
ROWS = 8  # lines read at once, as `runtime.reader` does

Pictures = tuple[Floats, Integers]  # a batch: image [B, C, H, W] and widths before padding [B]


def sample_lines(preparation: Preparation) -> list[Grey]:
    """One prepared line of each length in BARS; every second one degraded as in training."""
    engraver = ENGRAVERS.get("verovio")
    lines = []
    for number, bars in enumerate(BARS):
        rng = np.random.default_rng((SEED, number))
        tune, _ = excerpt([], SEED, number, Mix(bars=(bars, bars), invented=1.0))
        picture = engraver.draw(tune, rng).image
        if number % 2:
            picture, _ = degrade(picture, "train", rng)
        lines.append(prepare(picture, preparation))
    return lines


def by_bucket(lines: Sequence[Grey], preparation: Preparation, rows: int = ROWS) -> list[list[int]]:
    """Numbers of lines that make up a batch: those of one width bucket, at most `rows`."""
    buckets: dict[int, list[int]] = {}
    for number, line in enumerate(lines):
        buckets.setdefault(bucket_for(line.shape[1], preparation), []).append(number)
    return [held[i : i + rows] for held in buckets.values() for i in range(0, len(held), rows)]


def pair(lines: Sequence[Grey], preparation: Preparation, width: int) -> Pictures:
    """Two lines padded to one bucket `width`: the widest that fit, or cut where fewer do."""
    fitting = sorted((line for line in lines if line.shape[1] <= width), key=lambda line: -line.shape[1])
    cut = [line[:, : width - 3 * number] for number, line in enumerate(lines)]
    return batch([*fitting, *cut][:2], replace(preparation, width_buckets=(width,)))
