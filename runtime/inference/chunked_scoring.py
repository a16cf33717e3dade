"""Scores given tokens: in chunks if the engine has a graph for that, else one by one.

    logits = decoder.score(tokens, position)      # the same as in steps, but the weights are read less often
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .engine import Floats, Integers


class Chunks(Protocol):
    """A decoder that reads one token, or several at once."""

    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""

    def chunk(self, tokens: Integers, position: int, count: int) -> Floats:
        """Read the first `count` of `tokens` [B, N]; logits [B, N, V], overwritten by the next chunk."""


def in_chunks(decoder: Chunks, tokens: Integers, position: int, size: int) -> Floats:
    """See `runtime.inference.engine.Decoder.score`.

    Args:
        decoder: what reads.
        tokens: [B, n] ids.
        position: of the first.
        size: tokens of a chunk; the last chunk is filled up with zeros. 0 if the decoder has only steps.
    """
    parts: list[Floats] = []
    start, given = 0, tokens.shape[1]
    while start < given:
        count = min(size, given - start)
        if count < 2:
            count = 1
            found = decoder.step(tokens[:, start], position + start)[:, None]
        else:
            padded = np.zeros((len(tokens), size), tokens.dtype)
            padded[:, :count] = tokens[:, start : start + count]
            found = decoder.chunk(padded, position + start, count)[:, :count]
        parts.append(found.copy())
        start += count
    return np.concatenate(parts, axis=1)
