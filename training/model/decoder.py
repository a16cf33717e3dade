"""The decoder: pre-norm transformer layers with SwiGLU, learned positions and cross-attention; no biases,
untied head.

It runs in three ways that must agree. `forward` reads a whole sequence at once, for training. `step` reads one token
and `chunk` several given ones, with a cache that they only read: they return the new slices, and the caller writes them
(`training.evaluation.evaluate`, the exported graphs, the phone).

Shapes: B batch, N tokens, T memory positions, S cache slots, D model width, h heads, d width of a head, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED = -1e4  # not -inf: that becomes NaN in half precision on phones


class KeysValues(NamedTuple):
    """Keys and values of one layer, [B, h, T or S, d] each."""

    keys: Tensor
    values: Tensor


class Decoded(NamedTuple):
    """Scores of the next token, and where the guided heads looked.

    Attributes:
        logits_BNV: one row a token read.
        guides_GBNT: log-probabilities over the memory, of one head in each guided layer; None if not asked
            for.
    """

    logits_BNV: Tensor
    guides_GBNT: Tensor | None


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attention of all heads; query [B, h, N, d], additive mask that broadcasts to [B, h, N, T].

    In bfloat16 on a CPU the fused kernel's backward pass is slow: 20 ms against 7 ms for plain products at
    16x8x60x64x32 (torch 2.13, Zen 4). Plain products keep all weights in memory, so long sequences stay with
    the fused kernel.
    """
    plain = (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and query.shape[2] * keys.shape[2] <= 512**2
    )
    if not plain:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask.to(query.dtype))
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(2, 3)
    return torch.softmax(scores.float() + mask, dim=-1).to(query.dtype) @ values


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, SwiGLU; each on a normalised input and added to the stream."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.self_norm = nn.LayerNorm(width, bias=False)
        self.self_qkv = nn.Linear(width, 3 * width, bias=False)
        self.self_out = nn.Linear(width, width, bias=False)
        self.cross_norm = nn.LayerNorm(width, bias=False)
        self.cross_query = nn.Linear(width, width, bias=False)
        self.cross_keys_values = nn.Linear(width, 2 * width, bias=False)
        self.cross_out = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.LayerNorm(width, bias=False)
        self.feed_gate = nn.Linear(width, feed_forward, bias=False)
        self.feed_up = nn.Linear(width, feed_forward, bias=False)
        self.feed_out = nn.Linear(feed_forward, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def split(self, x_BND: Tensor) -> Tensor:
        """[B, N, D] -> [B, h, N, d]."""
        batch, length, width = x_BND.shape
        return x_BND.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def join(self, x_BhNd: Tensor) -> Tensor:
        """[B, h, N, d] -> [B, N, D]."""
        batch, heads, length, width = x_BhNd.shape
        return x_BhNd.transpose(1, 2).reshape(batch, length, heads * width)

    def split_one(self, x_B1D: Tensor) -> Tensor:
        """[B, 1, D] -> [B, h, 1, d]; a single token needs no transposition, which an exported graph would copy."""
        batch, _, width = x_B1D.shape
        return x_B1D.reshape(batch, self.heads, 1, width // self.heads)

    def cross_cache(self, memory_BTD: Tensor) -> KeysValues:
        """Keys and values of the memory, computed once a picture."""
        keys_BTD, values_BTD = self.cross_keys_values(memory_BTD).chunk(2, dim=-1)
        return KeysValues(self.split(keys_BTD), self.split(values_BTD))

    def feed(self, x_BND: Tensor) -> Tensor:
        normed_BND = self.feed_norm(x_BND)
        hidden = F.silu(self.feed_gate(normed_BND)) * self.feed_up(normed_BND)
        out_BND: Tensor = self.dropout(self.feed_out(hidden))
        return x_BND + out_BND

    def forward(
        self, x_BND: Tensor, past_NN: Tensor, memory_BTD: Tensor, mask_B11T: Tensor, guide: bool
    ) -> tuple[Tensor, Tensor | None]:
        """A whole sequence; with `guide` also head 0's log-probabilities over the memory, [B, N, T]."""
        cross = self.cross_cache(memory_BTD)
        query, keys, values = (
            self.split(part) for part in self.self_qkv(self.self_norm(x_BND)).chunk(3, dim=-1)
        )
        seen_BhNd = attend(query, keys, values, past_NN)
        x_BND = x_BND + self.dropout(self.self_out(self.join(seen_BhNd)))

        query = self.split(self.cross_query(self.cross_norm(x_BND)))
        seen_BhNd = attend(query, cross.keys, cross.values, mask_B11T)
        x_BND = x_BND + self.dropout(self.cross_out(self.join(seen_BhNd)))
        looked = None
        if guide:  # the fused attention doesn't give its weights; one head again costs little
            scores_BNT = query[:, 0] @ cross.keys[:, 0].transpose(1, 2) * self.scale
            looked = F.log_softmax(scores_BNT.float() + mask_B11T[:, 0], dim=-1)
        return self.feed(x_BND), looked

    def step(
        self, x_B1D: Tensor, own: KeysValues, free_B11S: Tensor, cross: KeysValues, mask_B11T: Tensor
    ) -> tuple[Tensor, KeysValues]:
        """One token: `own` holds those before it and is only read; `free_B11S` hides its unused slots."""
        query, key, value = (
            self.split_one(part) for part in self.self_qkv(self.self_norm(x_B1D)).chunk(3, dim=-1)
        )
        query = query * self.scale
        before_Bh1S = query @ own.keys.transpose(2, 3) + free_B11S
        itself_Bh11 = (query * key).sum(-1, keepdim=True)
        weights = torch.softmax(torch.cat([before_Bh1S, itself_Bh11], dim=-1), dim=-1)
        slots = own.keys.shape[2]
        seen_Bh1d = weights[..., :slots] @ own.values + weights[..., slots:] * value
        x_B1D = x_B1D + self.self_out(seen_Bh1d.reshape(x_B1D.shape))

        query = self.split_one(self.cross_query(self.cross_norm(x_B1D))) * self.scale
        weights = torch.softmax(query @ cross.keys.transpose(2, 3) + mask_B11T, dim=-1)
        x_B1D = x_B1D + self.cross_out((weights @ cross.values).reshape(x_B1D.shape))
        return self.feed(x_B1D), KeysValues(key, value)

    def chunk(
        self,
        x_BND: Tensor,
        own: KeysValues,
        free_B11S: Tensor,
        past_NN: Tensor,
        cross: KeysValues,
        mask_B11T: Tensor,
    ) -> tuple[Tensor, KeysValues]:
        """Several tokens, each seeing `own` and those before it in the chunk. `step` does without these
        transpositions, so one token is not a chunk of one.
        """
        batch, length, _ = x_BND.shape
        qkv = self.self_qkv(self.self_norm(x_BND)).view(batch, length, 3 * self.heads, -1)
        query, keys, values = qkv.transpose(1, 2).chunk(3, dim=1)
        query = query * self.scale
        before_BhNS = query @ own.keys.transpose(2, 3) + free_B11S
        among_BhNN = query @ keys.transpose(2, 3) + past_NN
        weights = torch.softmax(torch.cat([before_BhNS, among_BhNN], dim=-1), dim=-1)
        slots = own.keys.shape[2]
        seen_BhNd = weights[..., :slots] @ own.values + weights[..., slots:] @ values
        x_BND = x_BND + self.self_out(self.join(seen_BhNd))

        query = self.split(self.cross_query(self.cross_norm(x_BND))) * self.scale
        weights = torch.softmax(query @ cross.keys.transpose(2, 3) + mask_B11T, dim=-1)
        x_BND = x_BND + self.cross_out(self.join(weights @ cross.values))
        return self.feed(x_BND), KeysValues(keys, values)


class Decoder(nn.Module):
    """Token ids and a memory in, scores of the next token out.

    Args:
        vocabulary: number of token ids.
        width: width of the model, D.
        heads: attention heads, h.
        layers: number of layers.
        feed_forward: width inside SwiGLU.
        max_length: tokens a sequence may have, begin included.
        dropout: share of the residual branches' values dropped in training.
        guided: how many of the last layers have a guided head.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        heads: int,
        layers: int,
        feed_forward: int,
        max_length: int,
        dropout: float,
        guided: int,
    ) -> None:
        super().__init__()
        self.guided = guided
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(max_length, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Linear maps keep the variance; branches start small, so that depth doesn't add up."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        shrink = (3 * len(self.layers)) ** -0.5
        with torch.no_grad():
            for layer in self.layers:
                for out in (layer.self_out, layer.cross_out, layer.feed_out):
                    out.weight.mul_(shrink)
        nn.init.normal_(self.head.weight, std=0.02)

    def cross_caches(self, memory_BTD: Tensor) -> list[KeysValues]:
        """Each layer's keys and values of the memory."""
        return [layer.cross_cache(memory_BTD) for layer in self.layers]

    def forward(
        self, tokens_BN: Tensor, memory_BTD: Tensor, mask_B11T: Tensor, guide: bool = False
    ) -> Decoded:
        """A whole sequence at once; token n sees tokens 0..n."""
        order_N = torch.arange(tokens_BN.shape[1], device=tokens_BN.device)
        past_NN = (order_N > order_N[:, None]) * MASKED
        x_BND = self.dropout(self.tokens(tokens_BN) + self.positions(order_N))
        guides = []
        first_guided = len(self.layers) - self.guided
        for number, layer in enumerate(self.layers):
            x_BND, looked_BNT = layer(
                x_BND, past_NN, memory_BTD, mask_B11T, guide and number >= first_guided
            )
            if looked_BNT is not None:
                guides.append(looked_BNT)
        return Decoded(self.head(self.norm(x_BND)), torch.stack(guides) if guides else None)

    def step(
        self,
        token_B: Tensor,
        position_B: Tensor,
        own: Sequence[KeysValues],
        cross: Sequence[KeysValues],
        mask_B11T: Tensor,
    ) -> tuple[Tensor, list[KeysValues]]:
        """One token more.

        Args:
            token_B: ids.
            position_B: number of tokens before each; cache slots from there on are hidden.
            own: each layer's cache [B, h, S, d], only read.
            cross: `cross_caches`.
            mask_B11T: additive mask of the memory.

        Returns:
            Scores [B, V] and each layer's new slice [B, h, 1, d], for the caller to write at slot `position`.
        """
        free_B11S = self.free(position_B, own, mask_B11T.dtype)
        x_B1D = (self.tokens(token_B) + self.positions(position_B))[:, None]
        new = []
        for number, layer in enumerate(self.layers):
            x_B1D, slice_ = layer.step(x_B1D, own[number], free_B11S, cross[number], mask_B11T)
            new.append(slice_)
        return self.head(self.norm(x_B1D))[:, 0], new

    def chunk(
        self,
        tokens_BN: Tensor,
        position_B: Tensor,
        own: Sequence[KeysValues],
        cross: Sequence[KeysValues],
        mask_B11T: Tensor,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Several given tokens more, at once; token n sees the cache and tokens 0..n.

        Args:
            tokens_BN: ids; what follows the last one that is given may be any, and nothing before it changes.
            position_B: number of tokens before the first; cache slots from there on are hidden.
            own, cross, mask_B11T: as for `step`.

        Returns:
            Scores [B, N, V] and each layer's new slices [B, h, N, d], for the caller to write at slots
            `position` to `position + N - 1`.
        """
        free_B11S = self.free(position_B, own, mask_B11T.dtype)
        order_N = torch.arange(tokens_BN.shape[1], device=tokens_BN.device)
        past_NN = (order_N > order_N[:, None]).to(mask_B11T.dtype) * MASKED
        # Padding after the given tokens may be beyond the last position.
        position_BN = (position_B[:, None] + order_N).clamp(max=self.positions.num_embeddings - 1)
        x_BND = self.tokens(tokens_BN) + self.positions(position_BN)
        new = []
        for number, layer in enumerate(self.layers):
            x_BND, slices = layer.chunk(x_BND, own[number], free_B11S, past_NN, cross[number], mask_B11T)
            new.append(slices)
        return self.head(self.norm(x_BND)), new

    def free(self, position_B: Tensor, own: Sequence[KeysValues], dtype: torch.dtype) -> Tensor:
        """An additive mask [B, 1, 1, S] that hides the slots of a cache which aren't filled yet."""
        slots_S = torch.arange(own[0].keys.shape[2], device=position_B.device)
        return ((slots_S >= position_B[:, None]).to(dtype) * MASKED)[:, None, None, :]
