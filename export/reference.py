"""PyTorch as an engine of the runtime's interface: what exported graphs are compared with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.engine import Floats, Integers
from runtime.io_spec import IOSpec
from training.decoder import KeysValues
from training.model import Encoded, MusicTrOCR


class TorchMemory:
    """What the encoder left."""

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded

    @property
    def batch(self) -> int:
        return int(self.encoded.mask_B11T.shape[0])

    @property
    def column_logits(self) -> Floats | None:
        logits = self.encoded.column_logits_BTV
        return None if logits is None else np.asarray(logits.numpy(), np.float32)


class TorchDecoder:
    """`MusicTrOCR.step` with a cache that grows through the contract's sizes."""

    def __init__(self, model: MusicTrOCR, spec: IOSpec, memory: TorchMemory) -> None:
        self.model, self.spec = model, spec
        self.cross, self.mask = memory.encoded.cross, memory.encoded.mask_B11T
        self.own: list[KeysValues] = []
        self._grow(0)

    def _grow(self, filled: int) -> None:
        batch, heads, _, width = self.cross[0].keys.shape
        old, slots = self.own, self.spec.slots_for(filled + 1)
        self.own = [KeysValues(*(torch.zeros(batch, heads, slots, width) for _ in "kv")) for _ in self.cross]
        for before, cache in zip(old, self.own, strict=False):
            for part, whole in zip(before, cache, strict=True):
                whole[:, :, :filled] = part[:, :, :filled]

    @torch.inference_mode()
    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.engine.Decoder`."""
        if position >= self.own[0].keys.shape[2]:
            self._grow(position)
        ids = torch.from_numpy(np.asarray(token, np.int64))
        logits, new = self.model.step(ids, torch.full_like(ids, position), self.own, self.cross, self.mask)
        for cache, slice_ in zip(self.own, new, strict=True):
            for whole, part in zip(cache, slice_, strict=True):
                whole[:, :, position] = part[:, :, 0]
        return np.asarray(logits.numpy(), np.float32)

    def keep(self, rows: Integers) -> None:
        """See `runtime.engine.Decoder`."""
        self.own = [KeysValues(cache.keys[rows], cache.values[rows]) for cache in self.own]
        self.cross = [KeysValues(cache.keys[rows], cache.values[rows]) for cache in self.cross]
        self.mask = self.mask[rows]


class TorchEngine:
    """See `runtime.engine.Engine`; the model is in evaluation mode, on the CPU, in fp32."""

    def __init__(self, model: MusicTrOCR, spec: IOSpec) -> None:
        self.model, self.spec = model, spec

    @torch.inference_mode()
    def encode(self, image: Floats, valid_width: Integers) -> TorchMemory:
        widths = torch.from_numpy(np.asarray(valid_width, np.int64))
        return TorchMemory(self.model.encode(torch.from_numpy(image), widths))

    def start(self, memory: TorchMemory) -> TorchDecoder:
        return TorchDecoder(self.model, self.spec, memory)


@torch.inference_mode()
def whole_sequence(
    model: MusicTrOCR, image: Floats, valid_width: Integers, tokens_BN: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits [B, N, V] of a batch without any cache: the graph that was trained."""
    widths = torch.from_numpy(np.asarray(valid_width, np.int64))
    output = model(torch.from_numpy(image), widths, torch.from_numpy(tokens_BN))
    return np.asarray(output.logits_BNV.numpy(), np.float32)
