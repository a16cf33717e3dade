"""Reads lines as a phone would, without their labels, and counts errors: SER, CER, notes, whole lines.

Run: `omr-train evaluate CHECKPOINT DATASET`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm import tqdm

from runtime.bundle.tokenizer import Tokenizer
from runtime.metrics import cer, note_accuracy, percent, sequence_accuracy, ser
from runtime.page.preparation import bucket_for
from runtime.reading.search import Search

from ..loading.batches import IGNORED, Batch, Lines
from ..loading.order import Item
from ..model.music_trocr import MusicTrOCR
from .torch_decoder import read_batch


@dataclass(frozen=True)
class Reading:
    """One line as it was read.

    Attributes:
        name: of the line.
        reference: canonical ABC.
        reference_ids: its tokens.
        ids: tokens read.
        abc: their text.
    """

    name: str
    reference: str
    reference_ids: list[int]
    ids: list[int]
    abc: str


def batches(lines: Lines, rows: list[int], batch_size: int) -> Iterator[Batch]:
    """Lines sorted by width, so that a batch holds one bucket or two."""
    widths = lines.widths()
    order = sorted(rows, key=lambda row: (bucket_for(widths[row], lines.preparation), row))
    for start in range(0, len(order), batch_size):
        yield lines.collate([lines[Item(row, 0, 0, 0)] for row in order[start : start + batch_size]])


@torch.no_grad()
def teacher_forced(model: MusicTrOCR, batch: Batch) -> dict[str, float]:
    """Sums over a batch: the tokens' cross-entropy and number, columns with a symbol and those read right."""
    output = model(batch.image_BCHW, batch.valid_width_B, batch.tokens_BN)
    logits = output.logits_BNV.float().flatten(0, 1)
    found = {
        "loss": float(
            F.cross_entropy(logits, batch.targets_BN.flatten(), ignore_index=IGNORED, reduction="sum")
        ),
        "tokens": float((batch.targets_BN != IGNORED).sum()),
    }
    if output.column_logits_BTV is not None and model.heads is not None:
        symbols_BT = batch.columns_3BT[0]
        right_BT = model.heads.parts(output.column_logits_BTV)[0].argmax(-1) == symbols_BT
        found["columns"] = float((symbols_BT > 0).sum())
        found["columns_right"] = float((right_BT & (symbols_BT > 0)).sum())
    return found


def evaluate(
    model: MusicTrOCR,
    lines: Lines,
    tokenizer: Tokenizer,
    limit: int = 0,
    batch_size: int = 64,
    precision: AbstractContextManager[object] | None = None,
    longest: int = 0,
    show: bool = False,
    search: Search = Search(),  # noqa: B008 - frozen
) -> tuple[dict[str, float], list[Reading]]:
    """Read lines and compare.

    Args:
        model: in evaluation mode.
        lines: what is read.
        tokenizer: of the model.
        limit: lines read, from the start of the split; 0: all.
        batch_size: lines read at once.
        precision: an autocast context; none: fp32.
        longest: tokens a reading may have beyond its longest reference; 0: as many as the model can.
        show: progress bar.
        search: how they are read.

    Returns:
        Percentages (`ser` over tokens, `cer`, `note_accuracy`, `sequence_accuracy`, `column_accuracy` over
        columns with a symbol), `loss` (cross-entropy a token), `lines`, `seconds`; and the readings.
    """
    start = time.perf_counter()
    device = next(model.parameters()).device
    rows = list(range(min(limit or len(lines), len(lines))))
    readings: list[Reading] = []
    sums: dict[str, float] = {}
    with (
        tqdm(total=len(rows), desc="reading", unit="line", disable=not show) as bar,
        precision or nullcontext(),
    ):
        for batch in batches(lines, rows, batch_size):
            moved = batch.to(device)
            for name, value in teacher_forced(model, moved).items():
                sums[name] = sums.get(name, 0.0) + value
            most = batch.targets_BN.shape[1] + longest if longest else model.params.max_seq_len
            found = read_batch(model, moved, tokenizer, most, search)
            for name, reference, read in zip(batch.names, batch.transcriptions, found, strict=True):
                text = tokenizer.decode(read.tokens)
                readings.append(Reading(name, reference, tokenizer.encode(reference), read.tokens, text))
            bar.update(len(found))
    return score(readings) | means(sums) | {
        "lines": len(rows),
        "seconds": round(time.perf_counter() - start, 3),
    }, readings


def score(readings: list[Reading]) -> dict[str, float]:
    """Percentages over readings."""
    texts, read = [r.reference for r in readings], [r.abc for r in readings]
    return {
        "ser": ser([r.reference_ids for r in readings], [r.ids for r in readings]),
        "cer": cer(texts, read),
        "note_accuracy": note_accuracy(texts, read),
        "sequence_accuracy": sequence_accuracy(
            [r.reference_ids for r in readings], [r.ids for r in readings]
        ),
    }


def means(sums: dict[str, float]) -> dict[str, float]:
    """Means of what `teacher_forced` summed."""
    found = {"loss": sums.get("loss", 0.0) / max(1.0, sums.get("tokens", 0.0))}
    if "columns" in sums:
        found["column_accuracy"] = percent(sums["columns_right"], sums["columns"])
    return found
