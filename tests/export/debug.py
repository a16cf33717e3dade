"""A model of debug size with random weights and its checkpoint on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from runtime.bundle.tokenizer import AtomTokenizer
from tests.source import ROOT
from tests.weights import enliven
from training.config import load_config, save_config
from training.loading.batches import make_preparation
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import WEIGHTS, build_model, write_weights

# Two cache sizes, and the widest bucket under what an engraved line needs.
OVERRIDES = ("model.params.max_seq_len=512", "data.width_buckets=[128, 256, 512, 1280]")


def random_model(seed: int = 0, *overrides: str) -> MusicTrOCR:
    """A debug model in evaluation mode."""
    config = load_config([ROOT / "configs" / "debug.yaml"], [*OVERRIDES, *overrides])
    torch.manual_seed(seed)
    preparation = make_preparation(config)
    model = build_model(config, AtomTokenizer(), preparation)
    return enliven(model, preparation.channels, preparation.height, preparation.width_buckets[0], seed)


def save_checkpoint(folder: Path, seed: int = 0, *overrides: str) -> Path:
    """A checkpoint of `random_model`."""
    folder.mkdir(parents=True)
    save_config(load_config([ROOT / "configs" / "debug.yaml"], [*OVERRIDES, *overrides]), folder / "config.yaml")
    AtomTokenizer().save(folder / "tokenizer.json")
    write_weights(folder / WEIGHTS, random_model(seed, *overrides).state_dict())
    return folder
