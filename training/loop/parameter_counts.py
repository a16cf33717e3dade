"""Counts a model's parameters without weights, memory or network.

The published study's totals (its table of backbones) come out within 0.6 %, with the decoder of
`training.model.decoder` (36.7M: untied head, no biases, three matrices of SwiGLU of 2,048, learned positions) and a
projection without bias:

    backbone         here     study         backbone         here     study
    deit_small       58.57M   58.9M         resnet50         61.27M   61.5M
    vit_small        58.57M   58.9M         mobilevit_s      41.98M   42.2M
    convnext_tiny    64.92M   65.1M         efficientnet_b0  41.37M   41.6M
    swin_tiny        64.62M   64.8M

The difference is the same for all seven: 0.2M (0.18M to 0.23M, because the study rounds), if DeiT and ViT are given the
pooling layer of their hub models (0.15M, used by no decoder). So it comes from a part that all seven share. Biases
everywhere would explain 0.07M of it. Tied embeddings (-2.1M) or two matrices in the feed-forward layers (-6.3M) are
excluded. The study's encoder sizes are the usual ones in whole millions, with the classifier, which no decoder needs
and which isn't built here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ..config import Config
from ..data.dataset.hub import make_tokenizer
from ..loading.batches import make_preparation
from ..model.music_trocr import MusicTrOCR

# Tokenizers of published configurations that can't be opened without the hub's consent -> number of token ids.
VOCABULARIES = {"guangyangmusic/legato": 4097}


class Counts(NamedTuple):
    """Numbers of parameters.

    Attributes:
        total: of the whole model.
        trainable: those that training changes.
        backbone: of the picture encoder, without the projection into the decoder's width.
    """

    total: int
    trainable: int
    backbone: int


def parameters_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def counts_of(model: MusicTrOCR) -> Counts:
    """Of a model that is built."""
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Counts(parameters_of(model), trainable, parameters_of(model.backbone))


def count_parameters(config: Config) -> Counts:
    """Of a configuration's model, which is laid out but never filled."""
    preparation = make_preparation(config)
    with torch.device("meta"):
        model = MusicTrOCR(
            config.model.params, vocabulary_size(config.data.tokenizer_id), preparation.height, preparation.channels
        )
    return counts_of(model)


def vocabulary_size(tokenizer_id: str) -> int:
    """Number of token ids; those of the study without asking the hub."""
    return VOCABULARIES.get(tokenizer_id) or make_tokenizer(tokenizer_id).vocab_size
