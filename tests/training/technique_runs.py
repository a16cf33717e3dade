"""Runs of debug size with any technique on any backbone, on a batch of noise: nothing is engraved or read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from runtime.bundle.tokenizer import AtomTokenizer
from runtime.page.preparation import Preparation
from tests.source import ROOT
from tests.weights import enliven
from training.config import Config, load_config, save_config
from training.loading.batches import IGNORED, Batch, make_preparation
from training.loading.order import Place, Plan
from training.loop.run import Run, build_run
from training.loop.train import take_step
from training.model.backbone import get_backbone
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import WEIGHTS, build_model, write_weights

SIZES = (
    "model.params.pretrained=false", "d_model=32", "n_heads=2", "n_decoder_layers=1", "d_ff=48", "max_seq_len=32",
    "model.params.dropout=0.1", "tokenizer_id=atoms", "batch_size=2", "gradient_accumulation_steps=1", "max_steps=20",
    "learning_rate=5e-3", "warmup_ratio=0", "device=cpu", "mixed_precision=false",
)  # fmt: skip
TOKENS = 9


def configure(backbone: str, technique: str = "full", *overrides: str) -> Config:
    """A small model around a backbone, in pictures of the backbone's debug size."""
    height, width = get_backbone(backbone).debug_size
    picture = (f"vision_model_name={backbone}", f"img_height={height}", f"width_buckets=[{width}]")
    file = ROOT / "configs" / "techniques" / f"{technique}.yaml"
    return load_config([file], [*SIZES, *picture, *overrides])


def random_model(config: Config, seed: int = 0) -> MusicTrOCR:
    """A model whose every branch is alive, in evaluation mode."""
    torch.manual_seed(seed)
    preparation = make_preparation(config)
    model = build_model(config, AtomTokenizer(), preparation)
    return enliven(model, preparation.channels, preparation.height, preparation.width_buckets[0], seed)


def save_random(folder: Path, config: Config, seed: int = 0) -> Path:
    """A checkpoint of `random_model`: what a run may begin from, or learn from."""
    folder.mkdir(parents=True)
    save_config(config, folder / "config.yaml")
    AtomTokenizer().save(folder / "tokenizer.json")
    write_weights(folder / WEIGHTS, random_model(config, seed).state_dict())
    return folder


def begin(config: Config, folder: Path) -> Run:
    """A run at step 0, as in a process of its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.manual_seed(config.training.seed)
    preparation = make_preparation(config)
    plan = Plan.of(config, [preparation.width_buckets[0] - preparation.margin] * 4, preparation, 1)
    return build_run(config, folder, Accelerator(cpu=True), AtomTokenizer(), plan)


def noise(preparation: Preparation, seed: int = 0) -> Batch:
    """Two pictures of noise and tokens drawn at random; nothing is known of their columns."""
    draw = torch.Generator().manual_seed(seed)
    width = preparation.width_buckets[0]
    image_B1HW = torch.rand(2, 1, preparation.height, width, generator=draw) * 2 - 1
    tokens_BN = torch.randint(5, AtomTokenizer().vocab_size, (2, TOKENS + 1), generator=draw)
    targets_BN = tokens_BN[:, 1:].clone()
    targets_BN[1, TOKENS // 2 :] = IGNORED
    return Batch(
        image_BCHW=image_B1HW.expand(-1, preparation.channels, -1, -1).contiguous(),
        valid_width_B=torch.tensor([width, width // 2]),
        tokens_BN=tokens_BN[:, :-1],
        targets_BN=targets_BN,
        look_BN=torch.full((2, TOKENS), float("nan")),
        columns_3BT=torch.full((3, 2, 1), IGNORED),
        transcriptions=["", ""],
        names=["0", "1"],
        place=Place(),
    )


def steps(run: Run, count: int) -> list[float]:
    """The loss of each of `count` steps on the same noise."""
    batch = noise(make_preparation(run.config))
    losses = []
    for _ in range(count):
        run.sums = {}
        take_step(run, [batch])
        losses.append(run.sums["loss"])
    return losses


def trainable(model: nn.Module) -> set[str]:
    """Names of the parameters that shall be trained; there are some."""
    found = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert found
    return found


def moved(model: nn.Module, begun: Mapping[str, Tensor]) -> set[str]:
    """Names of the parameters that aren't what they were, bit for bit."""
    return {name for name, value in model.named_parameters() if not torch.equal(value, begun[name])}


def logits(model: MusicTrOCR, batch: Batch) -> np.ndarray:
    """What a model makes of a batch, in evaluation mode."""
    with torch.inference_mode():
        output = model.eval()(batch.image_BCHW, batch.valid_width_B, batch.tokens_BN)
    return np.asarray(output.logits_BNV)
