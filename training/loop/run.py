"""A run in memory and on disk: builds it, saves it in a checkpoint, and restores it from one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from runtime.bundle.tokenizer import Tokenizer
from runtime.errors import BundleError, InputError

from ..config import Config
from ..data.dataset.hub import open_split
from ..data.dataset.labels import label_form
from ..data.dataset.staff_space import warn_of_small_staves
from ..hardware.processes import all_random_states, check_step_size, own_randomness, take_random_states
from ..hardware.sharding import gathered, shard, split_like
from ..loading.batches import Lines, make_preparation
from ..loading.order import Place, Plan
from ..messages import say
from ..model.activation_checkpointing import checkpoint_activations
from ..model.backbone import get_backbone
from ..model.music_trocr import MusicTrOCR
from ..saving.checkpoint import (
    build_model,
    load_checkpoint,
    read_training,
    read_weights,
    save_checkpoint,
    take_weights,
)
from .optimizer import AveragedWeights, learning_rate_factor, make_optimizer, named_states, restore_states
from .parameter_counts import counts_of
from .technique import Lesson, Technique, get_technique


@dataclass
class Run:
    """Everything a step changes, and what it needs.

    Attributes:
        technique: which weights are trained, and how.
        model: as the technique left it; its weights are the ones in training.
        lesson: the technique's own losses.
        wrapped: what is called: autocast, and gradients shared between processes.
        reader: the whole model, for reading: `model` itself, or, if that is split, a copy in the main process.
        total: steps of the whole run.
        step: steps done.
        place: place of the next batch in the data.
        sums: of the losses since the last line of the log.
        stopped: the signal that asked to leave, 0 for none.
        skipped_in_a_row: steps without an update up to this one, since loss or gradients weren't finite.
    """

    config: Config
    folder: Path
    accelerator: Accelerator
    technique: Technique
    model: MusicTrOCR
    lesson: Lesson
    wrapped: nn.Module
    reader: MusicTrOCR
    optimizer: torch.optim.Optimizer
    averages: AveragedWeights
    tokenizer: Tokenizer
    total: int
    step: int = 0
    place: Place = Place()
    sums: dict[str, float] = field(default_factory=dict)
    stopped: int = 0
    skipped_in_a_row: int = 0


@dataclass(frozen=True)
class Material:
    """What a run learns from: lines, how they become batches, and named sets of lines for checks."""

    lines: Lines
    plan: Plan
    checks: dict[str, Lines]


def open_material(config: Config, tokenizer: Tokenizer, processes: int) -> Material:
    """Open the data set; lines that the model can't hold are left out and counted.

    Raises:
        InputError: no line is left.
    """
    data, seed = config.data, config.training.seed
    preparation = make_preparation(config)
    stride = get_backbone(config.model.params.vision_model_name).stride
    labels = label_form(data.labels, tokenizer)
    rows = open_split(data.dataset_id, "train", labels)
    warn_of_small_staves(rows, preparation)
    if data.train_limit:
        rows = rows.select(range(min(data.train_limit, len(rows))))
    lines = Lines(rows, preparation, tokenizer, stride, seed, data.degrade, data.degrade_share)
    widths = lines.widths()
    longest = config.model.params.max_seq_len
    left_out = {
        f"longer than {longest} tokens": set(lines.token_counts_over(longest - 1)),
        f"wider than {preparation.width_buckets[-1]} px": {
            row for row, w in enumerate(widths) if w > preparation.width_buckets[-1]
        },
    }
    kept = [row for row in range(len(rows)) if not any(row in rows_ for rows_ in left_out.values())]
    for why, rows_ in left_out.items():
        if rows_:
            say(f"left out of training: {len(rows_)} lines {why}")
    if not kept:
        wanted = "raise max_seq_len or width_buckets"
        raise InputError(f"data set {data.dataset_id!r} has no line this model can hold: {wanted}")
    if len(kept) < len(rows):
        lines.rows = rows.select(kept)
    plan = Plan.of(config, [widths[row] for row in kept], preparation, processes)
    plan.check()

    val = open_split(data.dataset_id, "val", labels)
    val = val.select(range(min(len(val), data.eval_limit)))
    checks = {"": Lines(val, preparation, tokenizer, stride, seed)}
    if data.degrade:
        checks["degraded_"] = Lines(val, preparation, tokenizer, stride, seed, data.degrade)
    say(f"data: {len(kept)} lines to learn from, about {plan.steps()} steps an epoch; {len(val)} to check on")
    return Material(lines, plan, checks)


def build_run(
    config: Config, folder: Path, accelerator: Accelerator, tokenizer: Tokenizer, plan: Plan
) -> Run:
    """Model, optimizer and averages at step 0, on the device."""
    params, training = config.model.params, config.training
    preparation = make_preparation(config)
    model = build_model(config, tokenizer, preparation, params.pretrained and not training.init_from)
    if training.init_from:
        missing = take_weights(model, Path(training.init_from))
        say(f"weights from {training.init_from}; new: {', '.join(missing) or 'none'}")
    technique = adapt(model, config)
    lesson = technique.lesson(config, tokenizer, accelerator.device, load_checkpoint)
    # Measured on Zen 4 and reported for a ResNet-50: convolutions run 1.1x faster with channels last.
    model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    total = training.max_steps or max(1, round(training.epochs * plan.steps()))
    learning_rate_factor(training.scheduler, 0, total)  # an unknown schedule is refused before anything is written
    say(f"{total} steps")
    run = put_together(config, folder, accelerator, technique, model, lesson, tokenizer, total)
    own_randomness(accelerator, training.seed)
    return run


def put_together(
    config: Config,
    folder: Path,
    accelerator: Accelerator,
    technique: Technique,
    model: MusicTrOCR,
    lesson: Lesson,
    tokenizer: Tokenizer,
    total: int,
) -> Run:
    """What a run needs around a model that is on the device, adapted."""
    checkpoint_activations(model, config.hardware.gradient_checkpointing)
    reader, split = model, config.hardware.sharding == "fsdp"
    if split:
        reader = copy.deepcopy(model).cpu()
        shard(model, accelerator.device)
    optimizer = make_optimizer(model, config.training.optimizer)
    # A split model shares its gradients by itself, so Accelerate only adds autocast.
    wrapped = accelerator.prepare_model(model, evaluation_mode=split)
    averages = AveragedWeights(model, config.training.optimizer.ema_decay)
    return Run(
        config, folder, accelerator, technique, model, lesson, wrapped, reader, optimizer, averages, tokenizer, total
    )


def adapt(model: MusicTrOCR, config: Config) -> Technique:
    """Let the configuration's technique change a model, and say what it has and what is trained."""
    params, total = config.model.params, counts_of(model).total
    say(f"model: {total / 1e6:.2f}M parameters, {params.vision_model_name}, {params.memory} memory")
    technique = get_technique(config.technique)
    done = technique.apply(model, config)
    model.train()
    trained = counts_of(model).trainable
    say(f"technique {config.technique.name}: {done}; {trained:,} parameters are trained ({trained / total:.2%})")
    return technique


def save(run: Run) -> Path:
    """Write a checkpoint of this moment; every process must call it, the main one writes."""
    tensors = {f"weights/{name}": value for name, value in run.model.state_dict().items()}
    tensors |= {f"optimizer/{name}": value for name, value in named_states(run.optimizer, run.model).items()}
    tensors |= {f"averages/{name}": value for name, value in run.averages.average.items()}
    tensors = gathered(tensors)
    tensors |= {f"random/{name}": value for name, value in all_random_states(run.accelerator).items()}
    scaler = run.accelerator.scaler
    progress = {
        "step": run.step, "total": run.total, "place": list(run.place), "sums": run.sums,
        "batches": run.config.training.gradient_accumulation_steps * run.accelerator.num_processes,
        "scaler": scaler.state_dict() if scaler is not None else {}, "torch": torch.__version__,
        "skipped_in_a_row": run.skipped_in_a_row,
    }  # fmt: skip
    folder = run.folder / "checkpoints" / f"step-{run.step:08d}"
    weights = weights_to_read(run)
    if run.accelerator.is_main_process:
        # The weights for reading are merged, so a technique's own tensors aren't among them.
        known = {name for name, value in weights.items() if is_equal(tensors.get(f"averages/{name}"), value)}
        tensors = {key: value for key, value in tensors.items() if key not in {f"averages/{name}" for name in known}}
        folder = save_checkpoint(run.folder, run.config, run.tokenizer, weights, tensors, progress)
    run.accelerator.wait_for_everyone()
    return folder


def is_equal(first: Tensor | None, second: Tensor) -> bool:
    """Whether a tensor exists and equals another one on the CPU."""
    return first is not None and torch.equal(first.cpu(), second)


@contextmanager
def averaged(run: Run) -> Iterator[MusicTrOCR]:
    """The whole model with averaged weights, in evaluation mode, while the block runs.

    Every process must enter; where the model is split, only the main one's has the weights.
    """
    if run.reader is run.model:
        with run.averages.applied():
            yield run.model
        return
    state = gathered(run.model.state_dict() | run.averages.average)
    if state:
        run.reader.load_state_dict(state)
        run.reader.to(run.accelerator.device).eval()
    yield run.reader
    run.reader.to("cpu")


def weights_to_read(run: Run) -> dict[str, Tensor]:
    """The averaged weights of the plain model."""
    with averaged(run) as model:
        if not run.accelerator.is_main_process:
            return {}
        return {name: value.detach().cpu().clone() for name, value in run.technique.merged(model).items()}


def restore(run: Run, folder: Path) -> None:
    """Bring a fresh run to where a checkpoint left off. Random states come last, because building changes them.

    Raises:
        BundleError: the checkpoint holds other tensors than the run's configuration asks for.
        ConfigError: its steps held another number of batches.
    """
    tensors, progress = read_training(folder)
    accumulation, processes = run.config.training.gradient_accumulation_steps, run.accelerator.num_processes
    check_step_size(progress.get("batches", accumulation), accumulation, processes)
    own = run.model.state_dict()
    try:
        weights = {name: split_like(value, own.get(name, value)) for name, value in tensors["weights"].items()}
        run.model.load_state_dict(weights)
    except RuntimeError as error:
        raise BundleError(
            f"{folder} doesn't fit the run's sizes and technique ({str(error).splitlines()[-1].strip()}): "
            f"leave them as they were, or start a new run with training.init_from={folder}"
        ) from error
    averages = read_weights(folder) | tensors.get("averages", {})
    for name, value in run.averages.average.items():
        value.copy_(split_like(averages[name], value))
    restore_states(run.optimizer, run.model, tensors.get("optimizer", {}))
    run.step, run.place, run.sums = progress["step"], Place(*progress["place"]), progress["sums"]
    run.skipped_in_a_row = progress.get("skipped_in_a_row", 0)  # not in checkpoints of earlier versions
    if run.accelerator.scaler is not None and progress["scaler"]:
        run.accelerator.scaler.load_state_dict(progress["scaler"])
    take_random_states(run.accelerator, tensors["random"], run.config.training.seed + run.step)
    before = sum(name.endswith("cpu") for name in tensors["random"])
    if before != processes:
        say(f"the checkpoint was written by {before} processes, now there are {processes}: dropout draws otherwise")
    say(f"going on from step {run.step}: {folder}")
