"""Every backbone builds, learns at its debug size, and is what its entry says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from runtime.errors import ConfigError, OmrError
from training.config import ModelParams, OptimizerConfig
from training.loop.optimizer import make_optimizer
from training.model.backbone import BACKBONES, get_backbone
from training.model.music_trocr import MusicTrOCR

NAMES = BACKBONES.names()
PRETRAINED = [name for name in NAMES if get_backbone(name).hub_id]


def small_model(name: str, height: int, memory: str = "grid", pretrained: bool = False) -> MusicTrOCR:
    """One small decoder layer behind a backbone."""
    params = ModelParams(
        vision_model_name=name, d_model=32, n_heads=2, n_decoder_layers=1, d_ff=32, max_seq_len=16,
        memory=memory, dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    return MusicTrOCR(params, 20, height, get_backbone(name).image_channels, pretrained)


@pytest.mark.parametrize("memory", ["grid", "columns"])
@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_learns_with_every_parameter(name: str, memory: str) -> None:
    entry = get_backbone(name)
    height, width = entry.debug_size
    model = small_model(name, height, memory)
    optimizer = make_optimizer(model, OptimizerConfig())
    image = torch.rand(2, entry.image_channels, height, width) * 2 - 1
    tokens_BN = torch.arange(34).view(2, 17) % 20
    losses = []
    unreached = {name for name, _ in model.named_parameters()}
    for _ in range(4):
        output = model(image, torch.tensor([width, width // 2]), tokens_BN[:, :-1])
        loss = F.cross_entropy(output.logits_BNV.flatten(0, 1), tokens_BN[:, 1:].flatten())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        unreached -= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
    assert losses[3] < losses[0]
    assert unreached == set()


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_an_entry_tells_the_backbones_shape(name: str) -> None:
    entry = get_backbone(name)
    height, width = entry.debug_size
    model = small_model(name, height).eval()
    for wide in (width, width + entry.width_multiple):
        features = model.features(torch.zeros(1, entry.image_channels, height, wide), torch.tensor([wide]))
        assert features.shape == (1, entry.channels, entry.grid_height(height), -(-wide // entry.stride))
    assert any("cls_token" in name for name, _ in model.backbone.named_parameters()) == entry.class_token


@pytest.mark.parametrize("name", [name for name in NAMES if get_backbone(name).masks_padding])
@torch.inference_mode()
def test_a_backbone_that_masks_padding_gives_the_same_features_in_any_bucket(name: str) -> None:
    """Tolerance: 1e-4 of values of about 1; the sums are taken in another order."""
    entry = get_backbone(name)
    height, width = entry.debug_size
    backbone = entry.build(entry.image_channels, False).eval()
    image, valid = torch.rand(2, entry.image_channels, height, width) * 2 - 1, torch.tensor([width, width - 40])
    narrow = backbone(image, valid)
    wide = backbone(F.pad(image, (0, 3 * width), value=1.0), valid)
    for row, last in enumerate(-(-valid // entry.stride)):
        assert torch.allclose(narrow[row, ..., :last], wide[row, ..., :last], atol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if get_backbone(name).masks_padding])
def test_training_without_the_padding_gives_the_features_and_gradients_of_masked_padding(name: str) -> None:
    """Tolerance: 1e-4 of the largest value of each tensor; the sums are taken in another order."""
    entry = get_backbone(name)
    height, width = entry.debug_size
    torch.manual_seed(0)
    backbone = entry.build(entry.image_channels, False)
    image, valid = torch.rand(3, entry.image_channels, height, width) * 2 - 1, torch.tensor([width - 30, width - 60, 9])
    last_B = -(-valid // entry.stride)
    shown_BW = torch.arange(-(-width // entry.stride)) < last_B[:, None]
    weights = torch.randn(3, entry.channels, entry.grid_height(height), shown_BW.shape[1])
    found = {}
    for training in (False, True):
        features = backbone.train(training)(image, valid)
        assert features.shape[-1] == (last_B.max() if training else shown_BW.shape[1])
        shown = features * shown_BW[:, None, None, : features.shape[-1]]
        backbone.zero_grad()
        (shown * weights[..., : features.shape[-1]]).sum().backward()
        found[training] = [shown.detach()[..., : last_B.max()], *(value.grad for value in backbone.parameters())]
    for masked, left_out in zip(found[False], found[True], strict=True):
        assert masked.abs().max() > 0
        assert torch.allclose(masked, left_out, atol=1e-4 * float(masked.abs().max()))


@pytest.mark.parametrize("name", PRETRAINED)
def test_weights_that_cannot_be_reached_are_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = r"the pretrained weights of '[\w.]+' can't be reached \(\w+\): go online, or train from random weights"
    with pytest.raises(OmrError, match=message) as caught:
        small_model(name, 224, pretrained=True)
    assert "\n" not in str(caught.value)


def test_a_height_that_does_not_fit_the_patches_is_named() -> None:
    with pytest.raises(ConfigError, match="data.img_height is 100; vit_small takes multiples of 16 px"):
        small_model("vit_small", 100)
