"""Transformers read pictures of any width: positions are stretched, windows filled up."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from training.backbones._patches import PatchGrid, stretch
from training.backbones.swin_tiny import build as build_swin
from training.model.backbone import get_backbone, timm_model


@pytest.mark.parametrize("columns", [1, 5, 14, 15, 56])
def test_positions_are_stretched_as_pytorch_resizes_pictures(columns: int) -> None:
    """Bilinear, with antialiasing where many become few. Tolerance: 1e-5 of values of about 1."""
    torch.manual_seed(0)
    stored = torch.randn(14)
    padded = stretch(columns + 3, torch.tensor([columns]), 14) @ stored
    resized = F.interpolate(stored[None, None, None], size=(1, columns), mode="bilinear", antialias=True)
    assert torch.allclose(padded[0, :columns], resized[0, 0, 0], atol=1e-5)
    assert padded.isfinite().all()


@torch.inference_mode()
def test_at_the_size_it_was_trained_on_a_patch_grid_is_timms_transformer() -> None:
    torch.manual_seed(0)
    grid = get_backbone("deit_small").build(3, False).eval()
    assert isinstance(grid, PatchGrid)
    transformer = timm_model("deit_small_patch16_224", False).eval()
    transformer.load_state_dict(grid.transformer.state_dict())
    image = torch.rand(1, 3, 224, 224) * 2 - 1
    expected = transformer(image)[:, 1:].transpose(1, 2).reshape(1, 384, 14, 14)
    assert torch.allclose(grid(image, torch.tensor([224])), expected, atol=1e-4)


def test_swin_takes_every_multiple_of_four_pixels() -> None:
    """Forward and backward, through two layers a stage, one of them shifted; narrow ones, so that it takes seconds."""
    torch.manual_seed(0)
    swin = build_swin(3, False, depths=(2, 2, 2, 2), embed_dim=16, num_heads=(1, 2, 4, 8), drop_path_rate=0.0)
    for width in range(32, 701, 4):
        swin.zero_grad()
        features = swin(torch.rand(1, 3, 64, width) * 2 - 1)
        assert features.shape == (1, 128, 2, -(-width // 32)), width
        (features * torch.randn_like(features)).sum().backward()
        gradients = [parameter.grad for parameter in swin.parameters()]
        assert all(g is not None and g.isfinite().all() and g.any() for g in gradients), width
