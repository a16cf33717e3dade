"""Shows keys and values that a target stores in other axes as the contract's, without a copy.

Axes are written as in einops: `B S 1 (h d)` has the slots on the second axis and the heads side by side on the last. S
is the axis that grows: slots of the cache, columns of memory, or new tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Axes = Mapping[str, str]  # "keys", "values" -> how they are stored

CONTRACT = "B h S d"
CHANNELS_LAST, CHANNELS_FIRST = "B S 1 (h d)", "B (h d) 1 S"
# Apple's layout for the Neural Engine: the operands of attention's two products as they are, without a transposition.
# https://machinelearning.apple.com/research/neural-engine-transformers
NEURAL_ENGINE = {"keys": CHANNELS_LAST, "values": CHANNELS_FIRST}


def axes_of(name: str, axes: Axes) -> str:
    """The axes in which a tensor is stored: those of keys for `self_k_0`, the contract's for `logits`."""
    kind, _, rest = name.partition("_")
    part = {"k": "keys", "v": "values"}.get(rest[:1], "")
    return axes.get(part, CONTRACT) if kind in ("self", "cross", "new") else CONTRACT


def stored_shape(shape: tuple[Any, ...], axes: str) -> tuple[Any, ...]:
    """Shape in which a tensor of shape [B, h, S, d] is stored."""
    if axes == CONTRACT:
        return shape
    batch, heads, length, width = shape
    return (batch, length, 1, heads * width) if axes == CHANNELS_LAST else (batch, heads * width, 1, length)


def as_contract(stored: NDArray[Any], axes: str, heads: int) -> NDArray[Any]:
    """A view [B, h, S, d] of what is stored; writing to it writes there."""
    if axes == CONTRACT:
        return stored
    batch = len(stored)
    if axes == CHANNELS_LAST:
        return stored.reshape(batch, stored.shape[1], heads, -1).transpose(0, 2, 1, 3)
    return stored.reshape(batch, heads, -1, stored.shape[3]).transpose(0, 1, 3, 2)


def as_stored(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """A tensor [B, h, S, d] as it is stored."""
    if axes == CONTRACT:
        return array
    order = (0, 2, 1, 3) if axes == CHANNELS_LAST else (0, 1, 3, 2)
    return np.ascontiguousarray(array.transpose(order)).reshape(stored_shape(array.shape, axes))
