"""`benchmarks/training.py` compares models of one size on whole epochs, and hides no package from other scripts."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from benchmarks.training_measures import ratios_of, sample
from benchmarks.training_sides import HuggingFace, Material, huggingface_model
from runtime.bundle.tokenizer import AtomTokenizer
from tests.source import ROOT
from training.config import load_config
from training.loading.order import Item
from training.loop.parameter_counts import count_parameters, parameters_of


def test_both_sides_have_as_many_parameters_within_half_a_percent() -> None:
    with torch.device("meta"):
        theirs = parameters_of(huggingface_model(SimpleNamespace(tokenizer=AtomTokenizer()), 0))
    ours = count_parameters(load_config([ROOT / "configs/backbones/deit_small.yaml"])).total
    assert ours == pytest.approx(theirs, rel=0.005)


@pytest.mark.parametrize("count", [0, 1, 3, 7, 100])
def test_the_batches_drawn_stand_for_the_whole_epoch(count: int) -> None:
    batches = [[index] for index in range(7)]
    drawn = sample(batches, [70, 10, 60, 20, 50, 30, 40], count, np.random.default_rng(0))
    assert len(drawn) == (min(count, 7) or 7)
    assert sum(weight for _, weight in drawn) == 7
    assert [index for index, _ in drawn] == sorted({index for index, _ in drawn})


class Numbers(Dataset):
    """Lines of which nothing is known but their number."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, item: Item) -> int:
        return item.index


class Listener(nn.Module):
    """Remembers what it was taught."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.heard: list[list[int]] = []

    def forward(self, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.heard.append(labels.tolist())
        return {"loss": self.weight * labels.float().mean()}


def test_the_trainer_takes_a_step_with_each_batch_as_it_is_and_says_when_there_is_none_left() -> None:
    config = load_config([ROOT / "configs/backbones/deit_small.yaml"], ["device=cpu", "precision=fp32", "threads=1"])
    model = Listener()
    side = HuggingFace(Material(config, Numbers(), None), model, torch.optim.AdamW(model.parameters()), own_width=False)
    side.collate = lambda samples: {"labels": torch.tensor(samples)}
    batches = [[3, 1], [2], [4, 0]]
    side.start(batches)
    for count in range(len(batches)):
        side.advance()
        assert model.heard == batches[: count + 1]
    with pytest.raises(RuntimeError, match="the Trainer failed"):
        side.advance()


def test_ratios_are_ours_over_theirs() -> None:
    rates = {"ours, none": 6.0, "ours, decoder": 4.0, "ours, all": 2.0, "hf random": 4.0, "hf grouped": 5.0,
             "hf fixed": 8.0}  # fmt: skip
    found = ratios_of({way: {"lines_per_second": rate} for way, rate in rates.items()}, {})
    assert (found["random"], found["grouped"], found["fixed"]) == (1.5, 1.2, 0.75)
    assert found["fixed, ours checkpointed: all"] == 0.25


def test_other_scripts_beside_it_import_the_package_that_has_its_name() -> None:
    script = "import sys; sys.path[0] = 'benchmarks'; import training.config; print(training.config.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(ROOT / "training" / "config.py")
