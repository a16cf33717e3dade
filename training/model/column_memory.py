"""Turns a backbone's features into the memory that the decoder reads, and scores what is in each column of the picture.

There are two kinds of memory. `grid` keeps every feature, with two-dimensional positions, as in the study. `columns`
collapses the height and mixes neighbouring columns, so that each column describes its 8 px of width.

Shapes: B batch, C feature channels, H rows, T columns or memory positions, D model width, V classes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal positions [length, width] (Vaswani et al. 2017, section 3.5) for any length."""
    order = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(
        torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-math.log(10000.0) / width)
    )
    return torch.cat([torch.sin(order * rate), torch.cos(order * rate)], dim=-1)


class GridMemory(nn.Module):
    """features_BCHW -> memory [B, H*W, D], row after row, with two-dimensional sinusoidal positions unless the
    features carry their own.
    """

    def __init__(self, channels: int, width: int, positions: bool) -> None:
        super().__init__()
        self.positions = positions
        self.project = nn.Linear(channels, width, bias=False)

    def forward(self, features_BCHW: Tensor, _valid_BT: Tensor) -> Tensor:
        rows, columns = features_BCHW.shape[2:]
        # Three axes: XNNPACK 1.5 can't load a quantised linear map over four that were permuted.
        memory_BTD = self.project(features_BCHW.flatten(2).transpose(1, 2))
        if not self.positions:
            return memory_BTD
        return memory_BTD + places(rows, columns, memory_BTD.shape[-1], memory_BTD.device)


def places(rows: int, columns: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal positions of a grid [H*W, D], row after row: how far down in the first half, how far across in the
    other.
    """
    down_H1D = sinusoids(rows, width // 2, device)[:, None].expand(rows, columns, width // 2)
    across_1WD = sinusoids(columns, width // 2, device)[None].expand(rows, columns, width // 2)
    return torch.cat([down_H1D, across_1WD], dim=-1).flatten(0, 1)


class Mixer(nn.Module):
    """Lets neighbouring columns see each other: a depthwise convolution, then two linear maps."""

    def __init__(self, width: int, reach: int = 7) -> None:
        super().__init__()
        self.along = nn.Conv1d(width, width, reach, padding=reach // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, columns_BTD: Tensor, valid_BT1: Tensor) -> Tensor:
        # Padding must not leak into the last columns, whatever width the batch was padded to.
        near_BTD = self.along((columns_BTD * valid_BT1).transpose(1, 2)).transpose(1, 2)
        mixed_BTD: Tensor = self.narrow(F.gelu(self.widen(self.norm(near_BTD))))
        return columns_BTD + mixed_BTD


class ColumnMemory(nn.Module):
    """features_BCHW -> columns [B, W, D], without positions.

    The height is collapsed by one kernel as high as the grid, [D, C, H, 1]: each row keeps weights of its
    own, and rows may be added around them when lines get higher (a grand staff).
    """

    def __init__(self, channels: int, rows: int, width: int, mixers: int) -> None:
        super().__init__()
        self.collapse = nn.Conv2d(channels, width, (rows, 1), bias=False)
        self.norm = nn.LayerNorm(width)
        self.mixers = nn.ModuleList(Mixer(width) for _ in range(mixers))

    def forward(self, features_BCHW: Tensor, valid_BT: Tensor) -> Tensor:
        columns_BTD: Tensor = self.norm(self.collapse(features_BCHW)[:, :, 0].transpose(1, 2))
        valid_BT1 = valid_BT[:, :, None].to(columns_BTD.dtype)
        for mixer in self.mixers:
            columns_BTD = mixer(columns_BTD, valid_BT1)
        return columns_BTD


class ColumnHeads(nn.Module):
    """Scores what is in each column: symbol class, staff position, duration; also tokens, if CTC is trained.

    Args:
        width: width of the columns, D.
        dense: number of classes of each softmax (symbol, staff position, duration).
        tokens: size of the token vocabulary for CTC, 0 without.
        feed: whether `told` adds the dense classes found to the memory.
    """

    def __init__(self, width: int, dense: tuple[int, ...], tokens: int, feed: bool) -> None:
        super().__init__()
        self.dense = dense
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, sum(dense) + tokens)
        self.tell = nn.Linear(sum(dense), width, bias=False) if feed else None

    def forward(self, columns_BTD: Tensor) -> Tensor:
        logits_BTV: Tensor = self.score(self.norm(columns_BTD))
        return logits_BTV

    def parts(self, logits_BTV: Tensor) -> list[Tensor]:
        """The softmaxes' logits one by one, the CTC one (if any) last."""
        rest = logits_BTV.shape[-1] - sum(self.dense)
        return list(logits_BTV.split([*self.dense, *([rest] if rest else [])], dim=-1))

    def told(self, logits_BTV: Tensor) -> Tensor:
        """What the heads found in each column, as vectors [B, T, D] that are added to the memory.

        The decoder's gradient stops here: the heads learn only from the engraver's labels.
        """
        assert self.tell is not None
        dense = self.parts(logits_BTV.detach())[: len(self.dense)]
        found_BTV = torch.cat([part.softmax(-1) for part in dense], dim=-1)
        told_BTD: Tensor = self.tell(found_BTV)
        return told_BTD
