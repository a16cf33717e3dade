"""A model of debug size with random weights, none of them dead, and its checkpoint on disk."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from runtime.tokenizer import AtomTokenizer
from tests.source import ROOT
from training.batches import make_preparation
from training.checkpoint import WEIGHTS, build_model, write_weights
from training.config import load_config, save_config
from training.model import MusicTrOCR

# Two cache sizes, and the widest bucket under what an engraved line needs.
OVERRIDES = ("model.params.max_seq_len=512", "data.width_buckets=[128, 256, 512, 1280]")


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Random norms and biases, where training starts from ones and zeros.

    A branch whose last gain starts at zero adds nothing: an exporter could leave it out, or get it wrong, and no
    comparison of outputs would show.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if not value.is_floating_point() or value.ndim > 1:
            continue
        noise = torch.rand(value.shape, generator=generator)
        value.copy_(noise - 0.5 if name.endswith(("bias", "running_mean")) else noise + 0.5)


def random_model(seed: int = 0, *overrides: str) -> MusicTrOCR:
    """A debug model in evaluation mode."""
    config = load_config([ROOT / "configs" / "debug.yaml"], [*OVERRIDES, *overrides])
    torch.manual_seed(seed)
    model = build_model(config, AtomTokenizer(), make_preparation(config))
    randomise(model, seed)
    return model.eval()


def save_checkpoint(folder: Path, seed: int = 0, *overrides: str) -> Path:
    """A checkpoint of `random_model`."""
    folder.mkdir(parents=True)
    save_config(load_config([ROOT / "configs" / "debug.yaml"], [*OVERRIDES, *overrides]), folder / "config.yaml")
    AtomTokenizer().save(folder / "tokenizer.json")
    write_weights(folder / WEIGHTS, random_model(seed, *overrides).state_dict())
    return folder
