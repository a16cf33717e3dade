"""Splits PyTorch's fused attention into simple operators, for converters that turn it into something a processor
computes badly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.bundle.io_spec import MASKED


@contextmanager
def plain_attention() -> Iterator[None]:
    """While a model is traced, PyTorch's fused attention, which encoders call, becomes products and a softmax.

    For iOS 18 coremltools turns fused attention into one operator, which iOS 26's Neural Engine computes inexactly
    (executorch #15833). For LiteRT its products have three axes (`export.graphs.four_axes`).
    """
    with replaced(F, "scaled_dot_product_attention", products):
        yield


@contextmanager
def replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    """Replace a function of a module or class for a while."""
    kept = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def products(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """`F.scaled_dot_product_attention` without dropout. In a mask of truth values, True means visible."""
    assert not dropout_p and not is_causal
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if attn_mask is not None:
        scores = scores + ((~attn_mask).float() * MASKED if attn_mask.dtype == torch.bool else attn_mask)
    return torch.softmax(scores, dim=-1) @ value
