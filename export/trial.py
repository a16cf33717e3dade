"""How well an artifact reads the lines of a data set, beside PyTorch on the same batches."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from runtime.engine import Engine
from runtime.image import batch, prepare
from runtime.metrics import sequence_accuracy, ser
from training.batches import decode_picture
from training.checkpoint import Loaded
from training.data.dataset.hub import open_split
from training.data.dataset.labels import label_form

from .lines import Pictures, by_bucket
from .parity import Rows, read
from .reference import TorchEngine


@dataclass(frozen=True)
class Trial:
    """Lines of a data set and what PyTorch reads in them.

    Attributes:
        batches: padded pictures, each of one bucket.
        references: tokens of each line, in the order of the batches.
        expected: PyTorch's readings.
        about: data set, split, number of lines.
    """

    batches: list[Pictures]
    references: Rows
    expected: Rows
    about: dict[str, Any]

    @classmethod
    def of(cls, loaded: Loaded, engine: TorchEngine, dataset: str, split: str, limit: int) -> Trial:
        """Open a split and read its first `limit` lines with PyTorch.

        Raises:
            InputError: there is no such data set or split.
        """
        rows = open_split(dataset, split, label_form(loaded.config.data.labels, loaded.tokenizer))
        rows = rows.select(range(min(limit, len(rows))))
        lines = [prepare(decode_picture(picture), loaded.preparation) for picture in rows["image"]]
        groups = by_bucket(lines, loaded.preparation)
        batches = [batch([lines[number] for number in group], loaded.preparation) for group in groups]
        texts = rows["transcription"]
        references = [loaded.tokenizer.encode(texts[number]) for group in groups for number in group]
        expected = read_all(engine, batches, loaded, "PyTorch")
        return cls(batches, references, expected, {"dataset": dataset, "split": split, "lines": len(lines)})

    def numbers(self, loaded: Loaded, engine: Engine, what: str) -> dict[str, Any]:
        """Symbol error rates over tokens in percent, the share of lines read as PyTorch reads them, and speed."""
        began = time.perf_counter()
        found = read_all(engine, self.batches, loaded, what)
        seconds = time.perf_counter() - began
        rates = {"ser_percent": ser(self.references, found), "ser_pytorch_percent": ser(self.references, self.expected)}
        rates["ser_difference_points"] = rates["ser_percent"] - rates["ser_pytorch_percent"]
        rates["lines_per_second"] = len(found) / seconds
        rates["equal_percent"] = sequence_accuracy(self.expected, found)
        return self.about | {name: round(value, 3) for name, value in rates.items()}


def read_all(engine: Engine, batches: list[Pictures], loaded: Loaded, what: str) -> Rows:
    """Greedy readings of all lines, in the order of the batches."""
    one = partial(read, engine, tokenizer=loaded.tokenizer, limit=engine.spec.slots[-1])
    bar = tqdm(batches, desc=f"{what} reads", unit="batch", file=sys.stderr, disable=not sys.stderr.isatty())
    return [tokens for pictures in bar for tokens in one(pictures=pictures)]
