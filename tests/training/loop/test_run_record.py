"""run.json: what a run tells about itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file

from training.loop.run_record import read_record
from training.saving.checkpoint import newest

from ..conftest import DEBUG, start


def test_a_run_records_its_parameters_machine_data_and_memory(run: Path) -> None:
    found = read_record(run)
    weights = load_file(newest(run) / "weights.safetensors")  # type: ignore[operator]
    trained = found["parameters"]["trainable"]
    assert found["parameters"]["total"] == trained > found["parameters"]["encoder"] > 0
    assert found["bytes"]["gradients"] == 4 * trained
    assert found["bytes"]["parameters"] == sum(value.nbytes for value in weights.values())
    assert 8 * trained <= found["bytes"]["optimizer"] < 9 * trained
    assert (found["backbone"], found["family"], found["technique"]) == ("pocket_cnn", "CNN", "full")
    assert (found["step"], found["total_steps"], found["data"]["lines"]) == (4, 4, 24)
    assert found["processors"] and found["tools"]["torch"] and found["started"] <= found["ended"]


def test_a_run_that_goes_on_keeps_when_it_began(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    before = read_record(copy)
    assert start([DEBUG, "max_steps=5", "--out", str(copy), "--resume"]) == 0
    after = read_record(copy)
    assert after["started"] == before["started"] and after["step"] == 5


def test_adapters_are_told_apart_from_the_model(run: Path, data: Path, tmp_path: Path) -> None:
    settings = [f"data.dataset_id={data}", "max_steps=1", "technique.name=lora", f"training.init_from={run}"]
    assert start([DEBUG, *settings, "--out", str(tmp_path / "lora")]) == 0
    found, plain = read_record(tmp_path / "lora")["parameters"], read_record(run)["parameters"]
    assert (found["total"], found["encoder"]) == (plain["total"], plain["encoder"])
    assert 0 < found["trainable"] < plain["trainable"] / 2
