"""What `vit_small` and `deit_small` share: a vision transformer whose patches form a grid of features.

Two things let it read lines of any width, padded to any other:

- Its learned positions (14 x 14, for the square pictures it was trained on) are stretched over each line's own width,
  not over the padded width. So white paper after a line changes nothing.
- Attention ignores patches that hold only padding. Otherwise every patch would see all of the padding.

The class token takes part in attention, as in its training, and is dropped from the features.

So the patches after a line aren't needed. Training on a CPU leaves them out: the tokens of all lines form one row,
linear maps take the whole row, and attention goes line by line. The features are as wide as the widest line, and 0
after each shorter one.

Shapes: B batch, C channels, H rows and W columns of patches, N tokens (the class token and H*W patches), A tokens of
all lines, K stored positions along one axis, D width, F width inside an MLP, h heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.model.backbone import Backbone, timm_model
from training.model.decoder import MASKED


class LineAttention(nn.Module):
    """Attention inside a line, with timm's names; with a mask it gives timm's results.

    Args:
        dim: width, D.
        num_heads: h.
        qkv_bias: whether queries, keys and values have one.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, **_others: Any) -> None:
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, attn_mask: Tensor | Sequence[int], **_others: Any) -> Tensor:
        """Takes an additive mask [B, 1, 1, N] for x_BND, or the lengths of lines in one row for x [1, A, D].
        """
        qkv_BhNd = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x_BND).chunk(3, dim=2)]
        if isinstance(attn_mask, Tensor):
            return self.join(F.scaled_dot_product_attention(*qkv_BhNd, attn_mask=attn_mask))
        lines = zip(*(part.split(list(attn_mask), dim=2) for part in qkv_BhNd), strict=True)
        # Joined after the projection: before it, the copy would be kept for the backward pass.
        return torch.cat([self.join(F.scaled_dot_product_attention(*line)) for line in lines], dim=1)

    def join(self, seen_BhNd: Tensor) -> Tensor:
        joined_BND: Tensor = self.proj(seen_BhNd.transpose(1, 2).flatten(2))
        return joined_BND


class LeanMlp(nn.Module):
    """timm's two linear maps around a GELU. The GELU's output is computed again for the backward pass.

    That output is a quarter of all that a transformer keeps for its backward pass, and takes half a percent of its
    time.

    Args:
        in_features: width, D.
        hidden_features: of the first map.
    """

    def __init__(self, in_features: int, hidden_features: int, **_others: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x_BND: Tensor) -> Tensor:
        hidden_BNF = self.fc1(x_BND)
        if not (self.training and torch.is_grad_enabled()):
            return self.narrow(hidden_BNF)
        # The second pass stops before the linear map, whose input is all that is missing.
        narrowed_BND: Tensor = checkpoint(self.narrow, hidden_BNF, use_reentrant=False)
        return narrowed_BND

    def narrow(self, hidden_BNF: Tensor) -> Tensor:
        narrowed_BND: Tensor = self.fc2(F.gelu(hidden_BNF))
        return narrowed_BND


class PatchGrid(nn.Module):
    """image_BCHW, valid_width_B -> features [B, D, H, W].

    Args:
        transformer: of timm, with one class token, learned positions, and `dynamic_img_size`.

    Attributes:
        leaves_out_padding: whether training on a CPU leaves out the padding. The planner, which rehearses a GPU's step
            on a CPU, turns this off.
    """

    leaves_out_padding = True

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.stride: int = transformer.patch_embed.patch_size[1]

    def forward(self, image_BCHW: Tensor, valid_width_B: Tensor) -> Tensor:
        transformer = self.transformer
        patches_BHWD = transformer.patch_embed(image_BCHW)
        batch, rows, columns, width = patches_BHWD.shape
        order_W = torch.arange(columns, device=image_BCHW.device)
        valid_BW = order_W * self.stride < valid_width_B[:, None]

        patches_BHWD = patches_BHWD + self.positions(rows, columns, valid_BW.sum(1))
        class_11D = transformer.cls_token + transformer.pos_embed[:, :1]
        if self.leaves_out_padding and self.training and image_BCHW.device.type == "cpu":
            counts = [min(columns, -(-int(wide) // self.stride)) for wide in valid_width_B.tolist()]
            return self.line_by_line(patches_BHWD, class_11D[0], counts)
        tokens_BND = torch.cat([class_11D.expand(batch, 1, width), patches_BHWD.flatten(1, 2)], dim=1)
        hidden_BN = torch.cat([~valid_BW.any(1, keepdim=True), ~valid_BW.repeat(1, rows)], dim=1)
        mask_B11N = (hidden_BN.to(tokens_BND.dtype) * MASKED)[:, None, None, :]
        for block in transformer.blocks:
            tokens_BND = block(tokens_BND, attn_mask=mask_B11N)
        features_BND = transformer.norm(tokens_BND)[:, 1:]
        return features_BND.transpose(1, 2).unflatten(2, (rows, columns))

    def line_by_line(self, patches_BHWD: Tensor, class_1D: Tensor, counts: Sequence[int]) -> Tensor:
        """Features [B, D, H, W] from the first `counts` columns of each line, W being the most of them."""
        rows = patches_BHWD.shape[1]
        shown = [line_HWD[:, :count].flatten(0, 1) for line_HWD, count in zip(patches_BHWD, counts, strict=True)]
        lengths = [1 + rows * count for count in counts]
        tokens_1AD = torch.cat([part for line_ND in shown for part in (class_1D, line_ND)])[None]
        for block in self.transformer.blocks:
            tokens_1AD = block(tokens_1AD, attn_mask=lengths)
        lines = self.transformer.norm(tokens_1AD)[0].split(lengths)
        padded = [
            F.pad(line_ND[1:].unflatten(0, (rows, count)), (0, 0, 0, max(counts) - count))
            for line_ND, count in zip(lines, counts, strict=True)
        ]
        return torch.stack(padded).permute(0, 3, 1, 2)

    def positions(self, rows: int, columns: int, valid_B: Tensor) -> Tensor:
        """The learned positions [B, H, W, D] of lines with `valid_B` columns before the padding."""
        stored = self.transformer.patch_embed.grid_size
        table_KKD = self.transformer.pos_embed[0, 1:].unflatten(0, stored)
        down_HK = stretch(rows, torch.full((1,), rows, device=valid_B.device), stored[0])[0]
        across_BWK = stretch(columns, valid_B, stored[1])
        # Two at a time: with opt_einsum installed, three would fix the batch's size in an exported graph.
        rows_HKD = torch.einsum("hj,jkd->hkd", down_HK, table_KKD)
        return torch.einsum("bwk,hkd->bhwd", across_BWK, rows_HKD)


def stretch(count: int, valid_B: Tensor, stored: int) -> Tensor:
    """Weights [B, count, stored] of linear interpolation: `stored` values over the first `valid_B` of `count` places.

    It is a matrix, because resizing operators take one size for the whole batch, and several export formats have none
    with a variable size. Places after the valid ones get finite values that don't matter.
    """
    order = torch.arange(count, device=valid_B.device)
    scale_B1 = stored / valid_B[:, None].float()
    at = ((order + 0.5) * scale_B1).clamp(max=stored)  # in stored steps, from the left edge
    distance = (at[:, :, None] - torch.arange(stored, device=valid_B.device) - 0.5).abs()
    weights = (1 - distance / scale_B1.clamp(min=1)[:, :, None]).clamp(min=0)  # wider where many become few
    return weights / weights.sum(-1, keepdim=True)


def small_transformer(name: str, hub_id: str) -> Backbone:
    """The entry of a transformer of timm with patches of 16 px, width 384 and a class token."""

    def build(channels: int, pretrained: bool) -> nn.Module:
        sizes = {"in_chans": channels, "dynamic_img_size": True, "attn_layer": LineAttention, "mlp_layer": LeanMlp}
        return PatchGrid(timm_model(name, pretrained, **sizes))

    return Backbone(
        build=build,
        channels=384,
        stride=16,
        height_stride=16,
        width_multiple=16,
        height_multiple=16,
        family="transformer",
        hub_id=hub_id,
        class_token=True,
        own_positions=True,
        blocks=lambda grid: grid.transformer.blocks,
        masks_padding=True,
    )
