"""Training, top to bottom: settle the hardware, open the data, build the model, go through the steps, leave
a checkpoint.

Run: `omr-train configs/pocket.yaml data.dataset_id=DIR --out RUN`, and again with `--resume` after an
interruption. A run that was killed and resumed gives the same losses as one that was not.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from tqdm import tqdm

from . import losses
from .batches import Batch, Sample
from .checkpoint import newest
from .config import Config, save_config
from .data.dataset.hub import make_tokenizer
from .evaluate import evaluate
from .journal import Journal
from .optim import learning_rate_factor
from .order import Stream
from .precision import settle_device, settle_precision
from .record import record_end, record_start
from .run import Material, Run, build_run, open_material, restore, save, say
from .technique import get_technique


def train(config: Config, folder: Path) -> int:
    """Train until the last step, the time budget or a signal; goes on from the folder's newest checkpoint if
    it has one.

    Returns:
        Exit code: 0 done or out of time, 128 + signal when stopped.
    """
    began = time.monotonic()
    get_technique(config.technique)  # what can't be is refused before minutes go into opening data
    device = settle_device(config.hardware.device)
    hardware, reason = settle_precision(config.hardware, device)
    config = replace(config, hardware=hardware)
    say(f"computing on {reason}")
    torch.manual_seed(config.training.seed)
    torch.set_flush_denormal(True)  # denormal activations slow a CPU down tenfold
    cv2.setNumThreads(1)  # degrading runs between the steps; OpenCV's own threads would take cores from others
    half = hardware.precision if hardware.precision != "fp32" else "no"
    accelerator = Accelerator(mixed_precision=half, cpu=device.type == "cpu")

    tokenizer = make_tokenizer(config.data.tokenizer_id)
    material = open_material(config, tokenizer, accelerator.num_processes)
    run = build_run(config, folder, accelerator, tokenizer, material.plan)
    folder.mkdir(parents=True, exist_ok=True)
    save_config(config, folder / "config.yaml")
    loader = make_loader(run, material)
    if (checkpoint := newest(folder)) is not None:
        restore(run, checkpoint)
        loader = make_loader(run, material)
    record_start(run, material)
    journal = Journal(folder, run.step) if accelerator.is_main_process else None
    bar = progress(run, journal is None)
    training = config.training
    clock = Clock()
    with leaving_on_signal(run), bar:
        for batches in grouped(loader, training.gradient_accumulation_steps):
            if run.step >= run.total or run.stopped:
                break
            if training.max_minutes and time.monotonic() - began > 60 * training.max_minutes:
                say(f"max_minutes={training.max_minutes:g} are over at step {run.step}; --resume goes on")
                break
            clock.lines += take_step(run, batches)
            bar.update()
            if run.step % training.log_every == 0:
                write_log(run, journal, bar, clock)
            if training.eval_every and run.step % training.eval_every == 0 and run.step < run.total:
                check_reading(run, material, journal)
                clock.restart()
            due = training.checkpoint_steps and run.step % training.checkpoint_steps == 0
            if due or time.monotonic() - clock.saved > 60 * training.checkpoint_minutes:
                save(run)
                clock.saved = time.monotonic()

    say(f"checkpoint of step {run.step} of {run.total}: {save(run)}")
    if run.step >= run.total:
        check_reading(run, material, journal)
    record_end(run)
    if journal is not None:
        journal.close()
    accelerator.end_training()
    return 128 + run.stopped if run.stopped else 0


def progress(run: Run, silent: bool) -> tqdm:
    """A bar for a terminal; a line a minute for a log."""
    every = 1 if sys.stderr.isatty() else 60
    return tqdm(total=run.total, initial=run.step, unit="step", mininterval=every, disable=silent)


class Clock:
    """When the last log line and checkpoint were written, and the lines seen since the former."""

    def __init__(self) -> None:
        self.saved = time.monotonic()
        self.restart()

    def restart(self) -> None:
        self.since, self.lines = time.monotonic(), 0

    def rate(self) -> float:
        """Lines a second since the last restart; restarts."""
        rate = self.lines / max(1e-9, time.monotonic() - self.since)
        self.restart()
        return rate


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
    """Loading runs beside training: OpenCV's own threads would take its cores."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def grouped(loader: Iterable[Any], size: int) -> Iterator[list[Batch]]:
    """The batches of one step."""
    batches = iter(loader)
    while group := list(islice(batches, size)):
        yield group


@contextmanager
def leaving_on_signal(run: Run) -> Iterator[None]:
    """SIGTERM (a scheduler) and SIGINT (Ctrl-C) let the step end; then the run leaves with a checkpoint."""

    def stop(number: int, _frame: FrameType | None) -> None:
        say(f"{signal.Signals(number).name}: leaving after this step, with a checkpoint")
        run.stopped = number

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take_step(run: Run, batches: list[Batch]) -> int:
    """One update of the weights from one or more batches.

    Every token weighs the same, whichever batch or process it stands in: sums are divided by the counts of
    the whole step (a lesson's by the number of tokens), and multiplied by the number of processes because
    gradients are averaged over them.

    Returns:
        Lines learnt from in this process.
    """
    config, accelerator = run.config, run.accelerator
    weights = losses.weights(config) | run.lesson.weights
    batches = [batch.to(accelerator.device) for batch in batches]
    local = [losses.counts(batch, config) for batch in batches]
    counts = {
        name: torch.stack([part.get(name, part["token"]).to(accelerator.device) for part in local]).sum()
        for name in weights
    }
    if accelerator.num_processes > 1:
        counts = accelerator.reduce(counts, "sum")
    share = learning_rate_factor(config.training.scheduler, run.step, run.total)
    for group in run.optimizer.param_groups:
        group["lr"] = config.training.optimizer.learning_rate * share

    for number, batch in enumerate(batches, 1):
        with accelerator.no_sync(run.wrapped) if number < len(batches) else nullcontext():
            image = batch.image_BCHW.contiguous(memory_format=torch.channels_last)
            output = run.wrapped(image, batch.valid_width_B, batch.tokens_BN, "guide" in weights)
            sums = losses.sums(batch, output, run.model, config)
            with accelerator.autocast():
                sums |= run.lesson.sums(batch, output)
            parts = {name: value / counts[name].clamp(min=1) for name, value in sums.items()}
            loss = sum(weights[name] * value for name, value in parts.items()) * accelerator.num_processes
            accelerator.backward(loss)
        for name, value in [("loss", loss), *parts.items()]:
            run.sums[name] = run.sums.get(name, 0.0) + float(value.detach())

    norm = accelerator.clip_grad_norm_(run.model.parameters(), config.training.optimizer.clip_norm)
    run.sums["grad_norm"] = run.sums.get("grad_norm", 0.0) + float(norm)
    update(run)
    run.step += 1
    run.averages.update(run.step)
    run.place = batches[-1].place
    return sum(len(batch.names) for batch in batches)


def update(run: Run) -> None:
    """The optimizer's step; in fp16 through the scaler, which skips it where gradients overflowed."""
    if run.accelerator.scaler is None:
        run.optimizer.step()
    else:
        run.accelerator.scaler.step(run.optimizer)
        run.accelerator.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)


def write_log(run: Run, journal: Journal | None, bar: tqdm, clock: Clock) -> None:
    """Means since the last line; in a run of several processes those of the main one."""
    means = {name: value / run.config.training.log_every for name, value in run.sums.items()}
    run.sums = {}
    if journal is None:
        return
    rate = clock.rate() * run.accelerator.num_processes
    values = means | {
        "lr": run.optimizer.param_groups[0]["lr"],
        "samples_per_second": round(rate, 2),
        "epoch": run.place.epoch,
    }
    journal.write(run.step, values, "train")
    bar.set_postfix(loss=f"{means['loss']:.3f}", token=f"{means['token']:.3f}", lines_per_s=f"{rate:.1f}")


def check_reading(run: Run, material: Material, journal: Journal | None) -> None:
    """Read the checking lines freely with the averaged weights, clean and degraded."""
    if journal is None:
        return
    values: dict[str, float] = {}
    with run.averages.applied():
        for prefix, lines in material.checks.items():
            found, _ = evaluate(
                run.model, lines, run.tokenizer, precision=run.accelerator.autocast(), longest=16
            )
            values |= {f"{prefix}{name}": value for name, value in found.items()}
    journal.write(run.step, values, "eval")
    say(f"step {run.step}: " + ", ".join(f"{name} {value:.2f}" for name, value in values.items()))
