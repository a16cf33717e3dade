"""A step whose loss or gradients aren't finite leaves no trace, is told and counted; too many of them end the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from runtime.errors import OmrError, run_command
from training.__main__ import main
from training.loading.batches import Batch, make_preparation
from training.loop.run import Run, restore, save
from training.loop.train import take_step
from training.saving.checkpoint import newest, read_training

from ..conftest import DEBUG
from ..logs import rows
from ..technique_runs import begin, configure, noise, steps


def broken(run: Run) -> Batch:
    """A batch with one pixel that is no number: batch statistics become none, too."""
    batch = noise(make_preparation(run.config))
    batch.image_BCHW[0, 0, 3, 3] = math.nan
    return batch._replace(names=["good.png", "bad.png"])


def everything(run: Run) -> dict[str, Tensor]:
    """A copy of all that an update changes."""
    states = {
        f"{i} {name}": value
        for i, (_, state) in enumerate(run.optimizer.state.items())
        for name, value in state.items()
    }
    found = run.model.state_dict() | states | {f"average {n}": value for n, value in run.averages.average.items()}
    return {name: value.detach().clone() for name, value in found.items()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two steps into a run."""
    made = begin(configure("mobilevit_s", "full", "max_skipped_steps=3"), tmp_path)
    steps(made, 2)
    made.sums = {}
    return made


def bad_loss(run: Run) -> None:
    take_step(run, [noise(make_preparation(run.config)), broken(run)])


def bad_gradient(run: Run) -> None:
    """Of one weight, while the loss is as good as ever."""
    hook = run.model.decoder.norm.weight.register_hook(lambda gradient: gradient * math.inf)
    take_step(run, [noise(make_preparation(run.config))])
    hook.remove()


BAD = [
    pytest.param(bad_loss, "step 3 is skipped, loss token is nan (lines good.png, bad.png)", id="loss"),
    pytest.param(bad_gradient, "step 3 is skipped, gradients aren't finite (lines 0, 1)", id="gradients"),
]


@pytest.mark.parametrize(("go_wrong", "message"), BAD)
def test_a_bad_step_leaves_no_trace_and_is_told_in_one_line(
    go_wrong: Callable[[Run], None], message: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(run)
    capsys.readouterr()
    go_wrong(run)
    assert capsys.readouterr().err == message + "\n"
    after = everything(run)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert (run.step, run.sums, run.skipped_in_a_row) == (3, {"skipped_steps": 1}, 1)
    assert all(parameter.grad is None for parameter in run.model.parameters())


def test_a_good_step_after_a_bad_one_begins_to_count_anew(run: Run) -> None:
    for _ in range(2):
        bad_loss(run)
    steps(run, 1)
    assert run.skipped_in_a_row == 0
    bad_loss(run)
    bad_loss(run)
    with pytest.raises(
        OmrError, match=r"no update in 3 steps in a row up to step 8, loss token is nan: lower training"
    ):
        bad_loss(run)


def test_bad_steps_in_a_row_are_counted_across_a_resumption(run: Run) -> None:
    for _ in range(2):
        bad_loss(run)
    again = begin(run.config, run.folder)
    restore(again, save(run))
    with pytest.raises(OmrError, match="no update in 3 steps in a row"):
        bad_loss(again)


def test_a_run_that_diverges_stops_with_advice_and_keeps_its_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate so high that the first update ruins every weight: nothing is finite from then on."""
    options = [
        "learning_rate=1e35",
        "checkpoint_steps=1",
        "max_steps=20",
        "max_skipped_steps=4",
        "training.log_every=2",
    ]
    command = [DEBUG, f"data.dataset_id={data}", *options, "--out", str(tmp_path / "run")]
    assert run_command(lambda: main(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(" is skipped, " in line for line in lines) == 4
    checkpoint = newest(tmp_path / "run")
    assert lines[-1].startswith("error: no update in 4 steps in a row up to step 5, ")
    assert "lower training.optimizer.learning_rate (1e+35)" in lines[-1]
    assert lines[-1].endswith(f"; --resume goes on from {checkpoint}")
    tensors, progress = read_training(checkpoint or tmp_path)
    assert all(bool(value.isfinite().all()) for value in tensors["weights"].values())
    assert progress["skipped_in_a_row"] == 3
    log = [row for row in rows(tmp_path / "run") if "lr" in row]
    assert [row["skipped_steps"] for row in log] == [1, 2]
    assert "loss" in log[0] and "loss" not in log[1]


class TestScaler:
    """fp16's scaler, here on a CPU in fp32, with a scale so large that it overflows all the same."""

    def begin(self, folder: Path, scale: float) -> Run:
        run = begin(configure("pocket_cnn", "full", "model.params.dropout=0"), folder)
        if scale:
            run.accelerator.scaler = torch.amp.GradScaler("cpu", scale, backoff_factor=2.0**-20, growth_interval=3)
        return run

    def take(self, run: Run, count: int) -> list[dict[str, float]]:
        """What is logged of each of `count` steps, and the scale after it."""
        found = []
        for _ in range(count):
            run.sums = {}
            take_step(run, [noise(make_preparation(run.config))])
            scaler = run.accelerator.scaler
            found.append(run.sums | {"scale": scaler.get_scale() if scaler else 1.0})
        return found

    def test_gradients_are_clipped_at_their_true_size(self, tmp_path: Path) -> None:
        """Tolerance: the scale is a power of two, so nothing but the smallest numbers is rounded otherwise."""
        plain, scaled = (self.take(self.begin(tmp_path, scale), 4) for scale in (0, 2.0**16))
        for name in ("loss", "grad_norm"):
            assert [step[name] for step in plain] == pytest.approx([step[name] for step in scaled], rel=1e-4)

    def test_an_overflow_is_counted_and_nothing_is_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = self.begin(tmp_path, 2.0**127)
        before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
        capsys.readouterr()
        assert self.take(run, 1) == [{"overflows": 1, "scale": 2.0**107}]
        assert capsys.readouterr().err == ""
        assert all(torch.equal(value, before[name]) for name, value in run.model.named_parameters())
        assert run.skipped_in_a_row == 0

    def test_a_loss_that_is_no_number_is_no_overflow(self, tmp_path: Path) -> None:
        run = self.begin(tmp_path, 2.0**16)
        take_step(run, [broken(run)])
        assert run.sums == {"skipped_steps": 1}

    def test_gradients_that_overflow_without_a_scale_are_bad(self, tmp_path: Path) -> None:
        run = self.begin(tmp_path, 1.0)
        bad_gradient(run)
        assert run.sums == {"skipped_steps": 1}

    def test_its_scale_and_its_course_come_back(self, tmp_path: Path) -> None:
        """The scale falls at first and grows after every third good step, before and after the resumption."""
        run = self.begin(tmp_path, 2.0**127)
        assert "overflows" in self.take(run, 6)[0]
        again = self.begin(tmp_path, 1.0)
        restore(again, save(run))
        found = [self.take(goes_on, 6) for goes_on in (run, again)]
        assert found[0] == found[1]
        assert len({step["scale"] for step in found[0]}) > 1
        for name, value in run.model.state_dict().items():
            assert torch.equal(again.model.state_dict()[name], value), name
