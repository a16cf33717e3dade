"""Every technique trains every backbone: what shall move moves, what shall stay stays, and a run goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from runtime.bundle.tokenizer import AtomTokenizer
from training.config import Config
from training.loading.batches import make_preparation
from training.loop import losses
from training.loop.optimizer import make_optimizer
from training.loop.run import Run, adapt, restore, save, weights_to_read
from training.loop.technique import TECHNIQUES, get_technique
from training.model.backbone import BACKBONES
from training.saving.checkpoint import load_checkpoint

from ..technique_runs import (
    begin,
    configure,
    logits,
    moved,
    noise,
    random_model,
    save_random,
    steps,
    trainable,
)  # fmt: skip

AT_LENGTH = ("pocket_cnn", "mobilevit_s")  # backbones with which a run is saved and goes on, too
PAIRS = [(name, backbone) for backbone in AT_LENGTH for name in TECHNIQUES.names()]
LEARNING = "ema_decay=0.5"  # the averages follow within a few steps
# Difference of logits to the largest one: a merged adapter is rounded otherwise than one beside its weight, in each of
# up to 74 layers.
MERGED = 1e-4


class Trained(NamedTuple):
    """A run of 20 steps, saved after 10.

    Attributes:
        begun: its tensors before the first step.
        losses: of every step.
        half: the checkpoint of step 10.
    """

    config: Config
    run: Run
    begun: dict[str, Tensor]
    losses: list[float]
    half: Path


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    name, backbone = request.param
    folder = tmp_path_factory.mktemp("technique")
    base = save_random(folder / "base", configure(backbone))
    more = [f"training.init_from={base}", LEARNING]
    if name == "distill":  # another backbone, height, number of channels and decoder size
        other = "mobilevit_s" if backbone == "pocket_cnn" else "pocket_cnn"
        teacher = configure(other, "full", "d_model=48", "n_heads=4", "n_decoder_layers=2")
        more.append(f"teacher={save_random(folder / 'teacher', teacher, 1)}")
    config = configure(backbone, name, *more)
    run = begin(config, folder / "run")
    begun = {key: value.detach().clone() for key, value in run.model.state_dict().items()}
    found = steps(run, 10)
    half = save(run)
    return Trained(config, run, begun, found + steps(run, 10), half)


def test_the_loss_falls(trained: Trained) -> None:
    assert trained.losses[-1] < 0.8 * trained.losses[0]


def test_what_is_trained_moves_and_what_is_frozen_stays_bit_for_bit(trained: Trained) -> None:
    assert moved(trained.run.model, trained.begun) == trainable(trained.run.model)


def test_a_resumed_run_goes_on_bit_for_bit(trained: Trained) -> None:
    again = begin(trained.config, trained.run.folder)
    restore(again, trained.half)
    assert steps(again, 10) == trained.losses[10:]
    for name, value in trained.run.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    expected = weights_to_read(trained.run)
    assert all(torch.equal(value, expected[name]) for name, value in weights_to_read(again).items())


def test_a_checkpoint_reads_as_the_averaged_run_did(trained: Trained) -> None:
    """The plain model knows nothing of the technique. For a technique that rounds, it must be rounded alike, and laid
    out alike in memory: another order of sums falls on another side of a half."""
    batch = noise(make_preparation(trained.config))
    with trained.run.averages.applied():
        expected = logits(trained.run.model, batch)
    trained.run.model.train()
    Accelerator(cpu=True)  # the state that every test begins without, and that the run began with
    loaded = load_checkpoint(save(trained.run)).model.to(memory_format=torch.channels_last)
    if trained.config.technique.name == "qat":
        get_technique(trained.config.technique).apply(loaded, trained.config)
    assert np.abs(logits(loaded, batch) - expected).max() < MERGED * np.abs(expected).max()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(tmp_path_factory.mktemp("teacher") / "pocket_cnn", configure("pocket_cnn"), 1)


@pytest.mark.parametrize("name", TECHNIQUES.names())
@pytest.mark.parametrize("backbone", [name for name in BACKBONES.names() if name not in AT_LENGTH])
def test_every_technique_trains_every_backbone_and_gives_a_plain_model_back(
    backbone: str, name: str, teacher: Path
) -> None:
    """Twenty steps: the loss falls, every trainable tensor moves, every frozen one stays bit for bit."""
    calm = ["model.params.dropout=0"]
    config = configure(backbone, name, *calm, *([f"teacher={teacher}"] if name == "distill" else []))
    model = random_model(config)
    plain = {key: value.shape for key, value in model.state_dict().items()}
    technique = adapt(model, config)
    lesson = technique.lesson(config, AtomTokenizer(), torch.device("cpu"), load_checkpoint)
    optimizer = make_optimizer(model, config.training.optimizer)
    batch = noise(make_preparation(config))
    begun = {key: value.detach().clone() for key, value in model.named_parameters()}
    found = []
    for _ in range(20):
        output = model(batch.image_BCHW, batch.valid_width_B, batch.tokens_BN)
        sums = losses.sums(batch, output, model, config) | lesson.sums(batch, output)
        loss = torch.stack(list(sums.values())).sum()
        found.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found[-1] < 0.8 * found[0]
    assert moved(model, begun) == trainable(model)

    merged = technique.merged(model)
    assert {key: value.shape for key, value in merged.items()} == plain
    again = random_model(config)
    again.load_state_dict(merged)
    if name == "qat":
        technique.apply(again, config)
    expected = logits(model, batch)
    assert np.abs(logits(again, batch) - expected).max() < MERGED * np.abs(expected).max()
