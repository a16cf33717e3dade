"""Lines of music to try an exported model on: invented and engraved from a seed, so that no data set is needed, or
taken from a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from runtime.inference.engine import Floats, Integers
from runtime.page.geometry import Grey
from runtime.page.preparation import Preparation, batch, bucket_for, prepare
from training.data.degradation.degrade import degrade
from training.data.engraving.engraver import ENGRAVERS
from training.data.lines.excerpt import Mix, excerpt

BARS = (1, 2, 3, 4, 6, 8)  # of the lines tried, in order
SEED = 20
ROWS = 8  # lines read at once, as `runtime.reading.reader` does

Pictures = tuple[Floats, Integers]  # a batch: image [B, C, H, W] and widths before padding [B]


class Probe:
    """Prepared lines, one of each length in BARS; every second one degraded as in training."""

    def __init__(self, preparation: Preparation) -> None:
        self.preparation = preparation
        self.lines = [prepare(engraved(number, bars), preparation) for number, bars in enumerate(BARS)]

    def pair(self, width: int) -> Pictures:
        """Two lines in one bucket `width` px wide, cut where they are wider; the second is shorter and padded."""
        cut = [line[:, : width - 3 * number] for number, line in enumerate(self.lines)]
        widest = sorted(cut, key=lambda line: -line.shape[1])[:2]
        return batch(widest, replace(self.preparation, width_buckets=(width,)))

    def batches(self) -> list[Pictures]:
        """All lines, each batch of one bucket."""
        groups = by_bucket(self.lines, self.preparation)
        return [batch([self.lines[number] for number in group], self.preparation) for group in groups]


def engraved(number: int, bars: int) -> Grey:
    """An invented line of `bars` bars; degraded where `number` is odd."""
    rng = np.random.default_rng((SEED, number))
    tune, _ = excerpt([], SEED, number, Mix(bars=(bars, bars), invented=1.0))
    picture: Grey = ENGRAVERS.get("verovio").draw(tune, rng).image
    return degrade(picture, "train", rng)[0] if number % 2 else picture


def by_bucket(lines: Sequence[Grey], preparation: Preparation, rows: int = ROWS) -> list[list[int]]:
    """Numbers of lines that make up a batch: those of one width bucket, at most `rows`."""
    buckets: dict[int, list[int]] = {}
    for number, line in enumerate(lines):
        buckets.setdefault(bucket_for(line.shape[1], preparation), []).append(number)
    return [numbers[i : i + rows] for numbers in buckets.values() for i in range(0, len(numbers), rows)]
