"""Gradient checkpointing computes twice and changes nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from runtime.bundle.tokenizer import AtomTokenizer
from runtime.errors import ConfigError
from training.config import Config
from training.loading.batches import make_preparation
from training.loop import losses
from training.model.activation_checkpointing import CHOICES, checkpoint_activations
from training.model.backbone import BACKBONES, get_backbone
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import build_model

from ..technique_runs import configure, noise, random_model


def learn(model: MusicTrOCR, config: Config) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients and buffers after one batch with dropout, and the number of values kept for the backward pass."""
    batch = noise(make_preparation(config))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(batch.image_BCHW, batch.valid_width_B, batch.tokens_BN)
    losses.sums(batch, output, model, config)["token"].backward()
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return gradients | dict(model.named_buffers()), sum(kept.values())


@pytest.mark.parametrize("backbone", BACKBONES.names())
def test_gradients_and_statistics_are_the_unchecked_ones_bit_for_bit_and_less_is_kept(backbone: str) -> None:
    config = configure(backbone, "full", "d_model=8", "n_heads=1")
    torch.manual_seed(0)
    plain = build_model(config, AtomTokenizer(), make_preparation(config)).train()
    found, kept = {}, {}
    for where in CHOICES if backbone == "pocket_cnn" else ("none", "all"):
        model = copy.deepcopy(plain)
        checkpoint_activations(model, where)
        assert list(model.state_dict()) == list(plain.state_dict())
        found[where], kept[where] = learn(copy.deepcopy(model), config)
    for values in found.values():
        assert values.keys() == found["none"].keys()
        assert all(torch.equal(value, found["none"][name]) for name, value in values.items())
    assert sorted(kept.values(), reverse=True) == list(kept.values()) and len(set(kept.values())) == len(kept)
    assert len(list(get_backbone(backbone).blocks(plain.backbone))) > 1


def test_a_model_that_was_checkpointed_is_plain_again() -> None:
    model = random_model(configure("pocket_cnn"))
    classes = [type(module) for module in model.modules()]
    checkpoint_activations(model, "all")
    assert [type(module) for module in model.modules()] != classes
    checkpoint_activations(model, "none")
    assert [type(module) for module in model.modules()] == classes


def test_a_checkpointed_model_reads_like_a_plain_one() -> None:
    config = configure("deit_small")
    plain = random_model(config)
    checked = copy.deepcopy(plain)
    checkpoint_activations(checked, "all")
    batch = noise(make_preparation(config))
    with torch.inference_mode():
        first, second = (model(batch.image_BCHW, batch.valid_width_B, batch.tokens_BN) for model in (plain, checked))
    assert torch.equal(first.logits_BNV, second.logits_BNV)


def test_an_unknown_choice_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="gradient_checkpointing is 'some'; use none, decoder, all"):
        checkpoint_activations(random_model(configure("pocket_cnn")), "some")
