"""What a batch costs, and that each part can be learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.source import ROOT
from training.config import Config, load_config
from training.data.dataset.hub import make_tokenizer, open_split
from training.loading.batches import IGNORED, Batch, Lines, column_labels, make_preparation
from training.loading.order import Item
from training.loop import losses
from training.loop.optimizer import make_optimizer
from training.model.decoder import MASKED
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import build_model


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config([ROOT / "configs" / "debug.yaml"], ["ctc_weight=0.5", "guide_weight=1", "dropout=0"])


@pytest.fixture(scope="module")
def batch(data: Path, config: Config) -> Batch:
    lines = Lines(open_split(str(data), "train", "canonical"), make_preparation(config), make_tokenizer("atoms"), 8, 0)
    return lines.collate([lines[Item(row, 0, 0, 0)] for row in (0, 2, 4, 6)])  # of one bar


@pytest.fixture(scope="module")
def courses(batch: Batch, config: Config) -> dict[str, list[float]]:
    """Each loss while a model learns one batch by heart."""
    torch.manual_seed(1)
    model = build_model(config, make_tokenizer("atoms"), make_preparation(config))
    optimizer = make_optimizer(model, config.training.optimizer)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    found: dict[str, list[float]] = {name: [] for name in losses.weights(config)}
    for _ in range(40):
        parts = measured(model, batch, config)
        for name, value in parts.items():
            found[name].append(float(value.detach()))
        optimizer.zero_grad()
        torch.stack([losses.weights(config)[name] * value for name, value in parts.items()]).sum().backward()
        optimizer.step()
    return found


def measured(model: MusicTrOCR, batch: Batch, config: Config) -> dict[str, torch.Tensor]:
    counts = losses.counts(batch, config)
    output = model(batch.image_BCHW, batch.valid_width_B, batch.tokens_BN, guide=True)
    return {name: value / counts[name] for name, value in losses.sums(batch, output, model, config).items()}


@pytest.mark.parametrize(
    ("name", "share"),
    [("token", 0.75), ("guide", 0.9), ("symbol", 0.75), ("staff_position", 0.75), ("duration", 0.75), ("ctc", 0.75)],
)
def test_every_part_is_learnt(courses: dict[str, list[float]], name: str, share: float) -> None:
    course = courses[name]
    assert all(torch.isfinite(torch.tensor(course)))
    assert course[-1] < share * course[0]


def test_a_symbol_beside_the_padding_asks_no_head_to_look_there() -> None:
    """A head that looks at the last column before the padding, where the symbol is, pays next to nothing."""
    scores_T = torch.tensor([0.0, 0.0, 9.0, MASKED, MASKED])
    looked_GBNT = scores_T.log_softmax(-1).expand(2, 1, 1, 5)
    assert losses.guide_sum(looked_GBNT, torch.tensor([[2.5]])) < 2
    assert losses.guide_sum(looked_GBNT, torch.tensor([[2.9]])) < 2


def test_guided_heads_that_look_at_the_symbol_cost_nothing_more() -> None:
    """The least that is possible is the entropy of the bell; looking elsewhere costs more."""
    look_BN = torch.tensor([[2.5, float("nan"), 6.5]])
    columns_T = torch.arange(9) + 0.5
    bell = torch.softmax(-0.5 * ((columns_T - look_BN[..., None].nan_to_num()) / losses.LOOK_WIDTH) ** 2, -1)
    best = losses.guide_sum(bell.log()[None], look_BN)
    entropy = -(bell * bell.log())[0, [0, 2]].sum()
    assert torch.isclose(best, entropy, atol=1e-5)
    moved = losses.guide_sum(bell.roll(1, -1).clamp(min=1e-9).log()[None], look_BN)
    assert moved > best + 1


def test_a_batch_split_in_two_costs_the_same(batch: Batch, config: Config) -> None:
    """Sums are divided by the counts of the whole step, so that every token weighs the same."""
    torch.manual_seed(1)
    model = build_model(config, make_tokenizer("atoms"), make_preparation(config)).eval()
    whole = measured(model, batch, config)
    tensors = [value for value in batch[:6]]
    halves = []
    for rows in (slice(0, 1), slice(1, 4)):
        cut = [value[:, rows] if value is batch.columns_3BT else value[rows] for value in tensors]
        halves.append(Batch(*cut, batch.transcriptions[rows], batch.names[rows], batch.place))
    counts = [losses.counts(half, config) for half in halves]
    for name, value in whole.items():
        parts = []
        for half in halves:
            output = model(half.image_BCHW, half.valid_width_B, half.tokens_BN, guide=True)
            parts.append(losses.sums(half, output, model, config)[name])
        assert torch.isclose(sum(parts) / sum(count[name] for count in counts), value, rtol=1e-4), name


def test_labels_stand_in_the_columns_of_their_symbols() -> None:
    import numpy as np

    marks = np.array([[0, 0, 1, 0, 0], [3, 0, 20, 25, 6], [4, 0, 0, 0, 0]], float)
    look, labels = column_labels(marks, np.array([0.4, 2.9, 2.9]), tokens=6, count=4)
    assert labels.tolist() == [[1, 0, 20, 0], [IGNORED, IGNORED, 25, IGNORED], [IGNORED, IGNORED, 6, IGNORED]]
    assert np.isnan(look).tolist() == [False, True, True, False, False, True]
    assert look[3] == np.float32(2.9)
