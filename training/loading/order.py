"""Decides which lines form which batch. The order depends only on the seed, the epoch and the step, so a resumed run
continues exactly.

A batch holds lines of one width bucket, because padding costs as much time as music.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from runtime.errors import ConfigError
from runtime.page.preparation import Preparation, bucket_for

from ..config import Config, CurriculumConfig


class Item(NamedTuple):
    """One line to load.

    Attributes:
        index: row of the data set.
        epoch: passes over the data before this one; degradation differs between them.
        first_step: step at which the epoch began.
        number: batches of this epoch so far, including this one and those that other processes take at the same time.
    """

    index: int
    epoch: int
    first_step: int
    number: int


class Place(NamedTuple):
    """The place of the next batch in the stream, which a checkpoint keeps."""

    epoch: int = 0
    first_step: int = 0
    number: int = 0


@dataclass(frozen=True)
class Plan:
    """How lines become batches.

    Attributes:
        widths: width of each line in px.
        preparation: of the pictures; a batch has one of its buckets' widths.
        batch_size: lines in a batch (of width `batch_width`, if that is set).
        batch_width: px; other buckets hold as many pixels; 0: each holds `batch_size` lines.
        group: batches that make one step (accumulation times processes).
        seed: of the order.
        curriculum: when wide lines come in.
    """

    widths: Sequence[int]
    preparation: Preparation
    batch_size: int
    batch_width: int
    group: int
    seed: int
    curriculum: CurriculumConfig

    @classmethod
    def of(cls, config: Config, widths: Sequence[int], preparation: Preparation, processes: int) -> Plan:
        training = config.training
        group = training.gradient_accumulation_steps * processes
        return cls(
            widths,
            preparation,
            training.batch_size,
            training.batch_width,
            group,
            training.seed,
            training.curriculum,
        )

    def size(self, bucket: int) -> int:
        """Lines in a batch of a bucket; never more than four times `batch_size`."""
        if not self.batch_width:
            return self.batch_size
        return max(1, min(round(self.batch_size * self.batch_width / bucket), 4 * self.batch_size))

    def bucket(self, width: int) -> int:
        """The bucket of a line."""
        return bucket_for(width, self.preparation)

    def widest(self) -> int:
        """The widest bucket that a line needs in px."""
        return self.bucket(max(self.widths))

    def limit(self, step: int) -> float:
        """Widest line of a step in px."""
        curriculum = self.curriculum
        if step >= curriculum.steps:
            return float("inf")
        widest = self.preparation.width_buckets[-1]
        return curriculum.start_width + (widest - curriculum.start_width) * step / curriculum.steps

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[int]]:
        """Batches of one epoch, in whole steps; a line that is too wide yet waits for the next epoch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.widths))
        waiting: dict[int, list[int]] = {bucket: [] for bucket in self.preparation.width_buckets}
        group: list[list[int]] = []
        step = first_step
        for index in order.tolist():
            width = self.widths[index]
            if width > self.limit(step):
                continue
            bucket = self.bucket(width)
            waiting[bucket].append(index)
            if len(waiting[bucket]) == self.size(bucket):
                group.append(waiting.pop(bucket))
                waiting[bucket] = []
            if len(group) == self.group:
                yield from group
                group, step = [], step + 1
        group += [rest for rest in waiting.values() if rest]
        whole = len(group) // self.group * self.group
        yield from group[: whole or (self.group if len(group) >= self.group else 0)]

    def check(self) -> None:
        """Refuse a plan whose stream would never give a batch.

        Raises:
            ConfigError: an epoch has fewer batches than a step needs.
        """
        if next(self.epoch(0, self.curriculum.steps), None) is None:
            raise ConfigError(
                f"a step takes {self.group} batches (training.gradient_accumulation_steps={self.group} over all "
                f"processes), but the {len(self.widths)} lines make fewer with training.batch_size={self.batch_size}: "
                "lower one of them, or give more lines"
            )
        if next(self.epoch(0, 0), None) is None:
            raise ConfigError(
                f"training.curriculum.start_width is {self.curriculum.start_width} px, and the lines so narrow "
                f"(the narrowest has {min(self.widths)} px) make no step: raise it"
            )

    def steps(self) -> int:
        """Steps of an epoch in which no line waits."""
        return sum(1 for _ in self.epoch(0, self.curriculum.steps)) // self.group


class Stream(Sampler[list[Item]]):
    """Batches without end, from a place on; each process takes its share of every group.

    Args:
        plan: how batches are made.
        place: where to begin.
        rank: number of this process.
        processes: number of processes.
    """

    def __init__(self, plan: Plan, place: Place, rank: int = 0, processes: int = 1) -> None:
        self.plan, self.place, self.rank, self.processes = plan, place, rank, processes

    def __iter__(self) -> Iterator[list[Item]]:
        epoch, first_step, skip = self.place
        while True:
            number = 0
            for number, batch in enumerate(self.plan.epoch(epoch, first_step), 1):
                if number > skip and (number - 1) % self.processes == self.rank:
                    end = number + self.processes - 1 - self.rank
                    yield [Item(index, epoch, first_step, end) for index in batch]
            epoch, first_step, skip = epoch + 1, first_step + number // self.plan.group, 0
