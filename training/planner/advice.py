"""Tells whether a plan fits a GPU and what would make it fit. Each proposal is rehearsed before it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from runtime.errors import OmrError
from training.config import Config, TechniqueConfig
from training.loading.batches import make_preparation
from training.loop.technique import TECHNIQUES
from training.model.activation_checkpointing import CHOICES

from .rehearsal import Peak, rehearse
from .sizes import Sizes, precision_of, sizes_of, splits

GB = 10**9  # a GPU sold with 16 GB has a little more than that
# Estimates, measured nowhere here: the CUDA context with the libraries' workspaces, and the share that is lost to
# fragments. `benchmarks/memory.py` measures both on a GPU.
CONTEXT, FRAGMENTS = 10**9, 0.05


@dataclass(frozen=True)
class Wish:
    """The batch that a plan is for, where it isn't the largest: width in px and tokens, 0 for the most there can be."""

    width: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a configuration takes.

    Attributes:
        config: of the run.
        sizes: of the batch.
        peak: what its tensors take.
    """

    config: Config
    sizes: Sizes
    peak: Peak

    @property
    def framework(self) -> int:
        """Bytes that aren't tensors'."""
        return CONTEXT + round(FRAGMENTS * self.peak.total)

    @property
    def total(self) -> int:
        return self.peak.total + self.framework

    def fits(self, gb: float) -> bool:
        return self.total <= gb * GB


@cache
def estimate(config: Config, wish: Wish) -> Estimate:
    """Of a configuration on a GPU, in this process's memory of earlier answers."""
    sizes = sizes_of(config, wish.width, wish.tokens)
    return Estimate(config, sizes, rehearse(config, sizes))


def most(cost: Callable[[int], int], limit: float, highest: int) -> int:
    """The largest n from 1 to `highest` with cost(n) <= limit; 0: none.

    `cost` must rise with n. A step's memory rises almost linearly with what it holds, so linear guesses are close and a
    few tries are enough.
    """
    cost = cache(cost)
    low, high = 1, highest
    if cost(low) > limit:
        return 0
    if cost(high) <= limit:
        return high
    while high - low > 1:
        share = (limit - cost(low)) / (cost(high) - cost(low))
        guess = min(max(low + int(share * (high - low)), low + 1), high - 1)
        low, high = (guess, high) if cost(guess) <= limit else (low, guess)
    return low


def most_of(configs: Sequence[Config], wish: Wish, gb: float) -> int:
    """How many of some configurations, each of which takes more than the one before, fit."""
    return most(lambda count: estimate(configs[count - 1], wish).total, gb * GB, len(configs))


def changes(config: Config, wish: Wish, gb: float) -> Iterator[Estimate]:
    """Configurations that fit, each a change of one kind, as in `proposals`."""
    for changed in proposals(config, wish, gb):
        try:
            found = estimate(changed, wish)
        except OmrError:  # a technique that can't be had here
            continue
        if found.fits(gb):
            yield found


def proposals(config: Config, wish: Wish, gb: float) -> Iterator[Config]:
    """What may help; not all of it does."""
    buckets = make_preparation(config).width_buckets
    if precision_of(config) == "fp32":
        yield replace(config, hardware=replace(config.hardware, mixed_precision=True, precision="auto"))
    smaller = splits(config, config.training.batch_size - 1)
    if smaller and (fitting := most_of(smaller, wish, gb)):
        yield smaller[fitting - 1]
    for where in CHOICES[CHOICES.index(config.hardware.gradient_checkpointing) + 1 :]:
        yield replace(config, hardware=replace(config.hardware, gradient_checkpointing=where))
    for name in TECHNIQUES.names():
        if name != config.technique.name:
            yield replace(config, technique=TechniqueConfig(name))
    if not wish.width:
        narrower = [
            replace(config, data=replace(config.data, width_buckets=buckets[:count]))
            for count in range(1, len(buckets) + 1)
        ]
        if fitting := most_of(narrower, wish, gb):
            yield narrower[fitting - 1]
