"""Estimates how long the rest of a sweep will take, from what its runs took so far."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .plan import Job

Done = tuple[Job, float]  # a run and its seconds a step, starting and reading included


def seconds_left(left: Iterable[tuple[Job, int]], done: Sequence[Done]) -> float | None:
    """Seconds for runs that each lack some steps; None while nothing is known.

    A run is expected to be as slow as the runs most like it: those with its settings, else those with its backbone and
    technique, else those with its backbone, else all.
    """
    if not done:
        return None
    return sum(steps * seconds_a_step(job, done) for job, steps in left)


def seconds_a_step(job: Job, done: Sequence[Done]) -> float:
    for like in LIKENESS:
        found = [seconds for other, seconds in done if like(other) == like(job)]
        if found:
            return statistics.fmean(found)
    raise AssertionError("the last likeness takes every run")


def without_seed(job: Job) -> Any:
    training = replace(job.config.training, seed=0, init_from="")
    technique = replace(job.config.technique, teacher="")
    return replace(job.config, training=training, technique=technique)


LIKENESS: tuple[Callable[[Job], Any], ...] = (
    without_seed,
    lambda job: (job.config.model.params.vision_model_name, job.config.technique.name),
    lambda job: job.config.model.params.vision_model_name,
    lambda job: None,
)


def duration_in_words(seconds: float | None) -> str:
    """`about 3.2 h`."""
    if seconds is None:
        return "not known before the first run has ended"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
