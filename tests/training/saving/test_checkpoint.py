"""Checkpoints and releases: whole or refused in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runtime.errors import OmrError, run_command
from training.__main__ import main
from training.saving.checkpoint import KEPT, PROGRESS, TRAINING, WEIGHTS, find, load_checkpoint, newest, read_training
from training.saving.release import halved, release


@pytest.fixture
def checkpoint(run: Path, tmp_path: Path) -> Path:
    """A copy of a run's checkpoint."""
    found = newest(run)
    assert found is not None
    return shutil.copytree(found, tmp_path / "checkpoint")


def damage_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])


def other_sizes(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("d_ff: 64", "d_ff: 72"))


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def no_configuration(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_weights, "weights.safetensors is damaged or missing: take another checkpoint"),
        (other_sizes, "don't fit its config.yaml"),
        (no_tokenizer, "is not a tokenizer"),
        (no_configuration, "config.yaml can't be read"),
        (no_weights, "holds no checkpoint: expected a run's folder"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(harm: object, message: str, checkpoint: Path) -> None:
    harm(checkpoint)  # type: ignore[operator]
    with pytest.raises(OmrError) as caught:
        load_checkpoint(checkpoint)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_means_its_newest_checkpoint(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    [old] = (copy / "checkpoints").iterdir()
    new = shutil.copytree(old, old.with_name("step-00000100"))
    shutil.copytree(old, old.with_name(".unfinished-1"))
    assert find(copy) == new


def test_old_checkpoints_are_deleted(data: Path, tmp_path: Path) -> None:
    from ..conftest import DEBUG

    options = [f"data.dataset_id={data}", "max_steps=4", "checkpoint_steps=1", "eval_limit=1"]
    assert main([DEBUG, *options, "--out", str(tmp_path / "run")]) == 0
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000004"]
    assert len(names) == KEPT


def test_what_reads_are_the_averaged_weights(checkpoint: Path) -> None:
    read = load_checkpoint(checkpoint).model.state_dict()["decoder.head.weight"]
    trained = read_training(checkpoint)[0]["weights"]["decoder.head.weight"]
    assert not torch.equal(read, trained)
    assert torch.allclose(read, trained, atol=0.05)


def test_a_release_reads_like_its_run_at_half_the_size(run: Path, tmp_path: Path) -> None:
    """Tolerance: fp16 keeps 11 bits, so a weight moves by 1/2048 at most."""
    out = release(run, tmp_path / "pocket")
    assert {path.name for path in out.iterdir()} == {WEIGHTS, "config.yaml", "tokenizer.json", "metrics.jsonl"}
    before, after = load_checkpoint(run), load_checkpoint(out)
    assert after.config == before.config
    kept = before.model.state_dict()
    for name, value in after.model.state_dict().items():
        assert torch.allclose(value, kept[name], rtol=1 / 2048, atol=1e-7), name
    stored = load_file(out / WEIGHTS)
    assert stored["decoder.head.weight"].dtype == torch.float16
    assert stored["decoder.norm.weight"].dtype == torch.float32
    assert (out / WEIGHTS).stat().st_size < 0.55 * (before.folder / WEIGHTS).stat().st_size


def test_a_release_holds_the_log_up_to_its_step(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with (copy / "metrics.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
    out = release(copy, tmp_path / "pocket")
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4, 4]


def test_a_release_replaces_an_older_one_and_keeps_its_card(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pocket"
    out.mkdir()
    (out / "MODEL_CARD.md").write_text("written by people")
    for _ in range(2):
        assert main(["release", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert (out / "MODEL_CARD.md").read_text() == "written by people"
    assert [path.name for path in tmp_path.iterdir()] == ["pocket"]


def test_a_release_does_not_replace_anything_else(
    run: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(lambda: main(["release", str(run), "--out", str(checkpoint)])) == 2
    assert "holds no released checkpoint" in capsys.readouterr().err
    assert (checkpoint / TRAINING).is_file()


def test_a_script_learns_from_the_exit_code_whether_a_run_is_finished(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert main(["finished", str(copy)]) == 0
    assert capsys.readouterr().out.endswith("step-00000004: step 4 of 4\n")
    file = copy / "checkpoints" / "step-00000004" / PROGRESS
    file.write_text(json.dumps(json.loads(file.read_text()) | {"total": 5}))
    assert main(["finished", str(copy)]) == 1
    assert capsys.readouterr().out.endswith("step-00000004: step 4 of 5\n")
    assert run_command(lambda: main(["finished", str(tmp_path)])) == 2


def test_training_does_not_go_on_from_a_release(run: Path, tmp_path: Path) -> None:
    out = release(run, tmp_path / "pocket")
    with pytest.raises(OmrError, match="holds weights only.*training.init_from="):
        read_training(out)


def test_weights_that_half_precision_cannot_hold_stay() -> None:
    large = torch.tensor([[1e5, 1.0]])
    assert halved(large).dtype == torch.float32
    assert halved(large / 10).dtype == torch.float16
    assert halved(torch.tensor([1e-8])).dtype == torch.float32
    assert halved(torch.tensor(3)).dtype == torch.int64
