"""Reading freely, as on the phone, and counting what is wrong: SER, CER, notes, whole lines.

Run: `omr-train evaluate CHECKPOINT DATASET`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from runtime.image import bucket_for
from runtime.metrics import cer, note_accuracy, percent, sequence_accuracy, ser
from runtime.tokenizer import Tokenizer

from .batches import IGNORED, Batch, Lines
from .decoder import KeysValues
from .model import MusicTrOCR
from .order import Item

SLOTS = (64, 128, 256, 512, 1024, 2048)


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


@torch.no_grad()
def read_batch(model: MusicTrOCR, batch: Batch, begin: int, end: int, limit: int) -> list[list[int]]:
    """Greedy reading of a batch with cached keys and values.

    Args:
        model: in evaluation mode.
        batch: only its pictures are looked at.
        begin: id of the token a line starts with.
        end: id of the token it stops with.
        limit: tokens a line may have.

    Returns:
        Tokens of each line, without begin and end.
    """
    encoded = model.encode(batch.image_BCHW, batch.valid_width_B)
    count, heads, _, width = encoded.cross[0].keys.shape
    token_B = torch.full((count,), begin, device=batch.image_BCHW.device)
    done_B = torch.zeros_like(token_B, dtype=torch.bool)
    own = [
        KeysValues(*(encoded.cross[0].keys.new_zeros(count, heads, SLOTS[0], width) for _ in range(2)))
        for _ in encoded.cross
    ]
    read: list[Tensor] = []
    for position in range(min(limit, model.params.max_seq_len)):
        if position == own[0].keys.shape[2]:
            larger = next(slots for slots in SLOTS if slots > position)
            own = [
                KeysValues(*(F.pad(part, (0, 0, 0, larger - position)) for part in cache)) for cache in own
            ]
        logits_BV, new = model.step(
            token_B, torch.full_like(token_B, position), own, encoded.cross, encoded.mask_B11T
        )
        for cache, slice_ in zip(own, new, strict=True):
            cache.keys[:, :, position] = slice_.keys[:, :, 0]
            cache.values[:, :, position] = slice_.values[:, :, 0]
        token_B = logits_BV.argmax(-1).masked_fill(done_B, end)
        done_B = done_B | (token_B == end)
        read.append(token_B)
        if bool(done_B.all()):
            break
    rows = torch.stack(read, 1).tolist() if read else [[] for _ in range(count)]
    return [row[: row.index(end)] if end in row else row for row in rows]


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
) -> tuple[dict[str, float], list[Reading]]:
    """Read lines greedily and compare.

    Args:
        model: in evaluation mode.
        lines: what is read.
        tokenizer: of the model.
        limit: lines read, from the start of the split; 0: all.
        batch_size: lines read at once.
        precision: an autocast context; none: fp32.
        longest: tokens a reading may have beyond its longest reference; 0: as many as the model can.
        show: progress bar.

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
            found = read_batch(model, moved, tokenizer.bos_id, tokenizer.eos_id, most)
            for name, reference, ids in zip(batch.names, batch.transcriptions, found, strict=True):
                readings.append(
                    Reading(name, reference, tokenizer.encode(reference), ids, tokenizer.decode(ids))
                )
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
