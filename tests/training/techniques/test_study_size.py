"""Every technique of the study trains each of its backbones at the study's own size: configs/backbones/*.yaml, without
pretrained weights, on two narrow pictures of noise. Twenty steps each; minutes a backbone on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.source import ROOT
from training.config import Config, load_config

from ..technique_runs import begin, moved, save_random, steps, trainable

STUDY = sorted((ROOT / "configs" / "backbones").glob("*.yaml"))
TECHNIQUES = ("full", "frozen", "lora", "qlora", "distill")
WIDTH = 128  # px of the study's 224 x W: what is narrow is quick, and no weight is fewer
# The tokenizer of the study is gated; the course of its learning rate would rise over 3 % of ten epochs.
HERE = (
    "model.params.pretrained=false", "tokenizer_id=atoms", f"width_buckets=[{WIDTH}]", "batch_size=2", "device=cpu",
    "gradient_accumulation_steps=1", "max_steps=20", "warmup_ratio=0", "mixed_precision=false",
)  # fmt: skip


def configured(backbone: Path, technique: str, *overrides: str) -> Config:
    return load_config([backbone, ROOT / "configs" / "techniques" / f"{technique}.yaml"], [*HERE, *overrides])


@pytest.mark.slow
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("backbone", STUDY, ids=lambda path: path.stem)
def test_a_technique_trains_a_backbone_of_the_studys_size(backbone: Path, technique: str, tmp_path: Path) -> None:
    more = [f"training.init_from={save_random(tmp_path / 'base', configured(backbone, 'full'))}"]
    if technique == "distill":
        more.append(f"teacher={save_random(tmp_path / 'teacher', configured(backbone, 'full'), 1)}")
    run = begin(configured(backbone, technique, *more), tmp_path / "run")
    begun = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    found = steps(run, 20)
    print(f"{backbone.stem}, {technique}: loss {found[0]:.2f} -> {found[-1]:.2f}")
    assert found[-1] < 0.95 * found[0]
    assert moved(run.model, begun) == trainable(run.model)
