"""Times one thing many times, and measures memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

LEAST_RUNS = 30  # fewer make no 90th percentile


@dataclass(frozen=True)
class Timing:
    """Wall-clock milliseconds of repeated runs after a warm-up."""

    median_ms: float
    p90_ms: float
    min_ms: float
    runs: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summary of single runs in seconds."""
        ms = 1e3 * np.array(seconds)
        median, p90, least = (round(float(f), 4) for f in (np.median(ms), np.percentile(ms, 90), ms.min()))
        return cls(median, p90, least, len(seconds))

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def measure(run: Callable[[], object], runs: int = LEAST_RUNS, warm_up: int = 5) -> Timing:
    """Time `run` as often as asked for, after `warm_up` runs that don't count."""
    for _ in range(warm_up):
        run()
    return Timing.of([once(run) for _ in range(runs)])


def once(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_memory_mb() -> float:
    """Most memory this process ever held, in MB (10^6 bytes).

    On Linux from /proc: `ru_maxrss` of a child process counts the parent's memory at the time of the fork too.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        if peak is not None:
            return round(int(peak) * 1024 / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
