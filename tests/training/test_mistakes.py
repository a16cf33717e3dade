"""What a user can get wrong in a configuration or on the command line of omr-train: one sentence each, exit code 2, and
nothing is written. This is the one table of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.errors import run_command
from tests.source import ROOT
from tests.training.study import STUDY
from training.__main__ import main
from training.saving.checkpoint import TRAINING, WEIGHTS, newest

from .conftest import DEBUG


class Mistake(NamedTuple):
    """A call of omr-train that can't be.

    Attributes:
        message: what is told.
        overrides: `key=value`; `{damaged}` and the like are checkpoints of the fixture `folders`.
        text: of a configuration instead of configs/debug.yaml.
        technique: a configuration of configs/techniques besides.
    """

    message: str
    overrides: tuple[str, ...] = ()
    text: str | None = None
    technique: str = ""


def wrong(message: str, *overrides: str, text: str | None = None, technique: str = "") -> Mistake:
    return Mistake(message, overrides, text, technique)


TEXTS = [
    wrong("unknown key model.parms; did you mean model.params", text="model:\n  parms: {}\n"),
    wrong(
        "unknown key model.params.d_modle; did you mean model.params.d_model?",
        text="model:\n  params:\n    d_modle: 3\n",
    ),
    wrong("unknown key trainin; did you mean training.", text="trainin: {}\n"),
    wrong("training is 3; expected keys and values", text="training: 3\n"),
    wrong("holds no keys", text="- a\n- b\n"),
    wrong("is no YAML", text="a: [1\n"),
    wrong("holds no keys", text=""),
    wrong("training.batch_size is 'many'; expected int", text="training:\n  batch_size: many\n"),
    wrong("training.batch_size is 2.5; expected int", text="training:\n  batch_size: 2.5\n"),
    wrong("training.batch_size is True; expected int", text="training:\n  batch_size: true\n"),
    wrong("hardware.mixed_precision is 'perhaps'; expected bool", text="hardware:\n  mixed_precision: perhaps\n"),
    wrong(
        "training.optimizer.betas is [0.9]; expected list of 2 float",
        text="training:\n  optimizer:\n    betas: [0.9]\n",
    ),
]
OVERRIDES = [
    wrong("override key 'type' could be model.type or ", "type=x", text=STUDY),
    wrong("did you mean training.optimizer.learning_rate?", "learning_rat=1"),
    wrong("training.max_steps is ''; expected int", "max_steps="),
    wrong("unknown key technique.rnk; did you mean technique.rank?", "technique.rnk=4"),
]
NAMES = [
    wrong("no backbone called 'resnet51'; did you mean 'resnet50'?", "vision_model_name=resnet51"),
    wrong("no technique called 'lorra'; did you mean 'lora'?", "technique.name=lorra"),
    wrong("training.scheduler.type is 'Steps'; use LinearWarmup, Cosine, Trapezoid", "training.scheduler.type=Steps"),
    wrong("training.optimizer.type is 'SGD'; AdamW is the one there is", "training.optimizer.type=SGD"),
    wrong("model.type is 'TrOCR'; MusicTrOCR is the one there is", "model.type=TrOCR"),
    wrong("model.params.memory is 'grids'; use grid or columns", "memory=grids"),
    wrong("preparation mode 'hight' is unknown; use one of staff_space, height", "preparation=hight"),
    wrong("data.labels is 'canon'; use verbatim or canonical", "labels=canon"),
    wrong("no degradation preset called 'fone'", "degrade=fone"),
    wrong("hardware.device is 'cuda:1'; use auto, cpu or cuda", "hardware.device=cuda:1"),
    wrong("hardware.precision is 'int8'; use auto, fp32, bf16 or fp16", "hardware.precision=int8"),
    wrong("gradient_checkpointing is 'encoder'; use none, decoder, all", "gradient_checkpointing=encoder"),
]
PLACES = [
    wrong("no data set is given", "data.dataset_id="),
    wrong("data set 'nowhere' can't be opened", "data.dataset_id=nowhere"),
    wrong("tokenizer 'nowhere' can't be reached", "tokenizer_id=nowhere"),
    wrong("folder {empty} holds no tokenizer.json", "tokenizer_id={empty}"),
]
CHECKPOINTS = [
    wrong("nowhere holds no checkpoint", "init_from=nowhere"),
    wrong("{empty} holds no checkpoint: expected a run's folder", "init_from={empty}"),
    wrong(f"{{damaged}}/{WEIGHTS} is damaged or missing: take another checkpoint", "init_from={damaged}"),
    wrong("nowhere holds no checkpoint", "teacher=nowhere", technique="distill"),
    wrong(f"{{damaged}}/{WEIGHTS} is damaged or missing", "teacher={damaged}", technique="distill"),
    wrong("the weights in {other_sizes} don't fit its config.yaml", "teacher={other_sizes}", technique="distill"),
    wrong("pocket_cnn has no pretrained weights: set model.params.pretrained=false", "pretrained=true"),
]
NUMBERS = [
    wrong(f"{name} is {value}; it must be {wanted}", f"{name}={value}")
    for name, value, wanted in [
        ("model.params.d_model", 0, "1 or more"),
        ("model.params.n_heads", 0, "1 or more"),
        ("model.params.n_decoder_layers", 0, "1 or more"),
        ("model.params.d_ff", 0, "1 or more"),
        ("model.params.mixers", -1, "0 or more"),
        ("model.params.dropout", 1.5, "in 0 to 1, below 1"),
        ("model.params.dense_weight", -1.0, "0 or more"),
        ("data.img_height", 0, "1 or more"),
        ("data.width_buckets", "[0, 64]", "each 1 or more"),
        ("data.degrade_share", 3.0, "in 0 to 1"),
        ("data.train_limit", -1, "0 or more"),
        ("data.eval_limit", -1, "0 or more"),
        ("data.num_workers", -1, "0 or more"),
        ("training.batch_size", 0, "1 or more"),
        ("training.batch_width", -5, "0 or more"),
        ("training.gradient_accumulation_steps", 0, "1 or more"),
        ("training.epochs", -1.0, "above 0"),
        ("training.max_steps", -5, "0 or more"),
        ("training.seed", -1, "0 or more"),
        ("training.label_smoothing", 1.0, "in 0 to 1, below 1"),
        ("training.optimizer.learning_rate", -1.0, "0 or more"),
        ("training.optimizer.learning_rate", float("nan"), "0 or more"),
        ("training.optimizer.learning_rate", float("inf"), "0 or more"),
        ("training.optimizer.betas", "[0.9, 1.0]", "each in 0 to 1, below 1"),
        ("training.optimizer.clip_norm", 0.0, "above 0"),
        ("training.optimizer.ema_decay", 2.0, "in 0 to 1, below 1"),
        ("training.scheduler.warmup_ratio", 2.0, "in 0 to 1"),
        ("training.scheduler.final_ratio", -2.0, "in 0 to 1"),
        ("training.log_every", 0, "1 or more"),
        ("training.eval_every", -1, "0 or more"),
        ("training.checkpoint_minutes", -1.0, "0 or more"),
        ("training.max_skipped_steps", 0, "1 or more"),
        ("hardware.threads", -1, "0 or more"),
    ]
]
COMBINATIONS = [
    wrong("model.params.d_model is 33; it must be a multiple of 4 and of twice n_heads (2)", "d_model=33"),
    wrong("model.params.dense_weight needs model.params.memory=columns; it is grid", "memory=grid"),
    wrong("data.img_height is 97; swin_tiny takes multiples of", "img_height=97", "vision_model_name=swin_tiny"),
    wrong("channels is 2; pictures have 1 or 3", "channels=2"),
    wrong("staff_space is 0.0; expected a positive number of px", "data.staff_space=0"),
    wrong("width_buckets is (512, 256); give at least one width in px, ascending", "width_buckets=[512, 256]"),
    wrong("has no line this model can hold: raise max_seq_len or width_buckets", "max_seq_len=3"),
    wrong("has no line this model can hold: raise max_seq_len or width_buckets", "width_buckets=[8]"),
    wrong(
        "a step takes 100 batches (training.gradient_accumulation_steps=100 over all processes), but the 24 lines make",
        "gradient_accumulation_steps=100",
    ),
    wrong(
        "training.curriculum.start_width is 10 px, and the lines so narrow",
        "training.curriculum.steps=4", "training.curriculum.start_width=10",
    ),
    wrong("technique.rank is 4, but technique 'full' has no use for it", "rank=4"),
    wrong("technique.teacher is 'x', but technique 'frozen' has no use for it", "teacher=x", technique="frozen"),
    wrong(
        "technique.targets is 'all', but technique 'distill' has no use for it",
        "teacher=x", "targets=all", technique="distill",
    ),
    wrong("technique.rank is 0; an adapter needs a rank of 1 or more", "rank=0", technique="lora"),
    wrong("technique.alpha is 0; it must be above 0", "technique.alpha=0", technique="qlora"),
    wrong("technique.adapter_dropout is 1; it must be in 0 to 1, below 1", "adapter_dropout=1", technique="lora"),
    wrong("technique.targets is 'decoder'; use auto, all, encoder", "targets=decoder", technique="lora"),
    wrong("technique 'distill' has no teacher: set technique.teacher to a run's folder", technique="distill"),
    wrong(
        "technique.kd_alpha is 1.5; the labels' share must be in 0 to 1",
        "teacher=pocket", "kd_alpha=1.5", technique="distill",
    ),
    wrong(
        "technique.temperature is 0; it must be above 0", "teacher=pocket", "temperature=0", technique="distill"
    ),
]  # fmt: skip
ALL = [*TEXTS, *OVERRIDES, *NAMES, *PLACES, *CHECKPOINTS, *NUMBERS, *COMBINATIONS]


@pytest.fixture(scope="module")
def folders(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints that aren't any more, and an empty folder, by name."""
    place, good = tmp_path_factory.mktemp("folders"), newest(run) or run
    found = {name: shutil.copytree(good, place / name) for name in ("damaged", "other_sizes", "weights_only")}
    found["empty"] = place / "empty"
    found["empty"].mkdir()
    weights = found["damaged"] / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    config = found["other_sizes"] / "config.yaml"
    config.write_text(config.read_text().replace("d_ff: 64", "d_ff: 72"))
    (found["weights_only"] / TRAINING).unlink()
    return found


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that a wrong call is answered with."""
    capsys.readouterr()
    assert run_command(lambda: main(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:]
    return errors[0]


@pytest.mark.parametrize("case", ALL, ids=[case.message for case in ALL])
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    case: Mistake, data: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [DEBUG]
    if case.text is not None:
        (tmp_path / "given.yaml").write_text(case.text)
        files = [str(tmp_path / "given.yaml")]
    if case.technique:
        files.append(str(ROOT / "configs" / "techniques" / f"{case.technique}.yaml"))
    overrides = [
        text.format_map(folders) if text.startswith(("init_", "teacher", "token")) else text for text in case.overrides
    ]
    call = [*files, f"data.dataset_id={data}", "max_steps=1", *overrides, "--out", str(tmp_path / "run")]
    assert case.message.format_map(folders) in told(call, capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["max_steps=1"], "no configuration is given; start with configs/pocket.yaml"),
        (["nowhere.yaml"], "configuration nowhere.yaml can't be read"),
        ([DEBUG, "--out", "{run}"], "{run} holds a run already: go on with --resume"),
        ([DEBUG, "--out", "{run}", "--resume", "d_ff=72"], "doesn't fit the run's sizes and technique"),
        ([DEBUG, "--out", "{run}", "--resume", "technique.name=qlora"], "doesn't fit the run's sizes and technique"),
        ([DEBUG, "--out", "{weights_only}", "--resume"], "holds weights only, so training can't go on from it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_cannot_begin_or_go_on_is_one_sentence_and_stays_as_it_is(
    arguments: list[str], message: str, run: Path, folders: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    places = {"run": shutil.copytree(run, tmp_path / "run"), "weights_only": shutil.copytree(run, tmp_path / "weights")}
    shutil.rmtree(places["weights_only"] / "checkpoints")
    shutil.copytree(folders["weights_only"], places["weights_only"] / "checkpoints" / "step-00000004")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert message.format_map(places) in told([part.format_map(places) for part in arguments], capsys)
    assert before == {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
