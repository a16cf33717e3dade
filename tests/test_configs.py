"""Every configuration in configs/ loads, names things that exist, and survives being saved."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.source import ROOT
from tests.training.study import PUBLISHED, STUDY, Published
from training.config import load_config, save_config
from training.model.backbone import backbone_name

OTHERS = ("devices", "slurm", "sweeps")  # folders below configs/ that hold no training configurations
FILES = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name not in OTHERS)
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


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_a_studys_configuration_is_the_published_one_with_its_hub_id(row: Published) -> None:
    expected = yaml.safe_load(STUDY)
    expected["model"]["params"]["vision_model_name"] = row.hub_id
    path = ROOT / "configs" / "backbones" / f"{row.name}.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == expected
    loaded = asdict(load_config([path]))
    assert within(expected, loaded) == loaded


def within(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """`whole` with the values of `part` put in, lists as the tuples that configurations hold."""
    made = dict(whole)
    for key, value in part.items():
        made[key] = within(value, whole[key]) if isinstance(value, dict) else value
    return {key: tuple(value) if isinstance(value, list) else value for key, value in made.items()}


@pytest.mark.parametrize("path", FILES, ids=short)
def test_the_first_line_says_what_it_is_for(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
