"""A vision transformer as a grid of patches: what `vit_small` and `deit_small` share.

Two things let it read lines of any width, padded to any other:

- Its learned positions, 14 x 14 of them for the square pictures it was trained on, are stretched over each line's own
  width, not over the padded one. So white paper after a line moves nothing.
- Attention looks at no patch that holds padding alone. Without that, every patch would see all of it.

The class token takes part in attention, as it was trained to, and is dropped from the features.

Shapes: B batch, C channels, H rows and W columns of patches, N tokens (the class token and H*W patches), K stored
positions along one axis, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.backbone import Backbone, timm_model
from training.decoder import MASKED


class PatchGrid(nn.Module):
    """image_BCHW, valid_width_B -> features [B, D, H, W].

    Args:
        transformer: of timm, with one class token, learned positions, and `dynamic_img_size`.
    """

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
        class_BD = (transformer.cls_token + transformer.pos_embed[:, :1]).expand(batch, 1, width)
        tokens_BND = torch.cat([class_BD, patches_BHWD.flatten(1, 2)], dim=1)
        hidden_BN = torch.cat([~valid_BW.any(1, keepdim=True), ~valid_BW.repeat(1, rows)], dim=1)
        mask_B11N = (hidden_BN.to(tokens_BND.dtype) * MASKED)[:, None, None, :]
        for block in transformer.blocks:
            tokens_BND = block(tokens_BND, attn_mask=mask_B11N)
        features_BND = transformer.norm(tokens_BND)[:, 1:]
        return features_BND.transpose(1, 2).unflatten(2, (rows, columns))

    def positions(self, rows: int, columns: int, valid_B: Tensor) -> Tensor:
        """The learned positions [B, H, W, D] of lines with `valid_B` columns before the padding."""
        stored = self.transformer.patch_embed.grid_size
        table_KKD = self.transformer.pos_embed[0, 1:].unflatten(0, stored)
        down_HK = stretch(rows, torch.full((1,), rows, device=valid_B.device), stored[0])[0]
        across_BWK = stretch(columns, valid_B, stored[1])
        return torch.einsum("hj,bwk,jkd->bhwd", down_HK, across_BWK, table_KKD)


def stretch(count: int, valid_B: Tensor, stored: int) -> Tensor:
    """Weights [B, count, stored] of linear interpolation: `stored` values over the first `valid_B` of `count` places.

    Written out as a matrix, since resizing operators take one size for the whole batch, and several export formats
    have none with a variable size. What the places after the valid ones take doesn't matter; it is finite.
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
        return PatchGrid(timm_model(name, pretrained, in_chans=channels, dynamic_img_size=True))

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
