"""Wraps PyTorch as an engine of the runtime, to compare exported graphs with it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.bundle.io_spec import IOSpec
from runtime.inference.engine import Floats, Integers
from training.evaluation.torch_decoder import TorchDecoder
from training.model.music_trocr import Encoded, MusicTrOCR


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


class TorchEngine:
    """See `runtime.inference.engine.Engine`; the model is in evaluation mode, on the CPU, in fp32."""

    def __init__(self, model: MusicTrOCR, spec: IOSpec) -> None:
        self.model, self.spec = model, spec

    @torch.inference_mode()
    def encode(self, image: Floats, valid_width: Integers) -> TorchMemory:
        widths = torch.from_numpy(np.asarray(valid_width, np.int64))
        return TorchMemory(self.model.encode(torch.from_numpy(image), widths))

    def start(self, memory: TorchMemory) -> TorchDecoder:
        return TorchDecoder(self.model, memory.encoded, self.spec.slots)


@torch.inference_mode()
def whole_sequence(
    model: MusicTrOCR, image: Floats, valid_width: Integers, tokens_BN: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits [B, N, V] of a batch without any cache: the graph that was trained."""
    widths = torch.from_numpy(np.asarray(valid_width, np.int64))
    output = model(torch.from_numpy(image), widths, torch.from_numpy(tokens_BN))
    return np.asarray(output.logits_BNV.numpy(), np.float32)
