"""Distillation: the loss is what the paper says, and a teacher may be of another kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.bundle.tokenizer import AtomTokenizer
from runtime.errors import OmrError
from runtime.page.preparation import Preparation, batch, prepare, window_for
from training.data.engraving.engraver import ENGRAVERS
from training.loading.batches import make_preparation
from training.loop.run import Run
from training.saving.checkpoint import load_checkpoint
from training.techniques.distill import Teacher, divergence, lesson, reprepared

from ...music import line
from ..technique_runs import begin, configure, noise, save_random, steps

ANOTHER_SIZE = ("d_model=48", "n_heads=4", "n_decoder_layers=2", "max_seq_len=6")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another backbone, another height, three channels, another decoder, and shorter lines than the students'."""
    config = configure("mobilevit_s", "full", *ANOTHER_SIZE)
    return save_random(tmp_path_factory.mktemp("teacher") / "mobilevit_s", config, 1)


def student(teacher: Path, folder: Path, *overrides: str) -> Run:
    return begin(configure("pocket_cnn", "distill", f"teacher={teacher}", *overrides), folder)


def test_the_divergence_is_the_papers() -> None:
    teacher_KV, student_KV = torch.randn(5, 7), torch.randn(5, 7)
    p_KV, q_KV = (torch.softmax(logits / 3, -1) for logits in (teacher_KV, student_KV))
    expected = 9 * (p_KV * (p_KV / q_KV).log()).sum()
    assert torch.allclose(divergence(teacher_KV, student_KV, 3.0), expected, rtol=1e-5)
    assert abs(float(divergence(teacher_KV, teacher_KV.clone(), 3.0))) < 1e-5


def test_its_gradient_keeps_its_size_at_any_temperature() -> None:
    """What the factor temperature^2 is for (section 2.1): at high ones the gradient no longer depends on it."""
    teacher_KV = torch.randn(5, 7)
    sizes = []
    for temperature in (20.0, 40.0):
        student_KV = torch.zeros(5, 7, requires_grad=True)
        divergence(teacher_KV, student_KV, temperature).backward()
        assert student_KV.grad is not None
        sizes.append(float(student_KV.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_a_teacher_weighs_as_much_as_the_labels_leave(teacher: Path, tmp_path: Path) -> None:
    run = student(teacher, tmp_path, "kd_alpha=0.3", "dropout=0")
    [loss] = steps(run, 1)
    assert loss == pytest.approx(0.3 * run.sums["token"] + 0.7 * run.sums["teacher"], rel=1e-5)
    assert run.sums["teacher"] > 0.01


def test_labels_alone_train_as_if_there_were_no_teacher(teacher: Path, tmp_path: Path) -> None:
    alone = begin(configure("pocket_cnn", "full", "dropout=0"), tmp_path / "alone")
    assert steps(student(teacher, tmp_path / "distill", "kd_alpha=1", "dropout=0"), 4) == steps(alone, 4)


def test_a_student_of_the_teacher_alone_comes_to_agree_with_it(teacher: Path, tmp_path: Path) -> None:
    losses = steps(student(teacher, tmp_path, "kd_alpha=0", "dropout=0"), 30)
    assert losses[-1] < 0.3 * losses[0]


def test_the_teacher_itself_does_not_learn(teacher: Path, tmp_path: Path) -> None:
    run = student(teacher, tmp_path)
    steps(run, 3)
    assert isinstance(run.lesson, Teacher)
    before = load_checkpoint(teacher).model.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in run.lesson.model.state_dict().items())


def test_a_token_is_taught_from_the_same_place_in_the_line(teacher: Path) -> None:
    """A student that says what the teacher says has nothing to learn, as far as the teacher's lines go."""
    config = configure("pocket_cnn", "distill", f"teacher={teacher}")
    taught = lesson(config, AtomTokenizer(), CPU)
    assert isinstance(taught, Teacher)
    given = noise(make_preparation(config))
    image_BCHW, width_B = reprepared(given.image_BCHW, given.valid_width_B, make_preparation(config), taught.own)
    known = taught.model.params.max_seq_len
    with torch.no_grad():
        own = taught.model(image_BCHW, width_B, given.tokens_BN[:, :known])
    more_BNV = torch.randn(2, given.tokens_BN.shape[1] - known, own.logits_BNV.shape[-1])
    same = own._replace(logits_BNV=torch.cat([own.logits_BNV, more_BNV], 1))
    assert more_BNV.shape[1] == 3
    assert abs(float(taught.sums(given, same)["teacher"])) < 1e-4
    other = own._replace(logits_BNV=same.logits_BNV.roll(1, 1))
    assert float(taught.sums(given, other)["teacher"]) > 0.1


@pytest.mark.parametrize(("height", "tolerance"), [(48, 0.05), (96, 0.0), (128, 0.05)])
def test_a_teachers_picture_is_made_from_the_students(height: int, tolerance: float) -> None:
    """Tolerance: mean difference of grey values of -1..1; OpenCV resamples otherwise than PyTorch."""
    drawn = [ENGRAVERS.get("verovio").draw(line(3, n, 1 + n), np.random.default_rng(n)).image for n in range(2)]
    own = Preparation(width_buckets=(320, 512, 768))
    buckets = tuple(width * height // 96 for width in (480, 720, 960))
    space = height * 7 / 96
    other = replace(
        own, height=height, staff_space=space, whiten_window=window_for(space), channels=3, width_buckets=buckets
    )
    image_BCHW, width_B = (torch.from_numpy(part) for part in batch([prepare(grey, own) for grey in drawn], own))
    expected, widths = batch([prepare(grey, other) for grey in drawn], other)
    found_BCHW, found_B = reprepared(image_BCHW, width_B, own, other)
    assert found_BCHW.shape == expected.shape
    assert np.abs(found_B.numpy() - widths).max() <= (height != 96)
    assert np.abs(found_BCHW.numpy() - expected).mean() <= tolerance


def test_a_line_wider_than_the_teachers_widest_bucket_is_not_cut() -> None:
    own, other = Preparation(width_buckets=(320,)), Preparation(width_buckets=(64,), width_multiple=32, channels=3)
    found_BCHW, found_B = reprepared(torch.rand(1, 1, 96, 320), torch.tensor([250]), own, other)
    assert found_BCHW.shape == (1, 3, 96, 256)
    assert found_B.tolist() == [250]


def other_tokenizer(folder: Path) -> None:
    AtomTokenizer(AtomTokenizer().vocabulary[:-1] + ["!crescendo!"]).save(folder / "tokenizer.json")


def other_paper(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("whiten: true", "whiten: false"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_tokenizer, "has another tokenizer than data.tokenizer_id atoms: set data.tokenizer_id=.*tokenizer.json"),
        (other_paper, "data.whiten is True, but teacher .* was trained with False: set data.whiten=false"),
    ],
)
def test_a_teacher_that_cannot_teach_is_one_sentence(change: object, message: str, tmp_path: Path) -> None:
    folder = save_random(tmp_path / "teacher", configure("pocket_cnn"))
    change(folder)  # type: ignore[operator]
    with pytest.raises(OmrError, match=message):
        lesson(configure("pocket_cnn", "distill", f"teacher={folder}"), AtomTokenizer(), CPU)
