"""Lays out the contract's graphs for Apple's Neural Engine: the same weights in other shapes.

The Neural Engine works on [B, C, 1, S]: channels first, and the long axis last. So linear maps are 1x1 convolutions,
and each head's attention is computed by itself. Keys and values go in and come out as the two products of attention
take them (`runtime.bundle.cache_axes.NEURAL_ENGINE`), so nothing large is transposed, neither in the graph nor by the
host.

Sources: Apple, Deploying Transformers on the Apple Neural Engine (2022,
https://machinelearning.apple.com/research/neural-engine-transformers); linear maps split at 1,024 outputs as in
ExecuTorch's static Llama for the Neural Engine (pull requests #8436, which splits them, and #8715).

Shapes as in `training.model.decoder`, and: N tokens of a step (1) or chunk, C channels of one head's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from runtime.bundle.io_spec import CHUNKED
from training.model.decoder import MASKED, Decoder, DecoderLayer
from training.model.music_trocr import MusicTrOCR

from .contract import folded, folded_memory

MOST_OUTPUTS = 1024  # of one convolution


class Projection(nn.Module):
    """A linear map without bias as convolutions [B, D, 1, S] -> [B, E, 1, S] of at most MOST_OUTPUTS each."""

    def __init__(self, weight_ED: Tensor) -> None:
        super().__init__()
        self.parts = nn.ModuleList(pointwise(part_ED) for part_ED in weight_ED.split(MOST_OUTPUTS))

    def forward(self, x_BD1S: Tensor) -> Tensor:
        parts = [part(x_BD1S) for part in self.parts]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def pointwise(weight_ED: Tensor) -> nn.Conv2d:
    """A convolution of 1x1 with these weights."""
    outputs, inputs = weight_ED.shape
    convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    convolution.weight = nn.Parameter(weight_ED.detach().clone()[:, :, None, None], requires_grad=False)
    return convolution


class ChannelNorm(nn.Module):
    """A layer norm over the channels of [B, D, 1, S]; coremltools makes one operator of it."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.epsilon = norm.eps
        self.weight = nn.Parameter(norm.weight.detach().clone()[None, :, None, None], requires_grad=False)

    def forward(self, x_BD1S: Tensor) -> Tensor:
        centred_BD1S = x_BD1S - x_BD1S.mean(dim=1, keepdim=True)
        spread_B11S = (centred_BD1S * centred_BD1S).mean(dim=1, keepdim=True)
        return centred_BD1S * torch.rsqrt(spread_B11S + self.epsilon) * self.weight


class Stored(NamedTuple):
    """Keys [B, S, 1, D] and values [B, D, 1, S] of one layer."""

    keys: Tensor
    values: Tensor


def attend(query_BD1N: Tensor, parts: Sequence[Stored], mask_BS1N: Tensor, heads: int) -> Tensor:
    """Attention, one head at a time, over caches in several tensors. Queries are already scaled.

    Args:
        query_BD1N: of all heads.
        parts: what is looked at, in the mask's order.
        mask_BS1N: additive, S slots of all parts together.
    """
    width = query_BD1N.shape[1] // heads
    sizes = [part.keys.shape[1] for part in parts]
    seen = []
    for query_BC1N, *both in zip(
        query_BD1N.split(width, dim=1),
        *(part.keys.split(width, dim=3) for part in parts),
        *(part.values.split(width, dim=1) for part in parts),
        strict=True,
    ):
        keys, values = both[: len(parts)], both[len(parts) :]
        scores = [torch.einsum("bchq,bkhc->bkhq", query_BC1N, key) for key in keys]
        weights_BS1N = torch.softmax((scores[0] if len(scores) == 1 else torch.cat(scores, dim=1)) + mask_BS1N, dim=1)
        split = weights_BS1N.split(sizes, dim=1) if len(parts) > 1 else [weights_BS1N]
        seen.append(sum(torch.einsum("bkhq,bchk->bchq", w, value) for w, value in zip(split, values, strict=True)))
    return torch.cat(seen, dim=1)


class StepLayer(nn.Module):
    """`DecoderLayer.step` in this layout."""

    def __init__(self, layer: DecoderLayer) -> None:
        super().__init__()
        self.heads = layer.heads
        self.self_norm, self.cross_norm, self.feed_norm = map(
            ChannelNorm, (layer.self_norm, layer.cross_norm, layer.feed_norm)
        )
        self.query, self.key, self.value = map(Projection, layer.self_qkv.weight.chunk(3))
        self.self_out = Projection(layer.self_out.weight)
        self.cross_query, self.cross_out = Projection(layer.cross_query.weight), Projection(layer.cross_out.weight)
        self.feed_gate, self.feed_up = Projection(layer.feed_gate.weight), Projection(layer.feed_up.weight)
        self.feed_out = Projection(layer.feed_out.weight)

    def new(self, normed_BD1N: Tensor) -> Stored:
        """Keys and values of the tokens of this step."""
        return Stored(self.key(normed_BD1N).transpose(1, 3), self.value(normed_BD1N))

    def feed(self, x_BD1N: Tensor) -> Tensor:
        normed_BD1N = self.feed_norm(x_BD1N)
        gate = self.feed_gate(normed_BD1N)
        # Not silu(gate) * up: coremltools makes a silu of gate * sigmoid(gate), which the Neural Engine doesn't run.
        hidden = torch.sigmoid(gate) * (gate * self.feed_up(normed_BD1N))
        out_BD1N: Tensor = x_BD1N + self.feed_out(hidden)
        return out_BD1N

    def look(self, x_BD1N: Tensor, cross: Stored, mask_BT1N: Tensor) -> Tensor:
        """Cross-attention and what follows it."""
        query_BD1N = self.cross_query(self.cross_norm(x_BD1N))
        x_BD1N = x_BD1N + self.cross_out(attend(query_BD1N, [cross], mask_BT1N, self.heads))
        return self.feed(x_BD1N)

    def forward(
        self, x_BD1N: Tensor, own: Stored, free_BS1N: Tensor, cross: Stored, mask_BT1N: Tensor
    ) -> tuple[Tensor, Stored]:
        """One step: `own` is only read; `free_BS1N` hides its unused slots and ends with the new tokens."""
        normed_BD1N = self.self_norm(x_BD1N)
        new = self.new(normed_BD1N)
        seen_BD1N = attend(self.query(normed_BD1N), [own, new], free_BS1N, self.heads)
        return self.look(x_BD1N + self.self_out(seen_BD1N), cross, mask_BT1N), new

    def in_place(
        self, x_BD11: Tensor, own: Stored, place: Tensor, free_BS11: Tensor, cross: Stored, mask_BT11: Tensor
    ) -> Tensor:
        """One step of one token, which is written into `own` at slot `place` before it is looked at."""
        normed_BD11 = self.self_norm(x_BD11)
        new, after = self.new(normed_BD11), place + 1
        # coremltools 9.0 takes a slice's only index for that of another axis; all four are given therefore.
        own.keys[:, place:after, :, :] = new.keys
        own.values[:, :, :, place:after] = new.values
        seen_BD11 = attend(self.query(normed_BD11), [own], free_BS11, self.heads)
        return self.look(x_BD11 + self.self_out(seen_BD11), cross, mask_BT11)


class Step(nn.Module):
    """The decoder step of the contract; keys and values have the axes of `runtime.bundle.cache_axes.NEURAL_ENGINE`."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        decoder = folded(decoder)
        self.tokens, self.positions = decoder.tokens, decoder.positions
        self.layers = nn.ModuleList(StepLayer(layer) for layer in decoder.layers)
        self.norm, self.head = ChannelNorm(decoder.norm), Projection(decoder.head.weight)

    def embed(self, token_B: Tensor, position_B: Tensor) -> Tensor:
        """[B, D, 1, 1]"""
        x_BD: Tensor = self.tokens(token_B) + self.positions(position_B)
        return x_BD[:, :, None, None]

    def logits(self, x_BD11: Tensor) -> Tensor:
        logits_BV11: Tensor = self.head(self.norm(x_BD11))
        return logits_BV11.flatten(1)

    def forward(self, token: Tensor, position: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """`caches`: self_k_0, self_v_0, ..; cross_k_0, cross_v_0, ..; memory_mask."""
        pairs = [Stored(*caches[i : i + 2]) for i in range(0, len(caches) - 1, 2)]
        own, cross = pairs[: len(self.layers)], pairs[len(self.layers) :]
        mask_BT11 = caches[-1].transpose(1, 3)
        hidden_BS = later(position, own[0].keys.shape[1])
        free_BS11 = torch.cat([hidden_BS, torch.zeros_like(hidden_BS[:, :1])], dim=1)[:, :, None, None]
        x_BD11, new = self.embed(token, position), list[Tensor]()
        for number, layer in enumerate(self.layers):
            x_BD11, made = layer(x_BD11, own[number], free_BS11, cross[number], mask_BT11)
            new += made
        return (self.logits(x_BD11), *new)


class Chunk(Step):
    """The same for several given tokens at once."""

    def forward(self, token: Tensor, position: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """`caches`: as for a step."""
        pairs = [Stored(*caches[i : i + 2]) for i in range(0, len(caches) - 1, 2)]
        own, cross = pairs[: len(self.layers)], pairs[len(self.layers) :]
        mask_BT11 = caches[-1].transpose(1, 3)
        order_N = torch.arange(token.shape[1], device=token.device)
        hidden_BS = later(position, own[0].keys.shape[1])
        hidden_BS1N = hidden_BS[:, :, None, None].repeat(1, 1, 1, token.shape[1])
        among_BN1N = (order_N[:, None] > order_N).float()[None, :, None].repeat(len(token), 1, 1, 1) * MASKED
        free_BS1N = torch.cat([hidden_BS1N, among_BN1N], dim=1)
        # Padding of a chunk may be beyond the last position.
        position_BN = (position[:, None] + order_N).clamp(max=self.positions.num_embeddings - 1)
        x_BND: Tensor = self.tokens(token) + self.positions(position_BN)
        x_BD1N, new = x_BND.transpose(1, 2)[:, :, None], list[Tensor]()
        for number, layer in enumerate(self.layers):
            x_BD1N, made = layer(x_BD1N, own[number], free_BS1N, cross[number], mask_BT11)
            new += made
        logits_BV1N: Tensor = self.head(self.norm(x_BD1N))
        return (logits_BV1N.squeeze(2).transpose(1, 2), *new)


class StatefulStep(Step):
    """A step of one row that keeps its caches: token, position and memory go in, logits come out.

    Args:
        decoder: whose weights it takes.
        slots: size of the caches, buffers named as the contract's inputs.
    """

    def __init__(self, decoder: Decoder, slots: int) -> None:
        super().__init__(decoder)
        self.slots, width = slots, decoder.head.in_features
        for number in range(len(self.layers)):
            self.register_buffer(f"self_k_{number}", torch.zeros(1, slots, 1, width))
            self.register_buffer(f"self_v_{number}", torch.zeros(1, width, 1, slots))

    def forward(self, token: Tensor, position: Tensor, *memory: Tensor) -> Tensor:  # type: ignore[override]
        """`memory`: cross_k_0, cross_v_0, ..; memory_mask."""
        mask_BT11 = memory[-1].transpose(1, 3)
        free_BS11 = later(position + 1, self.slots)[:, :, None, None]
        x_BD11 = self.embed(token, position)
        for number, layer in enumerate(self.layers):
            own = Stored(getattr(self, f"self_k_{number}"), getattr(self, f"self_v_{number}"))
            cross = Stored(*memory[2 * number : 2 * number + 2])
            x_BD11 = layer.in_place(x_BD11, own, position[0], free_BS11, cross, mask_BT11)
        return self.logits(x_BD11)


def later(position_B: Tensor, slots: int) -> Tensor:
    """An additive mask [B, S] that hides slots from `position` on."""
    slots_S = torch.arange(slots, device=position_B.device)
    return (slots_S >= position_B[:, None]).float() * MASKED


class Encoder(nn.Module):
    """The encoder of the contract; keys and values have the axes of `runtime.bundle.cache_axes.NEURAL_ENGINE`."""

    def __init__(self, model: MusicTrOCR) -> None:
        super().__init__()
        self.model = folded_memory(model)
        halves = [layer.cross_keys_values.weight.chunk(2) for layer in model.decoder.layers]
        self.keys, self.values = (nn.ModuleList(map(Projection, weights)) for weights in zip(*halves, strict=True))

    def forward(self, image: Tensor, valid_width: Tensor) -> tuple[Tensor, ...]:
        looked = self.model.look(image, valid_width)
        memory_BD1T = looked.memory_BTD.transpose(1, 2)[:, :, None]
        flat = list[Tensor]()
        for keys, values in zip(self.keys, self.values, strict=True):
            flat += [keys(memory_BD1T).transpose(1, 3), values(memory_BD1T)]
        head = [] if looked.column_logits_BTV is None else [looked.column_logits_BTV]
        return (*flat, looked.mask_B11T, *head)


def modules(model: MusicTrOCR) -> dict[str, nn.Module]:
    """The contract's graphs by name in this layout, in evaluation mode."""
    step, chunk = Step(model.decoder), Chunk(model.decoder)
    return {"encode": Encoder(model).eval(), "decode": step.eval(), CHUNKED: chunk.eval()}
