"""Every configuration in configs/ loads, names things that exist, and survives being saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.source import ROOT
from training.backbone import backbone_name
from training.config import load_config, save_config

# Other folders below configs/ hold no training configurations.
FILES = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name not in ("devices", "slurm"))
BACKBONES = [path for path in FILES if path.parent.name == "backbones"]


def short(path: Path) -> str:
    return path.relative_to(ROOT / "configs").as_posix()


@pytest.mark.parametrize("path", FILES, ids=short)
def test_the_configuration_loads_and_names_a_backbone_there_is(path: Path) -> None:
    config = load_config([path])
    assert backbone_name(config.model.params.vision_model_name)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_the_resolved_configuration_reads_back_equal(path: Path, tmp_path: Path) -> None:
    config = load_config([path])
    save_config(config, tmp_path / "config.yaml")
    assert load_config([tmp_path / "config.yaml"]) == config


@pytest.mark.parametrize("path", BACKBONES, ids=short)
def test_a_backbones_configuration_has_the_backbones_name(path: Path) -> None:
    assert backbone_name(load_config([path]).model.params.vision_model_name) == path.stem


@pytest.mark.parametrize("path", FILES, ids=short)
def test_the_first_line_says_what_it_is_for(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
