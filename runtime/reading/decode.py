"""Greedy and beam search: call a decoder step by step and turn its logits into readings.

Rows of a batch don't influence each other: every choice depends only on the row's own logits, and a finished row is
dropped or ignored. A search needs only `runtime.inference.engine.Decoder` from a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..inference.engine import Decoder, Floats


@dataclass(frozen=True)
class Reading:
    """One row read.

    Attributes:
        tokens: ids without begin and end.
        log_probability: mean over the tokens and the end, in nats; 0 is certain.
        finished: the end token came before the limit.
    """

    tokens: list[int]
    log_probability: float
    finished: bool

    @property
    def confidence(self) -> float:
        """Geometric mean of the tokens' probabilities, 0 to 1."""
        return math.exp(self.log_probability)


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


def greedy(decoder: Decoder, batch: int, begin: int, end: int, limit: int) -> list[Reading]:
    """The most probable token at each step.

    Args:
        decoder: with an empty cache of `batch` rows.
        batch: rows.
        begin, end: ids of the begin and end tokens.
        limit: most tokens of a reading, end included.
    """
    tokens: list[list[int]] = [[] for _ in range(batch)]
    totals = [0.0] * batch
    finished = [False] * batch
    rows = np.arange(batch)  # the sample that each row of the decoder reads
    token = np.full(batch, begin)
    for position in range(limit):
        scores = log_softmax(decoder.step(token, position))
        token = scores.argmax(axis=-1)
        for row, sample in enumerate(rows):
            if not finished[sample]:
                totals[sample] += float(scores[row, token[row]])
                finished[sample] = bool(token[row] == end)
                if not finished[sample]:
                    tokens[sample].append(int(token[row]))
        live = np.flatnonzero([not finished[sample] for sample in rows])
        if not len(live):
            break
        if 2 * len(live) <= len(rows):  # dropping a row copies the memory, so not every time one ends
            decoder.keep(live)
            rows, token = rows[live], token[live]
    means = [total / max(1, len(t) + f) for total, t, f in zip(totals, tokens, finished, strict=True)]
    return [Reading(*parts) for parts in zip(tokens, means, finished, strict=True)]


@dataclass
class _Search:
    """The beams of one sample."""

    width: int
    penalty: float
    margin: float
    beams: list[tuple[float, list[int]]] = field(default_factory=lambda: [(0.0, [])])
    ended: list[Reading] = field(default_factory=list)

    def advance(self, scores: Floats, end: int) -> list[int]:
        """Extend by one token; `scores` [beams, vocabulary]. Returns the beam each new one came from."""
        totals = scores.astype(np.float64) + np.array([total for total, _ in self.beams])[:, None]
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * self.width]
        beams: list[tuple[float, list[int]]] = []
        parents: list[int] = []
        for rank, index in enumerate(best):
            parent, token = divmod(int(index), scores.shape[1])
            total, tokens = float(totals[parent, token]), self.beams[parent][1]
            if token != end and len(beams) < self.width:
                beams.append((total, [*tokens, token]))
                parents.append(parent)
            elif token == end and rank < self.width:
                self.ended.append(Reading(tokens, total / (len(tokens) + 1), True))
        self.beams = beams
        return parents

    @property
    def done(self) -> bool:
        """Whether enough readings have ended, or the best of them beats the best open one by the margin."""
        if len(self.ended) >= self.width or not self.beams:
            return True
        total, tokens = self.beams[0]
        still_open = (total + self.margin) / len(tokens) ** self.penalty
        return any(score(reading, self.penalty) >= still_open for reading in self.ended)

    def result(self) -> list[Reading]:
        """The readings that ended, best first; if none did, the best open one, cut off."""
        total, tokens = self.beams[0] if self.beams else (-math.inf, [])
        cut = Reading(tokens, total / max(1, len(tokens)), False)
        return sorted(self.ended, key=lambda reading: -score(reading, self.penalty)) or [cut]


def score(reading: Reading, length_penalty: float) -> float:
    """Log-probability divided by length to the power `length_penalty`: 0 the whole reading's, 1 a token's mean."""
    length = len(reading.tokens) + reading.finished
    return reading.log_probability * float(max(1, length) ** (1 - length_penalty))


def candidates(
    decoder: Decoder,
    batch: int,
    begin: int,
    end: int,
    limit: int,
    width: int = 4,
    length_penalty: float = 1.0,
    margin: float = 0.0,
) -> list[list[Reading]]:
    """Beam search: the readings of each row that ended, best first by `score`.

    A sample's search ends when one of its finished readings scores better than every open one. An open reading could
    still improve its mean, but waiting for that would cost steps on every line and gain on few.

    Args:
        decoder, batch, begin, end, limit: as for `greedy`.
        width: beams a sample.
        length_penalty: see `score`; larger ones favour longer readings.
        margin: nats by which an open reading must fall behind before a search ends, for more candidates.
    """
    searches = [_Search(width, length_penalty, margin) for _ in range(batch)]
    live = list(range(batch))
    token: NDArray[np.int64] = np.full(batch, begin, np.int64)
    for position in range(limit):
        scores = log_softmax(decoder.step(token, position))
        rows: list[int] = []
        start = 0
        for sample in live:
            search = searches[sample]
            count = len(search.beams)
            parents = search.advance(scores[start : start + count], end)
            if not search.done:
                rows += [start + parent for parent in parents]
            start += count
        live = [sample for sample in live if not searches[sample].done]
        if not live:
            break
        decoder.keep(np.array(rows))
        token = np.array([tokens[-1] for sample in live for _, tokens in searches[sample].beams])
    return [search.result() for search in searches]


def beam(
    decoder: Decoder, batch: int, begin: int, end: int, limit: int, width: int = 4, length_penalty: float = 1.0
) -> list[Reading]:
    """The best of `candidates` for each row; a width of 1 reads what `greedy` reads."""
    return [found[0] for found in candidates(decoder, batch, begin, end, limit, width, length_penalty)]
