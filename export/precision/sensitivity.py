"""Measures how much each weight matrix suffers from 4 bits, and chooses those that `mixed` gives 8.

In PyTorch one matrix at a time is rounded to 4 bits, everything else stays fp32, and the model reads lines given their
labels. The matrix's sensitivity is the Kullback-Leibler divergence of the next token's distribution from the exact
model's, in
nats a token. `mixed` gives 4 bits to the least sensitive matrices, as long as the sum of their divergences stays under
BUDGET, and 8 to the others; rounding errors of several matrices add up roughly.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.model.decoder import Decoder
from training.model.music_trocr import Looked, MusicTrOCR

from ..checks.probe import Pictures

BLOCK = 32  # weights of a row that share a scale
BUDGET = 0.0005  # nats a token

Rows = list[list[int]]


class Given(NamedTuple):
    """A batch and its labels."""

    pictures: Pictures
    tokens: Rows


class Prompt(NamedTuple):
    """A batch as the model takes it: begin, then the label. What comes after a row's end isn't `counted`."""

    image: Tensor
    widths: Tensor
    tokens_BN: Tensor
    counted_BN: Tensor


def matrices(module: nn.Module) -> dict[str, nn.Linear]:
    """The linear maps whose weights may have 4 bits, those that divide into blocks, by their names in the model.

    Args:
        module: the model, or a graph of `export.graphs.contract`.
    """
    named = {name.removeprefix("model."): part for name, part in module.named_modules()}
    return {name: part for name, part in named.items() if isinstance(part, nn.Linear) and part.in_features % BLOCK == 0}


def to_four_bits(weight: Tensor) -> Tensor:
    """The weights [out, in] as `export.precision.quantize_onnx` writes them: the largest of a block becomes -8 times
    its scale."""
    blocks = weight.unflatten(1, (-1, BLOCK))
    scale = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True)) / -8
    scale = scale.masked_fill(scale == 0, 1)
    return ((blocks / scale).round().clamp(-8, 7) * scale).flatten(1)


@contextmanager
def replaced(part: nn.Linear, weight: Tensor) -> Iterator[None]:
    """A linear map with other weights for a while."""
    exact = part.weight.data
    part.weight.data = weight
    try:
        yield
    finally:
        part.weight.data = exact


def prompts(given: Sequence[Given], begin: int) -> list[Prompt]:
    """Begin before each label."""
    found = []
    for (image, valid), tokens in given:
        rows = [torch.tensor([begin, *ids]) for ids in tokens]
        tokens_BN = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=begin)
        lengths = torch.tensor([len(row) for row in rows])
        counted = torch.arange(tokens_BN.shape[1]) < lengths[:, None]
        found.append(Prompt(torch.from_numpy(image), torch.from_numpy(valid).long(), tokens_BN, counted))
    return found


def log_probabilities(decoder: Decoder, seen: Sequence[Looked], asked: Sequence[Prompt]) -> Tensor:
    """Of the next token, at every place of every line [places, vocabulary]."""
    found = []
    for looked, prompt in zip(seen, asked, strict=True):
        logits_BNV = decoder(prompt.tokens_BN, looked.memory_BTD, looked.mask_B11T).logits_BNV
        found.append(logits_BNV.log_softmax(-1)[prompt.counted_BN])
    return torch.cat(found)


def look(model: MusicTrOCR, asked: Sequence[Prompt]) -> list[Looked]:
    """What the decoder reads from."""
    return [model.look(prompt.image, prompt.widths) for prompt in asked]


def divergence(exact: Tensor, other: Tensor) -> float:
    """Kullback-Leibler divergence of log probabilities [places, vocabulary], mean over the places, in nats."""
    return float((exact.exp() * (exact - other)).sum(-1).mean())


@torch.inference_mode()
def sensitivities(model: MusicTrOCR, given: Sequence[Given], begin: int) -> dict[str, float]:
    """Name of each matrix -> divergence in nats a token if only this matrix has 4 bits."""
    asked = prompts(given, begin)
    seen = look(model, asked)
    exact = log_probabilities(model.decoder, seen, asked)
    found = {}
    bar = tqdm(matrices(model).items(), "sensitivity", unit="matrix", file=sys.stderr, disable=not sys.stderr.isatty())
    for name, part in bar:
        with replaced(part, to_four_bits(part.weight.data)):
            again = seen if name.startswith("decoder.") else look(model, asked)
            found[name] = divergence(exact, log_probabilities(model.decoder, again, asked))
    return found


def chosen(found: Mapping[str, float], budget: float = BUDGET) -> dict[str, int]:
    """Name of each matrix -> 4 or 8 bits."""
    spent, bits = 0.0, {}
    for name, divergence in sorted(found.items(), key=lambda item: item[1]):
        spent += max(0.0, divergence)
        bits[name] = 4 if spent <= budget else 8
    return bits


def bits_by_matrix(model: MusicTrOCR, given: Sequence[Given], begin: int) -> dict[str, int]:
    """What `mixed` gives each matrix."""
    return chosen(sensitivities(model, given, begin))
