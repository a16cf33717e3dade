"""Training from top to bottom: choose the hardware, open the data, build the model, go through the steps, write a
checkpoint.

Run: `omr-train configs/pocket.yaml data.dataset_id=DIR --out RUN`, and again with `--resume` after an
interruption. A run that was killed and resumed gives the same losses as one that was not.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..config import Config, save_config
from ..data.dataset.hub import make_tokenizer
from ..evaluation.evaluate import evaluate
from ..hardware.memory import peaks
from ..hardware.precision import settle_device, settle_precision
from ..hardware.processes import OWN_STATISTICS, from_main, highest, join, share_statistics, totals
from ..hardware.sharding import check_sharding, gathered_number
from ..loading.batches import Batch, Sample
from ..loading.order import Stream
from ..messages import say
from ..saving.checkpoint import newest
from . import guard, losses
from .faults import marked
from .journal import Clock, Journal, Seen
from .optimizer import learning_rate_factor
from .out_of_memory import within_memory
from .run import Material, Run, averaged, build_run, open_material, restore, save
from .run_record import record_end, record_start
from .technique import get_technique
from .weights_and_biases import check_installed


def train(config: Config, folder: Path) -> int:
    """Train until the last step, the time budget or a signal. Continues from the folder's newest checkpoint, if there
    is one.

    Returns:
        Exit code: 0 done or out of time, 128 + signal when stopped.
    """
    began = time.monotonic()
    get_technique(config.technique)  # refuse impossible settings before opening the data takes minutes
    check_installed(config)
    config, accelerator = settle_hardware(config)
    torch.manual_seed(config.training.seed)
    tokenizer = make_tokenizer(config.data.tokenizer_id)
    material = open_material(config, tokenizer, accelerator.num_processes)
    run = build_run(config, folder, accelerator, tokenizer, material.plan)
    if (checkpoint := newest(folder)) is not None:
        restore(run, checkpoint)
    write_start(run, material)  # once the checkpoint has been found to fit the configuration
    loader = make_loader(run, material)
    journal = Journal(folder, run.step, config) if accelerator.is_main_process else None
    bar = progress(run, journal is None)
    training = config.training
    clock = Clock(run.place.epoch)
    with leaving_on_signal(run), marked(folder if journal else None), bar:
        for batches in grouped(loader, training.gradient_accumulation_steps):
            late = 0 < 60 * training.max_minutes < time.monotonic() - began
            due = time.monotonic() - clock.saved > 60 * training.checkpoint_minutes
            stopped, late, due = highest(accelerator, run.stopped, late, due)
            run.stopped = run.stopped or int(stopped)
            if run.step >= run.total or stopped:
                break
            if late:
                say(f"max_minutes={training.max_minutes:g} are over at step {run.step}; --resume goes on")
                break
            seen = within_memory(run, batches, material.plan.widest(), take_step, learn)
            write_epoch(journal, run.step - 1, clock.count(seen, run.place.epoch))
            bar.update()
            if run.step % training.log_every == 0:
                write_log(run, journal, bar, clock)
            if training.eval_every and run.step % training.eval_every == 0 and run.step < run.total:
                check_reading(run, material, journal)
                clock.skip()
            if due or (training.checkpoint_steps and run.step % training.checkpoint_steps == 0):
                save(run)
                clock.saved_now()
        write_epoch(journal, run.step, clock.ended())
        say(f"checkpoint of step {run.step} of {run.total}: {save(run)}")
    if run.step >= run.total:
        check_reading(run, material, journal)
    record_end(run)
    if journal is not None:
        journal.close()
    accelerator.end_training()
    return 128 + run.stopped if run.stopped else 0


def settle_hardware(config: Config) -> tuple[Config, Accelerator]:
    """Join the other processes, if there are any, and settle on what all compute with.

    Returns:
        The configuration with what was settled.
    """
    device = settle_device(config.hardware.device)
    processes = join(device)
    hardware, reason = from_main(settle_precision(config.hardware, device))
    check_sharding(hardware, processes)
    say(f"computing on {reason}" + f"; {processes} processes" * (processes > 1))
    torch.set_flush_denormal(True)  # denormal activations slow a CPU down tenfold
    # Degrading runs between the steps; OpenCV's own threads would take cores from others.
    cv2.setNumThreads(1)
    half = hardware.precision if hardware.precision != "fp32" else "no"
    accelerator = Accelerator(mixed_precision=half, cpu=device.type == "cpu", kwargs_handlers=[OWN_STATISTICS])
    return replace(config, hardware=hardware), accelerator


def write_start(run: Run, material: Material) -> None:
    """Write the folder of a run before the first step."""
    if run.accelerator.is_main_process:
        run.folder.mkdir(parents=True, exist_ok=True)
        save_config(run.config, run.folder / "config.yaml")
    record_start(run, material)


def progress(run: Run, silent: bool) -> tqdm:
    """A bar for a terminal; a line a minute for a log."""
    every = 1 if sys.stderr.isatty() else 60
    return tqdm(total=run.total, initial=run.step, unit="step", mininterval=every, disable=silent)


def make_loader(run: Run, material: Material) -> DataLoader[Sample]:
    """Batches from the run's place in the data on, without end."""
    stream = Stream(material.plan, run.place, run.accelerator.process_index, run.accelerator.num_processes)
    # A generator of its own: the loader draws a seed from it, which would move the one that dropout uses.
    return DataLoader(
        material.lines,
        batch_sampler=stream,
        collate_fn=material.lines.collate,
        num_workers=run.config.data.num_workers,
        pin_memory=run.accelerator.device.type == "cuda",
        generator=torch.Generator(),
        worker_init_fn=one_thread,
    )


def one_thread(_worker: int) -> None:
    """Loading and training run at the same time, so OpenCV's own threads would take cores from training."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def grouped(loader: Iterable[Any], size: int) -> Iterator[list[Batch]]:
    """The batches of one step."""
    batches = iter(loader)
    while group := list(islice(batches, size)):
        yield group


@contextmanager
def leaving_on_signal(run: Run) -> Iterator[None]:
    """On SIGTERM and SIGUSR1 (from a scheduler), SIGINT (Ctrl-C) and SIGHUP (a closed terminal) the run ends its step,
    writes a checkpoint and stops."""

    def stop(number: int, _frame: FrameType | None) -> None:
        if not run.stopped:
            say(f"{signal.Signals(number).name}: leaving after this step, with a checkpoint")
            run.stopped = number

    numbers = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup the run must continue
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take_step(run: Run, batches: Sequence[Batch]) -> Seen:
    """One update of the weights from one or more batches, unless the guard finds it bad.

    Every token counts the same, whichever batch or process it is in: sums are divided by the counts of the whole step
    (a lesson's by the number of tokens), and multiplied by the number of processes, because gradients are averaged over
    them.

    Returns:
        What was learnt from.
    """
    config, accelerator = run.config, run.accelerator
    batches = [batch.to(accelerator.device) for batch in batches]
    local = [losses.counts(batch, config) for batch in batches]
    counts = {
        name: torch.stack([part.get(name, part["token"]).to(accelerator.device) for part in local]).sum()
        for name in losses.weights(config) | run.lesson.weights
    }
    lines = sum(len(batch.names) for batch in batches)
    counts["lines"] = torch.tensor(float(lines), device=accelerator.device)
    if accelerator.num_processes > 1:
        counts = accelerator.reduce(counts, "sum")
    share = learning_rate_factor(config.training.scheduler, run.step, run.total)
    for group in run.optimizer.param_groups:
        group["lr"] = config.training.optimizer.learning_rate * share

    before, found = guard.buffers_of(run.model), []
    for number, batch in enumerate(batches, 1):
        with accelerator.no_sync(run.wrapped) if number < len(batches) else nullcontext():
            found.append(learn(run, batch, counts))
    if accelerator.scaler is not None:
        accelerator.scaler.unscale_(run.optimizer)  # accelerate does so for optimizers that it has prepared only
    norm = gathered_number(accelerator.clip_grad_norm_(run.model.parameters(), config.training.optimizer.clip_norm))
    parts = [dict(zip(part, torch.stack(list(part.values())).tolist(), strict=True)) for part in found]
    good = guard.judge(run, batches, parts, norm, before)
    if good:
        sums = {name: sum(part[name] for part in parts) for name in parts[0]}
        for name, value in (totals(accelerator, sums) | {"grad_norm": norm}).items():
            run.sums[name] = run.sums.get(name, 0.0) + value
    update(run, good)
    share_statistics(accelerator, run.model)
    run.step += 1
    if good:
        run.averages.update(run.step)
    run.place = batches[-1].place
    return Seen(int(counts["lines"]), int(counts["token"]))


def learn(run: Run, batch: Batch, counts: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Add a batch's gradients.

    Args:
        counts: what each part of the loss is divided by; by default those of this batch.

    Returns:
        The loss and its parts.
    """
    config, accelerator = run.config, run.accelerator
    weights = losses.weights(config) | run.lesson.weights
    if counts is None:
        own = losses.counts(batch, config)
        counts = {name: own.get(name, own["token"]) for name in weights}
    image = batch.image_BCHW.contiguous(memory_format=torch.channels_last)
    output = run.wrapped(image, batch.valid_width_B, batch.tokens_BN, "guide" in weights)
    sums = losses.sums(batch, output, run.model, config)
    with accelerator.autocast():
        sums |= run.lesson.sums(batch, output)
    parts = {name: value / counts[name].clamp(min=1) for name, value in sums.items()}
    loss = sum(weights[name] * value for name, value in parts.items())
    accelerator.backward(loss * accelerator.num_processes)
    return {name: value.detach() for name, value in [("loss", loss), *parts.items()]}


def update(run: Run, good: bool) -> None:
    """The optimizer's step after a good one; in fp16 through the scaler, which lowers its scale where gradients
    overflowed."""
    scaler = run.accelerator.scaler
    if good:
        run.optimizer.step() if scaler is None else scaler.step(run.optimizer)
    if scaler is not None:
        scaler.update()
    run.optimizer.zero_grad(set_to_none=True)


def write_log(run: Run, journal: Journal | None, bar: tqdm, clock: Clock) -> None:
    """Means over the good steps since the last line, over all processes."""
    sums, run.sums = run.sums, {}
    counted = {"skipped_steps": int(sums.pop("skipped_steps", 0))}
    scaler = run.accelerator.scaler
    if scaler is not None:
        counted |= {"overflows": int(sums.pop("overflows", 0)), "loss_scale": scaler.get_scale()}
    if journal is None:
        return
    good = run.config.training.log_every - counted["skipped_steps"] - counted.get("overflows", 0)
    means = {name: value / good for name, value in sums.items()}
    rates = clock.rates()
    values = means | {"lr": run.optimizer.param_groups[0]["lr"]} | rates | peaks(run.accelerator.device)
    journal.write(run.step, values | {"epoch": run.place.epoch} | counted, "train")
    shown = {name: f"{means[name]:.3f}" for name in ("loss", "token") if name in means}
    bar.set_postfix(shown, lines_per_s=f"{rates['samples_per_second']:.1f}")


def write_epoch(journal: Journal | None, step: int, ended: dict[str, float]) -> None:
    """An epoch whose last step was `step`; nothing for none."""
    if journal is not None and ended:
        journal.write(step, ended, "epoch")


def check_reading(run: Run, material: Material, journal: Journal | None) -> None:
    """Read the checking lines freely with the averaged weights, clean and degraded."""
    values: dict[str, float] = {}
    with averaged(run) as model:
        if journal is None:
            return
        for prefix, lines in material.checks.items():
            found, _ = evaluate(
                model, lines, run.tokenizer, precision=run.accelerator.autocast(), longest=16
            )
            values |= {f"{prefix}{name}": value for name, value in found.items()}
    journal.write(run.step, values, "eval")
    say(f"step {run.step}: " + ", ".join(f"{name} {value:.2f}" for name, value in values.items()))
