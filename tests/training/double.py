"""Training in double precision, so that two ways to compute the same differ by next to nothing.

In single precision the order of a sum, which depends on the processor's vector units and on where tensors lie in
memory, changes a gradient by up to 1e-6 of what was summed; AdamW divides each gradient by its own size and so makes
whole steps of those that are nothing but rounding (a bias of attention's keys has no other): losses moved by 3e-4
within 6 steps. In double precision such a gradient is 1e-16, far below AdamW's epsilon of 1e-8, and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from training.model.music_trocr import MusicTrOCR


@contextmanager
def double_precision() -> Iterator[None]:
    """omr-train computes in float64 while the block runs: weights, pictures, and what it calls `float()` for."""
    features, before = MusicTrOCR.features, torch.get_default_dtype()

    def double_features(self: MusicTrOCR, image_BCHW: Tensor, valid_width_B: Tensor) -> Tensor:
        return features(self, image_BCHW.double(), valid_width_B)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)
        patch.setattr(MusicTrOCR, "features", double_features)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
