"""PyTorch's fused attention taken to pieces, for converters that make of it what a processor doesn't compute well."""

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
    """PyTorch's fused attention, which encoders call, as products and a softmax while a model is traced.

    For iOS 18 coremltools makes one operator of the fused one, which iOS 26's Neural Engine computes inexactly
    (executorch #15833); for LiteRT its products have three axes (`export.graphs.four_axes`).
    """
    with replaced(F, "scaled_dot_product_attention", products):
        yield


@contextmanager
def replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    """Something else in the place of a function of a module or class."""
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
    """`F.scaled_dot_product_attention` without dropout; truth values of a mask tell what is seen."""
    assert not dropout_p and not is_causal
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if attn_mask is not None:
        scores = scores + ((~attn_mask).float() * MASKED if attn_mask.dtype == torch.bool else attn_mask)
    return torch.softmax(scores, dim=-1) @ value
