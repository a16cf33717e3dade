"""Checks that a cache stays exact through the longest reading: compares the scores after every position, while the
cache grows, with PyTorch's pass over the whole sequence without a cache.

    omr-export verify --long DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.inference.engine import Engine, Floats
from training.model.music_trocr import MusicTrOCR

from .parity import LEAST, psnr
from .probe import Pictures
from .torch_engine import whole_sequence

WAYS = ("steps", "chunks")  # token by token, and several given tokens at once


@dataclass(frozen=True)
class Positions:
    """How the scores after each token agree with PyTorch's.

    Attributes:
        psnr_db: [N], of each position's logits.
        same: [N], whether the highest token is PyTorch's.
    """

    psnr_db: NDArray[np.float64]
    same: NDArray[np.bool_]

    @classmethod
    def of(cls, expected: Floats, found: Floats) -> Positions:
        """From logits [N, V]."""
        pairs = zip(expected, found, strict=True)
        return cls(np.array([psnr(*pair) for pair in pairs]), expected.argmax(axis=1) == found.argmax(axis=1))

    def numbers(self, least: float) -> dict[str, Any]:
        """For a report; `least` is the PSNR in dB that must hold. A position that doesn't exist is None."""
        worst = int(self.psnr_db.argmin())
        return {
            "positions": len(self.psnr_db),
            "psnr_db": float(self.psnr_db[worst]),
            "worst_position": worst,
            "first_divergence": first(self.psnr_db < least),
            "first_other_token": first(~self.same),
            "same_tokens_percent": round(100 * float(self.same.mean()), 2),
        }


def first(found: NDArray[np.bool_]) -> int | None:
    return int(found.argmax()) if found.any() else None


def long_decode(model: MusicTrOCR, engine: Engine, pictures: Pictures, length: int = 0) -> dict[str, Positions]:
    """Random tokens through the cache, step by step and in chunks.

    Args:
        model: what the engine's graphs were made from.
        engine: what reads.
        pictures: a batch of one line.
        length: tokens; 0: as many as the largest cache holds.
    """
    length = length or engine.spec.slots[-1]
    tokens = np.random.default_rng(0).integers(engine.spec.vocab_size, size=(1, length))
    expected = whole_sequence(model, *pictures, tokens)[0]
    memory = engine.encode(*pictures)
    decoder = engine.start(memory)
    steps = np.stack([decoder.step(tokens[:, position], position)[0].copy() for position in range(length)])
    chunks = engine.start(memory).score(tokens, 0)[0]
    return {way: Positions.of(expected, found) for way, found in zip(WAYS, (steps, chunks), strict=True)}


def refuse_divergence(what: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse an artifact whose cache doesn't stay exact.

    Args:
        what: the artifact.
        found: way -> its numbers.

    Raises:
        BundleError: it doesn't; the message says from which position on.
    """
    for way, numbers in found.items():
        if numbers["first_divergence"] is not None:
            raise BundleError(
                f"{what} leaves PyTorch at position {numbers['first_divergence']} of {numbers['positions']} in {way} "
                f"({numbers['psnr_db']} dB at worst); export it again"
            )


def least_psnr(precision: str) -> float:
    """What every position must reach in dB: nothing where weights or activations have few bits."""
    return LEAST.get(precision, (0.0, 0.0))[0]
