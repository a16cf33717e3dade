"""Lets the runtime's searches read with a PyTorch model: a decoder with a cache, for one token or several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.bundle.io_spec import SLOT_BUCKETS
from runtime.bundle.tokenizer import Tokenizer
from runtime.inference.engine import Floats, Integers
from runtime.reading.column_head import SIZES
from runtime.reading.decode import Reading
from runtime.reading.search import Search

from ..loading.batches import Batch
from ..model.decoder import KeysValues
from ..model.music_trocr import Encoded, MusicTrOCR


class TorchDecoder:
    """`runtime.inference.engine.Decoder` on a model and what it encoded; its cache grows by the contract's slots.

    Args:
        model: in evaluation mode.
        encoded: of one batch.
        slots: sizes the cache may have, ascending.
    """

    def __init__(self, model: MusicTrOCR, encoded: Encoded, slots: Sequence[int] = SLOT_BUCKETS) -> None:
        self.model, self.cross, self.mask_B11T = model, encoded.cross, encoded.mask_B11T
        self.slots = slots
        keys = encoded.cross[0].keys
        count, heads, _, width = keys.shape
        self.own = [
            KeysValues(*(keys.new_zeros(count, heads, slots[0], width) for _ in range(2)))
            for _ in encoded.cross
        ]

    @torch.inference_mode()
    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        return self._read(self.model.step, token, position, 1)

    @torch.inference_mode()
    def score(self, tokens: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        return self._read(self.model.chunk, tokens, position, tokens.shape[1])

    def _read(
        self, read: Callable[..., tuple[Tensor, list[KeysValues]]], given: Integers, position: int, count: int
    ) -> Floats:
        """`count` tokens of every row by `read`; their slices go into the cache."""
        slots, end = self.own[0].keys.shape[2], position + count
        if end > slots:
            more = next(size for size in self.slots if size >= end) - slots
            self.own = [KeysValues(*(F.pad(part, (0, 0, 0, more)) for part in cache)) for cache in self.own]
        tokens = torch.as_tensor(np.asarray(given), device=self.mask_B11T.device)
        position_B = tokens.new_full((len(tokens),), position)
        logits, new = read(tokens, position_B, self.own, self.cross, self.mask_B11T)
        for cache, slices in zip(self.own, new, strict=True):
            cache.keys[:, :, position:end] = slices.keys
            cache.values[:, :, position:end] = slices.values
        return np.asarray(logits.float().cpu().numpy())

    def keep(self, rows: Integers) -> None:
        """See `runtime.inference.engine.Decoder`."""
        index_B = torch.as_tensor(np.asarray(rows), device=self.mask_B11T.device)
        self.own = [KeysValues(*(part[index_B] for part in cache)) for cache in self.own]
        self.cross = [KeysValues(*(part[index_B] for part in cache)) for cache in self.cross]
        self.mask_B11T = self.mask_B11T[index_B]


@torch.inference_mode()
def read_batch(
    model: MusicTrOCR, batch: Batch, tokenizer: Tokenizer, limit: int, search: Search = Search()  # noqa: B008 - frozen
) -> list[Reading]:
    """Read a batch freely, with cached keys and values.

    Args:
        model: in evaluation mode.
        batch: only its pictures are looked at.
        tokenizer: of the model.
        limit: tokens a line may have, end included.
        search: how.
    """
    encoded = model.encode(batch.image_BCHW, batch.valid_width_B)
    seen = list(column_logits(model, encoded, batch.valid_width_B)) or None
    limit = min(limit, model.params.max_seq_len)
    return search.read(TorchDecoder(model, encoded), len(batch.valid_width_B), tokenizer, limit, seen, SIZES)


def column_logits(model: MusicTrOCR, encoded: Encoded, valid_width_B: Tensor) -> Iterator[Floats]:
    """Dense column logits [T, V] of each row without padding; nothing where the model has no such head."""
    if encoded.column_logits_BTV is None or model.params.dense_weight == 0:
        return
    logits_BTV = encoded.column_logits_BTV[:, :, : sum(SIZES.values())].float().cpu().numpy()
    for row, width in enumerate(valid_width_B.tolist()):
        yield logits_BTV[row, : -(-int(width) // model.stride)]
