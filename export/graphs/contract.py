"""The graphs of the inference contract as PyTorch modules: flat lists of tensors in, flat lists out.

    Encoder       image, valid_width -> cross keys and values of each layer, memory mask, column logits
    DecoderStep   token, position, own and cross keys and values, memory mask -> logits, new keys and values
    DecoderChunk  the same for several tokens at once

Names, shapes and order come from `runtime.bundle.io_spec`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runtime.bundle.io_spec import CHUNK, CHUNKED, SLOT_BUCKETS, IOSpec
from runtime.page.preparation import Preparation
from training.loop.losses import DENSE
from training.model.backbone import get_backbone
from training.model.column_memory import ColumnMemory
from training.model.decoder import Decoder, KeysValues
from training.model.music_trocr import MusicTrOCR

SHRUNK = 2.0**-2  # a power of two rounds nothing


class Encoder(nn.Module):
    """Everything that is computed once a picture."""

    def __init__(self, model: MusicTrOCR) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, valid_width: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encode(image, valid_width)
        flat = [tensor for cache in encoded.cross for tensor in cache]
        head = [] if encoded.column_logits_BTV is None else [encoded.column_logits_BTV]
        return (*flat, encoded.mask_B11T, *head)


class DecoderStep(nn.Module):
    """Everything that is computed once a token."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, token: Tensor, position: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """`caches`: self_k_0, self_v_0, ..; cross_k_0, cross_v_0, ..; memory_mask."""
        pairs = [KeysValues(*caches[i : i + 2]) for i in range(0, len(caches) - 1, 2)]
        layers = len(self.decoder.layers)
        logits, new = self.read(token, position, pairs[:layers], pairs[layers:], caches[-1])
        return (logits, *(tensor for slice_ in new for tensor in slice_))

    def read(self, *given: Any) -> tuple[Tensor, list[KeysValues]]:
        return self.decoder.step(*given)


class DecoderChunk(DecoderStep):
    """The same for several given tokens, which saves reading the weights once for each."""

    def read(self, *given: Any) -> tuple[Tensor, list[KeysValues]]:
        return self.decoder.chunk(*given)


@torch.no_grad()
def folded(decoder: Decoder) -> Decoder:
    """A copy whose query weights include attention's scale, and whose residual stream is multiplied by SHRUNK.

    The first saves two products a layer. Also, ONNX Runtime 1.32 would fuse such a product into the matrix product
    after it, which then misses the fast path for single rows (3 times slower at 8 heads of 32, 256 slots).
    """
    decoder = copy.deepcopy(decoder)
    norms, weights = [decoder.norm], [decoder.tokens.weight, decoder.positions.weight]
    for layer in decoder.layers:
        layer.self_qkv.weight[: layer.self_out.in_features] *= layer.scale
        layer.cross_query.weight *= layer.scale
        layer.scale = 1.0
        norms += [layer.self_norm, layer.cross_norm, layer.feed_norm]
        weights += [layer.self_out.weight, layer.cross_out.weight, layer.feed_out.weight]
    shrink(norms, weights)
    return decoder


@torch.no_grad()
def folded_memory(model: MusicTrOCR) -> MusicTrOCR:
    """The model with a copy of its memory in which what the first norm gets is SHRUNK; the rest is shared."""
    if not isinstance(model.memory, ColumnMemory):
        return model
    memory = copy.deepcopy(model.memory)
    shrink([memory.norm], [memory.collapse.weight])
    model = copy.copy(model)
    model._modules = {**model._modules, "memory": memory}
    return model


def shrink(norms: Sequence[nn.Module], weights: Sequence[Tensor]) -> None:
    """Multiply what nothing but `norms` reads by SHRUNK, in the `weights` that write it.

    A norm divides by the spread, so its output stays the same, in fp32 bit by bit. But the squares inside it stay below
    half precision's highest number, 65,504: unshrunk, those of `pocket` reach 31,000, and their sums 128,000.
    """
    for norm in norms:
        assert isinstance(norm, nn.LayerNorm)
        norm.eps *= SHRUNK**2
    for weight in weights:
        weight *= SHRUNK


def modules(model: MusicTrOCR, fold: bool = True) -> dict[str, nn.Module]:
    """The contract's graphs by name, in evaluation mode; `fold` as they are exported, else as they were trained."""
    decoder = folded(model.decoder) if fold else model.decoder
    encoder = Encoder(folded_memory(model) if fold else model)
    return {
        "encode": encoder.eval(),
        "decode": DecoderStep(decoder).eval(),
        CHUNKED: DecoderChunk(decoder).eval(),
    }


def io_spec(model: MusicTrOCR, preparation: Preparation, chunk: int = CHUNK) -> IOSpec:
    """Sizes of a model's graphs; a `chunk` of 0 leaves out those that take several given tokens."""
    params, decoder = model.params, model.decoder
    entry = get_backbone(params.vision_model_name)
    rows = 1 if isinstance(model.memory, ColumnMemory) else entry.grid_height(preparation.height)
    columns: dict[str, int] = {}
    if model.heads is not None:
        columns = dict(zip(DENSE, model.heads.dense, strict=True))
        rest = model.heads.score.out_features - sum(model.heads.dense)
        columns |= {"ctc": rest} if rest else {}
    return IOSpec(
        layers=len(decoder.layers),
        heads=params.n_heads,
        head_dim=params.d_model // params.n_heads,
        vocab_size=decoder.head.out_features,
        channels=preparation.channels,
        height=preparation.height,
        widths=preparation.width_buckets,
        memory=tuple(rows * -(-width // model.stride) for width in preparation.width_buckets),
        slots=(*(size for size in SLOT_BUCKETS if size < params.max_seq_len), params.max_seq_len),
        columns=columns,
        chunk=chunk,
    )
