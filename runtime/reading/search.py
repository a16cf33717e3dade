"""Reads a line greedily, or with a beam whose candidates are compared with what the column head saw.

    found = Search(width=4).read(decoder, batch, tokenizer, limit, seen, sizes)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..bundle.tokenizer import Tokenizer
from ..errors import ConfigError
from ..inference.engine import Decoder, Floats
from .column_head import fit
from .decode import Reading, candidates, greedy, score

MARGIN = 8.0  # nats an open beam may be behind where candidates will be weighed again


@dataclass(frozen=True)
class Search:
    """A way of reading.

    Attributes:
        width: beams; 1 reads greedily.
        length_penalty: see `runtime.reading.decode.score`.
        column_weight: weight of the columns' log-probability, the decoder's being 1; 0 ignores the columns.

    Raises:
        ConfigError: a value out of its range.
    """

    width: int = 1
    length_penalty: float = 1.0
    column_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"a beam of {self.width} reads nothing; give a width of 1 (greedy) or more")
        if self.column_weight < 0:
            raise ConfigError(f"column weight is {self.column_weight:g}; give 0 (without columns) or more")

    def read(
        self,
        decoder: Decoder,
        batch: int,
        tokenizer: Tokenizer,
        limit: int,
        seen: Sequence[Floats] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> list[Reading]:
        """Read every row.

        Args:
            decoder: with an empty cache of `batch` rows.
            tokenizer: of the model.
            limit: most tokens of a reading, end included.
            seen: column logits [T, V] of each row without padding; None where the model has no column head.
            sizes: width of each of their parts, as in `IOSpec.columns`.
        """
        begin, end = tokenizer.bos_id, tokenizer.eos_id
        if self.width == 1:
            return greedy(decoder, batch, begin, end, limit)
        weigh = seen is not None and self.column_weight > 0
        margin = MARGIN if weigh else 0.0
        found = candidates(decoder, batch, begin, end, limit, self.width, self.length_penalty, margin)
        if not weigh or seen is None:
            return [readings[0] for readings in found]
        return [
            self.choose(readings, tokenizer, logits, sizes or {}) for readings, logits in zip(found, seen, strict=True)
        ]

    def choose(
        self, readings: list[Reading], tokenizer: Tokenizer, logits: Floats, sizes: Mapping[str, int]
    ) -> Reading:
        """The candidate with the best sum of the decoder's and the columns' log-probability.

        If a candidate can't be compared with the columns (two voices, two staves, other classes), only the decoder
        counts.
        """
        totals = []
        for reading in readings:
            agrees = fit(logits, sizes, tokenizer.decode(reading.tokens))
            if agrees is None:
                return readings[0]
            scale = max(1, len(reading.tokens) + 1) ** -self.length_penalty
            totals.append(score(reading, self.length_penalty) + self.column_weight * agrees * scale)
        return readings[totals.index(max(totals))]
