"""Two processes train as one does: the same losses though their lines hold different numbers of tokens, the same
tensors in checkpoints, and they stop and go on together."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from runtime.errors import ConfigError, run_command
from training.__main__ import main
from training.config import HardwareConfig
from training.hardware.processes import join
from training.hardware.sharding import SHARDINGS, check_sharding
from training.saving.checkpoint import TRAINING, WEIGHTS, load_checkpoint, newest

from ..conftest import DEBUG, start
from ..double import double_precision
from ..torchrun import torchrun

STEPS = 6
# Largest difference to one process in double precision: of a logged number, and of a tensor's norm, as shares. The same
# run on kernels of other vector units (SSE instead of AVX2) was 4e-15 and 6e-11 away, in single precision 2e-3 and 0.2.
# Tokens weighed wrongly would be 0.15 away.
TOLERANCE = 1e-9


def log(run: Path) -> list[dict[str, float]]:
    """The lines of each step, without speed and memory."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    measured = ("second", "peak")
    return [{k: v for k, v in row.items() if not any(word in k for word in measured)} for row in rows if "lr" in row]


def furthest(found: dict[str, float], expected: dict[str, float]) -> float:
    """Largest difference of two lines of a log, as a share of the second's value."""
    assert set(found) == set(expected)
    return max(abs(found[key] - value) / max(abs(value), 1e-9) for key, value in expected.items())


def tensors(run: Path, step: int, file: str = WEIGHTS) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:08d}" / file)


class Pair(NamedTuple):
    """What one process and two did.

    Attributes:
        folder: of all runs: `one`, and for each sharding `NAME`, `NAME-whole`, `NAME-stopped`.
        results: of each process, by the name of the run (`NAME-resumed` is the second half of `NAME-stopped`).
    """

    folder: Path
    results: list[dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def pair(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """All runs of this file, since starting processes takes longest."""
    folder = tmp_path_factory.mktemp("processes")
    exact = ["checkpoint_steps=3", "dropout=0"]
    one = [*common(data), *exact, "gradient_accumulation_steps=2", "--out"]
    with double_precision():
        assert start([*one, str(folder / "one")]) == 0

    cases: dict[str, dict[str, Any]] = {}
    for sharding in SHARDINGS:
        call = [*common(data), f"hardware.sharding={sharding}"]
        stopped = [*call, "--out", f"{folder}/{sharding}-stopped"]
        # Gradient checkpointing changes nothing, here neither.
        arguments = [*call, *exact, "gradient_checkpointing=all", "--out", f"{folder}/{sharding}"]
        cases[sharding] = {"arguments": arguments, "double": True}
        cases[f"{sharding}-whole"] = {"arguments": [*call, "--out", f"{folder}/{sharding}-whole"]}
        cases[f"{sharding}-stopped"] = {"arguments": stopped, "signal_after": 2}
        cases[f"{sharding}-resumed"] = {"arguments": [*stopped, "--resume"]}
    (folder / "cases.json").write_text(json.dumps(list(cases.values())))
    torchrun("tests.training.two_processes", [str(folder / "cases.json")])
    results = [json.loads((folder / f"done-{rank}.json").read_text()) for rank in (0, 1)]
    return Pair(folder, [dict(zip(cases, rows, strict=True)) for rows in results])


def common(data: Path) -> list[str]:
    return [DEBUG, f"data.dataset_id={data}", f"max_steps={STEPS}", "batch_size=1", "eval_limit=1", "dropout=0.1"]


def test_the_processes_learn_from_different_numbers_of_tokens(pair: Pair) -> None:
    tokens = [results["none"]["tokens"] for results in pair.results]
    assert [len(counts) for counts in tokens] == [STEPS] * 2
    assert max(max(counts) / min(counts) for counts in zip(*tokens, strict=True)) > 3


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_losses_and_gradients_are_those_of_one_process(pair: Pair, sharding: str) -> None:
    found, expected = log(pair.folder / sharding), log(pair.folder / "one")
    assert len(found) == len(expected) == STEPS
    assert max(map(furthest, found, expected)) < TOLERANCE


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("file", [WEIGHTS, TRAINING])
def test_checkpoints_hold_the_tensors_of_one_process(pair: Pair, sharding: str, file: str) -> None:
    """But for the statistics of batch normalisation, which are means over the processes."""
    found, expected = (tensors(pair.folder / name, STEPS, file) for name in (sharding, "one"))
    assert set(found) - set(expected) == ({"random/1/cpu"} if file == TRAINING else set())
    assert set(expected) <= set(found)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        assert found[name].dtype == value.dtype, name
        if not any(word in name for word in ("running_", "num_batches", "random/")):
            away = (found[name] - value).norm() / value.norm().clamp(min=1e-6)
            assert away < TOLERANCE, name


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_statistics_are_the_mean_of_what_the_processes_saw(pair: Pair, sharding: str) -> None:
    seen, shared = (torch.tensor([results[sharding]["means"][i] for results in pair.results]) for i in (0, 1))
    assert not torch.allclose(seen[0], seen[1], rtol=0.01)
    assert torch.allclose(shared, seen.mean(0).expand(2, -1))


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_a_signal_to_one_process_stops_both_at_the_same_step(pair: Pair, sharding: str) -> None:
    for results in pair.results:
        assert results[f"{sharding}-stopped"]["code"] == 128 + signal.SIGUSR1
        assert len(results[f"{sharding}-stopped"]["tokens"]) == 2
        assert results[f"{sharding}-resumed"]["code"] == results[f"{sharding}-whole"]["code"] == 0


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_a_stopped_run_resumes_with_the_losses_of_an_uninterrupted_one(pair: Pair, sharding: str) -> None:
    """With dropout, of which each process draws its own."""
    stopped, whole = pair.folder / f"{sharding}-stopped", pair.folder / f"{sharding}-whole"
    assert newest(stopped) == stopped / "checkpoints" / f"step-{STEPS:08d}"
    assert (stopped / "checkpoints" / "step-00000002").exists()
    assert log(stopped) == log(whole)
    found, expected = tensors(stopped, STEPS, TRAINING), tensors(whole, STEPS, TRAINING)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not torch.equal(expected["random/cpu"], expected["random/1/cpu"])


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_one_process_goes_on_with_what_two_began(pair: Pair, sharding: str, tmp_path: Path) -> None:
    copy = shutil.copytree(pair.folder / sharding, tmp_path / "run")
    shutil.rmtree(copy / "checkpoints" / f"step-{STEPS:08d}")
    call = ["gradient_accumulation_steps=2", "hardware.sharding=none", "--out", str(copy), "--resume"]
    with double_precision():
        assert start([DEBUG, *call]) == 0
    assert [row["step"] for row in log(copy)] == list(range(1, STEPS + 1))
    assert max(map(furthest, log(copy), log(pair.folder / "one"))) < TOLERANCE
    load_checkpoint(copy)


def test_a_step_keeps_its_size_when_a_run_goes_on(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(pair.folder / "none", tmp_path / "run")
    before = (copy / "config.yaml").read_bytes()
    assert run_command(lambda: main([DEBUG, "--out", str(copy), "--resume"])) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: a step of this run holds 2 batches, but gradient_accumulation_steps 1 x 1 process is 1: "
        "set training.gradient_accumulation_steps=2"
    )
    assert (copy / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("sharding", "precision", "processes", "message"),
    [
        ("fsdp2", "fp32", 2, "hardware.sharding is 'fsdp2'; use none or fsdp"),
        ("fsdp", "fp32", 1, "there is one: start with torchrun --nproc-per-node N -m training"),
        ("fsdp", "fp16", 2, "not proven with hardware.precision fp16"),
    ],
)
def test_what_cannot_be_split_is_refused(sharding: str, precision: str, processes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_sharding(HardwareConfig(sharding=sharding, precision=precision), processes)


def test_more_processes_than_gpus_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="4 processes on a machine with 2 GPUs: set --nproc-per-node to 2 or less"):
        join(torch.device("cuda"))


def test_splitting_in_one_process_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [*common(data), "hardware.sharding=fsdp", "--out", str(tmp_path / "run")]
    assert run_command(lambda: main(call)) == 2
    assert "hardware.sharding=none" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
