"""MusicTrOCR: a picture of one line of music in, the tokens of its ABC text out.

backbone -> projection -> memory -> decoder. `encode` runs once a picture and ends with each decoder layer's
keys and values of the memory; `step` runs once a token. `export.graphs.contract` wraps exactly these two.

Shapes: B batch, C channels, H height, W width, T memory positions, N tokens, D model width, h heads, d width
of a head, G guided layers, V classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.errors import ConfigError
from runtime.reading.column_head import SIZES

from ..config import ModelParams
from .backbone import Backbone, get_backbone
from .column_memory import ColumnHeads, ColumnMemory, GridMemory, sinusoids
from .decoder import MASKED, Decoder, KeysValues


class Looked(NamedTuple):
    """What the backbone and the memory give; attributes as of `Encoded`, but for the normalised memory_BTD."""

    memory_BTD: Tensor
    mask_B11T: Tensor
    column_logits_BTV: Tensor | None


class Encoded(NamedTuple):
    """What the encoder gives.

    Attributes:
        cross: keys and values of each decoder layer, [B, h, T, d].
        mask_B11T: additive mask, 0 or -1e4.
        column_logits_BTV: scores of each column where the model has column heads.
    """

    cross: list[KeysValues]
    mask_B11T: Tensor
    column_logits_BTV: Tensor | None


class Output(NamedTuple):
    """What training needs of one batch."""

    logits_BNV: Tensor
    guides_GBNT: Tensor | None
    column_logits_BTV: Tensor | None


def dense_classes() -> tuple[int, int, int]:
    """Numbers of symbol, staff position and duration classes."""
    symbol, position, duration = SIZES.values()
    return symbol, position, duration


class MusicTrOCR(nn.Module):
    """The model of the study, and `pocket`.

    Args:
        params: its sizes.
        vocabulary: number of token ids.
        height: height of the pictures in px; a column memory is built for it.
        channels: channels of the pictures.
        pretrained: whether the backbone starts from published weights; a checkpoint's own weights need none.

    Raises:
        ConfigError: sizes that don't fit together.
    """

    def __init__(
        self, params: ModelParams, vocabulary: int, height: int, channels: int, pretrained: bool = False
    ) -> None:
        super().__init__()
        entry = get_backbone(params.vision_model_name)
        check(params, entry, height)
        self.params = params
        self.stride = entry.stride
        self.masks_padding = entry.masks_padding
        self.backbone = entry.build(channels, pretrained)
        self.memory: GridMemory | ColumnMemory
        if params.memory == "grid":
            self.memory = GridMemory(entry.channels, params.d_model, positions=not entry.own_positions)
        else:
            self.memory = ColumnMemory(
                entry.channels, entry.grid_height(height), params.d_model, params.mixers
            )
        self.heads: ColumnHeads | None = None
        if params.dense_weight or params.ctc_weight or params.feed_columns:
            ctc = vocabulary if params.ctc_weight else 0
            self.heads = ColumnHeads(params.d_model, dense_classes(), ctc, params.feed_columns)
        self.memory_norm = nn.LayerNorm(params.d_model, bias=False)
        guided = min(2, params.n_decoder_layers) if params.guide_weight else 0
        self.decoder = Decoder(
            vocabulary,
            params.d_model,
            params.n_heads,
            params.n_decoder_layers,
            params.d_ff,
            params.max_seq_len,
            params.dropout,
            guided,
        )

    def features(self, image_BCHW: Tensor, valid_width_B: Tensor) -> Tensor:
        """The backbone's features_BCHW of padded pictures and their widths before padding in px."""
        masked = (valid_width_B,) if self.masks_padding else ()
        features_BCHW: Tensor = self.backbone(image_BCHW, *masked)
        missing = -(-image_BCHW.shape[-1] // self.stride) - features_BCHW.shape[-1]
        if isinstance(self.memory, ColumnMemory) and missing > 0:  # left out by the backbone; labels have all columns
            features_BCHW = F.pad(features_BCHW, (0, missing))
        return features_BCHW

    def look(self, image_BCHW: Tensor, valid_width_B: Tensor) -> Looked:
        """What the decoder reads from; arguments as in `encode`."""
        features_BCHW = self.features(image_BCHW, valid_width_B)
        rows, columns = features_BCHW.shape[2:]
        order_T = torch.arange(columns, device=image_BCHW.device)
        valid_BT = order_T * self.stride < valid_width_B[:, None]
        memory_BTD = self.memory(features_BCHW, valid_BT)
        logits_BTV = None
        if isinstance(self.memory, ColumnMemory):
            if self.heads is not None:
                logits_BTV = self.heads(memory_BTD)
                if self.heads.tell is not None:
                    memory_BTD = memory_BTD + self.heads.told(logits_BTV)
            memory_BTD = memory_BTD + sinusoids(columns, self.params.d_model, image_BCHW.device)
        else:
            valid_BT = valid_BT.repeat(1, rows)
        mask_B11T = ((~valid_BT).float() * MASKED)[:, None, None, :]
        return Looked(self.memory_norm(memory_BTD), mask_B11T, logits_BTV)

    def encode(self, image_BCHW: Tensor, valid_width_B: Tensor) -> Encoded:
        """Everything that is computed once a picture.

        Args:
            image_BCHW: padded pictures, float.
            valid_width_B: widths before padding in px.
        """
        looked = self.look(image_BCHW, valid_width_B)
        return Encoded(self.decoder.cross_caches(looked.memory_BTD), looked.mask_B11T, looked.column_logits_BTV)

    def train(self, mode: bool = True) -> MusicTrOCR:
        """A backbone that is frozen keeps reading, so that its batch statistics stay, too."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def step(
        self,
        token_B: Tensor,
        position_B: Tensor,
        own: Sequence[KeysValues],
        cross: Sequence[KeysValues],
        mask_B11T: Tensor,
    ) -> tuple[Tensor, list[KeysValues]]:
        """One token more; see `Decoder.step`."""
        return self.decoder.step(token_B, position_B, own, cross, mask_B11T)

    def chunk(
        self,
        tokens_BN: Tensor,
        position_B: Tensor,
        own: Sequence[KeysValues],
        cross: Sequence[KeysValues],
        mask_B11T: Tensor,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Several given tokens more; see `Decoder.chunk`."""
        return self.decoder.chunk(tokens_BN, position_B, own, cross, mask_B11T)

    def forward(
        self, image_BCHW: Tensor, valid_width_B: Tensor, tokens_BN: Tensor, guide: bool = False
    ) -> Output:
        """Scores of each next token given the ones before it (teacher forcing)."""
        looked = self.look(image_BCHW, valid_width_B)
        decoded = self.decoder(tokens_BN, looked.memory_BTD, looked.mask_B11T, guide)
        return Output(decoded.logits_BNV, decoded.guides_GBNT, looked.column_logits_BTV)


def check(params: ModelParams, entry: Backbone, height: int) -> None:
    """What must hold between sizes.

    Raises:
        ConfigError: it doesn't.
    """
    if height % entry.height_multiple:
        wanted = f"{params.vision_model_name} takes multiples of {entry.height_multiple} px"
        raise ConfigError(f"data.img_height is {height}; {wanted}")
    if params.memory not in ("grid", "columns"):
        raise ConfigError(f"model.params.memory is {params.memory!r}; use grid or columns")
    if params.d_model % (2 * params.n_heads) or params.d_model % 4:
        wanted = f"a multiple of 4 and of twice n_heads ({params.n_heads})"
        raise ConfigError(f"model.params.d_model is {params.d_model}; it must be {wanted}")
    wants_columns = [
        name
        for name in ("dense_weight", "ctc_weight", "guide_weight", "feed_columns")
        if getattr(params, name)
    ]
    if params.memory == "grid" and wants_columns:
        raise ConfigError(f"model.params.{wants_columns[0]} needs model.params.memory=columns; it is grid")
