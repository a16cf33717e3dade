"""Techniques on the command line: what is said, what a run leaves behind, and mistakes as one sentence."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from runtime.errors import MissingExtraError, run_command
from tests.source import ROOT
from training.__main__ import main
from training.config import TechniqueConfig, load_config
from training.loop.technique import TECHNIQUES, get_technique
from training.saving.checkpoint import load_checkpoint, newest, read_training
from training.saving.release import release

from ..conftest import DEBUG, start

CONFIGS = ROOT / "configs" / "techniques"


def call(data: Path, technique: str, run: Path, *overrides: str) -> list[str]:
    files = [DEBUG, str(CONFIGS / f"{technique}.yaml")]
    return [*files, f"data.dataset_id={data}", "max_steps=2", "eval_limit=1", *overrides, "--out", str(run)]


@pytest.fixture(scope="module", params=["lora", "qlora"])
def adapted(
    request: pytest.FixtureRequest, run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """What a fine-tuning with adapters says, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("training.loop.run.say", said.append)
        assert start(call(data, request.param, folder, f"init_from={run}")) == 0
    return "\n".join(said), folder


def test_a_run_says_what_is_trained(adapted: tuple[str, Path]) -> None:
    said, folder = adapted
    assert "model: 1.75M parameters, pocket_cnn, columns memory" in said
    adapters = {
        name: value.numel() for name, value in read_training(newest(folder) or folder)[0]["weights"].items()
        if ".lora_" in name
    }  # fmt: skip
    count = sum(adapters.values())
    assert f"beside {len(adapters) // 2} layers of the whole model (init_from)" in said
    assert f"; {count:,} parameters are trained ({count / 1_749_199:.2%})" in said


def test_a_run_with_adapters_is_evaluated_and_released_merged(
    adapted: tuple[str, Path], run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = adapted[1]
    assert main(["evaluate", str(folder), str(data), "--limit", "1"]) == 0
    plain = sum(parameter.numel() for parameter in load_checkpoint(run).model.parameters())
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["parameters"] == plain
    released = load_checkpoint(release(folder, tmp_path / "release")).model.state_dict()
    merged, before = load_checkpoint(folder).model.state_dict(), load_checkpoint(run).model.state_dict()
    assert all(torch.allclose(value, merged[name], rtol=1 / 2048, atol=1e-7) for name, value in released.items())
    name = "decoder.layers.0.feed_up.weight"
    assert not torch.equal(merged[name], before[name])
    assert torch.allclose(merged[name], before[name], atol=0.2)


def test_a_run_does_not_go_on_with_another_technique(
    adapted: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(adapted[1], tmp_path / "run")
    command = ["technique.name=full", "max_steps=3", DEBUG, "--out", str(folder), "--resume"]
    assert run_command(lambda: main(command)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and "doesn't fit the run's sizes and technique" in last
    assert f"training.init_from={newest(folder)}" in last


@pytest.mark.parametrize(
    ("name", "package"), [("lora", "peft"), ("qlora", "peft"), ("qlora", "bitsandbytes")]
)
def test_a_technique_without_its_package_names_the_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"technique '{name}' needs {package}: pip install -e '\.\[train\]'"
    with pytest.raises(MissingExtraError, match=message):
        get_technique(TechniqueConfig(name=name))
    get_technique(TechniqueConfig())


@pytest.mark.parametrize("name", TECHNIQUES.names())
@pytest.mark.parametrize("backbone", sorted(path.stem for path in (ROOT / "configs" / "backbones").glob("*.yaml")))
def test_a_techniques_configuration_changes_the_technique_alone(name: str, backbone: str) -> None:
    first = ROOT / "configs" / "backbones" / f"{backbone}.yaml"
    before, config = load_config([first]), load_config([first, CONFIGS / f"{name}.yaml"])
    assert config.technique.name == name
    assert (config.model, config.data, config.training, config.hardware) == (
        before.model, before.data, before.training, before.hardware,
    )  # fmt: skip


def test_every_technique_has_a_configuration() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == TECHNIQUES.names()
