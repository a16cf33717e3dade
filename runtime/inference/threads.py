"""How many threads an engine uses by default."""

from __future__ import annotations

import os

MOST_THREADS = 4
# With fewer weights a step takes under a millisecond, and a second thread made it slower (tried with 17 MB).
SMALL_DECODER = 32 << 20  # bytes


def default_threads(weights: int | None = None) -> int:
    """Processors this process may use, at most MOST_THREADS; 1 for a decoder of few `weights` (bytes)."""
    if weights is not None and weights < SMALL_DECODER:
        return 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_THREADS)
