"""omr-train: what a run leaves behind, what it says, and what it keeps when it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from runtime.errors import run_command
from training.__main__ import main
from training.hardware import precision
from training.saving.checkpoint import PROGRESS, load_checkpoint

from ..conftest import DEBUG, start
from ..logs import losses, rows


def test_resuming_in_an_empty_folder_starts(data: Path, tmp_path: Path) -> None:
    assert main([DEBUG, f"data.dataset_id={data}", "max_steps=1", "--out", str(tmp_path / "new"), "--resume"]) == 0
    assert list(losses(tmp_path / "new")) == [1]


def test_a_run_is_not_started_over(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "metrics.jsonl").read_bytes()
    assert run_command(lambda: main([DEBUG, "--out", str(run)])) == 2
    assert "holds a run already: go on with --resume" in capsys.readouterr().err
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_resumed_run_keeps_its_configuration_and_says_what_was_changed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    other = tmp_path / "other.yaml"
    other.write_text("model:\n  params:\n    d_model: 64\n")
    assert main([str(other), "max_steps=6", "--out", str(copy), "--resume"]) == 0
    said = capsys.readouterr().err
    assert "changed since the run began: training.max_steps 4 -> 6" in said
    assert "going on from step 4" in said
    assert load_checkpoint(copy).config.model.params.d_model == 32
    assert list(losses(copy)) == [1, 2, 3, 4, 5, 6]


def test_a_run_folder_holds_configuration_log_and_checkpoints(run: Path) -> None:
    assert {"config.yaml", "metrics.jsonl", "checkpoints"} <= {path.name for path in run.iterdir()}
    log = rows(run)
    assert {"step", "loss", "lr", "token", "guide", "symbol", "staff_position", "duration"} <= set(log[0])
    assert {"step", "ser", "cer", "note_accuracy", "sequence_accuracy"} <= set(log[-1])
    [checkpoint] = (run / "checkpoints").iterdir()
    assert json.loads((checkpoint / PROGRESS).read_text())["step"] == 4


def test_init_from_takes_weights_and_nothing_else(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate of nothing, so that the weights stay what they were; another vocabulary-free size is new."""
    options = [f"data.dataset_id={data}", f"init_from={run}", "max_steps=1", "learning_rate=0", "max_seq_len=200"]
    assert main([DEBUG, *options, "--out", str(tmp_path / "new")]) == 0
    assert "new: decoder.positions.weight" in capsys.readouterr().err
    assert list(losses(tmp_path / "new")) == [1]
    made = load_checkpoint(tmp_path / "new").model.state_dict()
    taken = load_checkpoint(run).model.state_dict()
    same = [name for name in taken if not name.startswith("backbone") and name != "decoder.positions.weight"]
    assert all(torch.equal(made[name], taken[name]) for name in same)  # the backbone's statistics move


class TestPrecision:
    """Measured once, kept on resume, measured again on another kind of processor."""

    @pytest.fixture
    def measured(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Answers that measuring gives, one after the other."""
        answers = ["fp32", "bf16"]
        monkeypatch.setattr(precision, "measure", lambda _device: (answers.pop(0), "as if measured"))
        return answers

    @pytest.fixture
    def begun(self, measured: list[str], data: Path, tmp_path: Path) -> Path:
        options = [f"data.dataset_id={data}", "max_steps=1", "hardware.precision=auto"]
        assert main([DEBUG, *options, "--out", str(tmp_path / "run")]) == 0
        assert measured == ["bf16"]
        return tmp_path / "run"

    def resume(self, run: Path, steps: int) -> dict[str, str]:
        assert start([DEBUG, f"max_steps={steps}", "--out", str(run), "--resume"]) == 0
        found: dict[str, str] = yaml.safe_load((run / "config.yaml").read_text())["hardware"]
        return found

    def test_it_is_kept_on_the_same_processor(
        self, begun: Path, measured: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        assert self.resume(begun, 2)["precision"] == "fp32"
        assert measured == ["bf16"]  # nobody asked
        assert "fp32 (measured when the run began)" in capsys.readouterr().err

    def test_it_is_measured_again_on_another(
        self, begun: Path, measured: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = begun / "config.yaml"
        here = yaml.safe_load(file.read_text())["hardware"]["processor"]
        file.write_text(file.read_text().replace(here, "Some Other CPU (avx2)"))
        hardware = self.resume(begun, 2)
        assert (hardware["precision"], hardware["processor"]) == ("bf16", here)
        assert measured == []
        said = capsys.readouterr().err
        assert "the run began on another processor, Some Other CPU (avx2) in fp32: losses may differ" in said

    def test_one_that_was_configured_is_not_measured(self, data: Path, tmp_path: Path, measured: list[str]) -> None:
        assert main([DEBUG, f"data.dataset_id={data}", "max_steps=1", "--out", str(tmp_path / "run")]) == 0
        assert measured == ["fp32", "bf16"]
