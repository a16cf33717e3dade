"""Numbers from several seeds: their mean, its interval, and a ranking where the intervals allow one.

The interval is a 95 % interval of the mean (Student's t) over training with other seeds. It needs at least two seeds,
and says nothing about other data.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom (any table of them); more seeds take the last.
QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """A mean over runs.

    Attributes:
        mean: of the values.
        half: half the width of its 95 % interval; None for a single value.
    """

    mean: float
    half: float | None = None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Measure | None:
        """None unless there is a value for every run."""
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        if len(known) == 1:
            return cls(known[0])
        quantile = QUANTILES[min(len(known) - 1, len(QUANTILES)) - 1]
        return cls(statistics.fmean(known), quantile * statistics.stdev(known) / math.sqrt(len(known)))

    @property
    def low(self) -> float:
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half or 0.0)


def ranks(measures: Sequence[Measure | None]) -> list[str | None]:
    """The place that each may have, lower values being better: `1`, or `2 to 4` if intervals overlap.

    A measure has no place if it has no interval, or if its interval overlaps with every other.
    """
    placed = [measure for measure in measures if measure is not None and measure.half is not None]
    found: list[str | None] = []
    for measure in measures:
        if measure is None or measure.half is None:
            found.append(None)
            continue
        best = 1 + sum(other.high < measure.low for other in placed)
        worst = len(placed) - sum(other.low > measure.high for other in placed)
        parted = best > 1 or worst < len(placed)
        found.append((str(best) if best == worst else f"{best} to {worst}") if parted else None)
    return found
