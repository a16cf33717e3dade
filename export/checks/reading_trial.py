"""Compares how well an artifact and PyTorch read the same labelled lines: those that come with the project, or a data
set's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.inference.engine import Engine
from runtime.metrics import sequence_accuracy, ser
from runtime.page.preparation import batch, prepare
from training.data.dataset.hub import open_split
from training.data.dataset.labels import label_form
from training.data.dataset.pictures import decode_picture
from training.saving.checkpoint import Loaded

from . import heldout
from .parity import Rows, read, uncached
from .probe import Pictures, by_bucket
from .torch_engine import TorchEngine

LEARNT = 80.0  # a trained model predicts so many percent of the next tokens in the first lines,
FIRST = 16  # so many lines,
TRAINED = 20.0  # and has a symbol error rate under so many percent on the shipped lines


@dataclass(frozen=True)
class Trial:
    """Lines and what PyTorch reads in them.

    Attributes:
        batches: padded pictures, each of one bucket.
        order: numbers of the lines in each batch.
        references: tokens of each line, in the order of the batches.
        expected: PyTorch's readings.
        about: where the lines come from.
    """

    batches: list[Pictures]
    order: list[list[int]]
    references: Rows
    expected: Rows
    about: dict[str, Any]

    @classmethod
    def of(
        cls, loaded: Loaded, engine: TorchEngine, lines: Sequence[tuple[bytes, str]], about: Mapping[str, Any]
    ) -> Trial:
        """Prepare lines and read them with PyTorch."""
        pictures = [prepare(decode_picture({"bytes": content}), loaded.preparation) for content, _ in lines]
        order = by_bucket(pictures, loaded.preparation)
        batches = [batch([pictures[number] for number in group], loaded.preparation) for group in order]
        references = [loaded.tokenizer.encode(lines[number][1]) for group in order for number in group]
        expected = read_all(engine, batches, loaded, "PyTorch")
        return cls(batches, order, references, expected, dict(about))

    @classmethod
    def of_data_set(cls, loaded: Loaded, engine: TorchEngine, dataset: str, split: str, limit: int) -> Trial:
        """The first `limit` lines of a split.

        Raises:
            InputError: there is no such data set or split.
        """
        rows = open_split(dataset, split, label_form(loaded.config.data.labels, loaded.tokenizer))
        rows = rows.select(range(min(limit, len(rows))))
        lines = [(encoded(picture), text) for picture, text in zip(rows["image"], rows["transcription"], strict=True)]
        return cls.of(loaded, engine, lines, {"dataset": dataset, "split": split})

    @classmethod
    def shipped(cls, loaded: Loaded, engine: TorchEngine) -> Trial | None:
        """The lines shipped with the project; None where the model isn't trained, so that its errors say nothing."""
        lines = heldout.lines()
        if known_percent(loaded, lines[:FIRST]) < LEARNT:
            return None
        trial = cls.of(loaded, engine, lines, {})
        return trial if ser(trial.references, trial.expected) < TRAINED else None

    def first(self, limit: int) -> Trial:
        """The same with only the first `limit` lines."""
        batches, order, kept = list[Pictures](), list[list[int]](), list[bool]()
        for (image, valid), group in zip(self.batches, self.order, strict=True):
            rows = [row for row, number in enumerate(group) if number < limit]
            kept += [number < limit for number in group]
            if rows:
                batches.append((image[rows], valid[rows]))
                order.append([group[row] for row in rows])
        chosen = [
            [ids for ids, keep in zip(rows, kept, strict=True) if keep] for rows in (self.references, self.expected)
        ]
        return Trial(batches, order, chosen[0], chosen[1], self.about)

    def numbers(self, loaded: Loaded, engine: Engine, what: str) -> dict[str, Any]:
        """Symbol error rates over tokens in percent, the share of lines read as PyTorch reads them, and speed."""
        began = time.perf_counter()
        found = read_all(engine, self.batches, loaded, what)
        seconds = time.perf_counter() - began
        rates = {"ser_percent": ser(self.references, found), "ser_pytorch_percent": ser(self.references, self.expected)}
        rates["ser_difference_points"] = rates["ser_percent"] - rates["ser_pytorch_percent"]
        rates["lines_per_second"] = len(found) / seconds
        rates["equal_percent"] = sequence_accuracy(self.expected, found)
        return {**self.about, "lines": len(found), **{name: round(value, 3) for name, value in rates.items()}}


def encoded(picture: dict[str, Any]) -> bytes:
    """A data set's picture as it is stored."""
    content = picture["bytes"]
    return Path(picture["path"]).read_bytes() if content is None else bytes(content)


def known_percent(loaded: Loaded, lines: Sequence[tuple[bytes, str]]) -> float:
    """Percent of the next tokens that PyTorch's highest scores are, given each line's label before."""
    pictures = [prepare(decode_picture({"bytes": content}), loaded.preparation) for content, _ in lines]
    longest, known, total = loaded.config.model.params.max_seq_len - 1, 0, 0
    for group in by_bucket(pictures, loaded.preparation):
        tokens = [loaded.tokenizer.encode(lines[number][1])[:longest] for number in group]
        prepared = batch([pictures[number] for number in group], loaded.preparation)
        for logits, ids in zip(uncached(loaded.model, prepared, tokens, loaded.tokenizer.bos_id), tokens, strict=True):
            known += int((logits[: len(ids)].argmax(1) == ids).sum())
            total += len(ids)
    return 100 * known / total


def read_all(engine: Engine, batches: list[Pictures], loaded: Loaded, what: str) -> Rows:
    """Greedy readings of all lines, in the order of the batches."""
    read_batch = partial(read, engine, tokenizer=loaded.tokenizer, limit=engine.spec.slots[-1])
    bar = tqdm(batches, desc=f"{what} reads", unit="batch", file=sys.stderr, disable=not sys.stderr.isatty())
    return [tokens for pictures in bar for tokens in read_batch(pictures=pictures)]
