"""Every backbone builds at its debug size and learns for two steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from training.backbone import BACKBONES, get_backbone
from training.config import ModelParams, OptimizerConfig
from training.model import MusicTrOCR
from training.optim import make_optimizer


@pytest.mark.parametrize("memory", ["grid", "columns"])
@pytest.mark.parametrize("name", BACKBONES.names())
def test_a_backbone_learns_for_two_steps(name: str, memory: str) -> None:
    entry = get_backbone(name)
    height, width = entry.debug_size
    params = ModelParams(
        vision_model_name=name, pretrained=False, d_model=32, n_heads=2, n_decoder_layers=1, d_ff=32, max_seq_len=16,
        memory=memory, dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MusicTrOCR(params, 20, height, entry.image_channels)
    optimizer = make_optimizer(model, OptimizerConfig())
    image = torch.rand(2, entry.image_channels, height, width) * 2 - 1
    tokens_BN = torch.randint(0, 20, (2, 9))
    losses = []
    for _ in range(3):
        output = model(image, torch.tensor([width, width // 2]), tokens_BN[:, :-1])
        loss = F.cross_entropy(output.logits_BNV.flatten(0, 1), tokens_BN[:, 1:].flatten())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        reached = [float(p.grad.abs().sum()) for p in model.backbone.parameters() if p.grad is not None]
        assert sum(reached) > 0
        optimizer.step()
    assert losses[2] < losses[0]


@pytest.mark.parametrize("name", BACKBONES.names())
@torch.inference_mode()
def test_an_entry_tells_the_backbones_channels_and_strides(name: str) -> None:
    entry = get_backbone(name)
    height, width = entry.debug_size
    backbone = entry.build(entry.image_channels, False).eval()
    for wide in (width, width + entry.width_multiple):
        features = backbone(torch.zeros(1, entry.image_channels, height, wide))
        assert features.shape == (1, entry.channels, entry.grid_height(height), -(-wide // entry.stride))
