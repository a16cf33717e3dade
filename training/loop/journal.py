"""The log of a run: `metrics.jsonl`, one object a line, and the same for TensorBoard and, if the configuration names a
project, for Weights & Biases.

    a logged step    step, loss and its parts, grad_norm, lr, steps_per_second, samples_per_second, tokens_per_second,
                     peak_rss_mb (of the main process), peak_vram_mb (on a GPU: what PyTorch gave out), epoch,
                     skipped_steps; in fp16 overflows and loss_scale
    an epoch's end   step, epoch, epoch_seconds and epoch_steps: training alone, in this process; the last one of a
                     run may be cut short
    a reading        step, ser, cer, ...
"""

from __future__ import annotations

import atexit
import json
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch.utils.tensorboard import SummaryWriter

from ..config import Config
from .weights_and_biases import WeightsAndBiases


class Board(Protocol):
    """Where numbers are drawn."""

    def write(self, step: int, values: dict[str, float], group: str) -> None:
        """Show the values of a step, each under `group`."""

    def close(self) -> None:
        """Write what is left."""


class TensorBoard:
    """Files for `tensorboard --logdir RUN`."""

    def __init__(self, run: Path, step: int) -> None:
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float], group: str) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        self.writer.close()


class Journal:
    """Appends what was measured at a step.

    Args:
        run: folder of the run.
        step: last step that counts. What an interrupted run logged after it is dropped, because it will be logged
            again.
        config: of the run.
    """

    def __init__(self, run: Path, step: int, config: Config) -> None:
        self.file = run / "metrics.jsonl"
        kept = [line for line in self._lines() if line["step"] <= step]
        unfinished = self.file.with_suffix(".tmp")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        unfinished.rename(self.file)
        self.boards: list[Board] = [TensorBoard(run, step)]
        if config.training.wandb:
            self.boards.append(WeightsAndBiases(run, config))
        atexit.register(self.close)  # a run that stops with an error shows what it logged, too

    def _lines(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        lines = []
        for text in self.file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:  # cut off while it was written
                break
        return lines

    def write(self, step: int, values: dict[str, float], group: str) -> None:
        """Write one line. On a board each value appears under `group`."""
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, **values}) + "\n")
        for board in self.boards:
            board.write(step, values, group)

    def close(self) -> None:
        atexit.unregister(self.close)
        for board in self.boards:
            board.close()
        self.boards = []


class Seen(NamedTuple):
    """What a step learnt from, in all processes."""

    lines: int
    tokens: int


class Clock:
    """How fast a run is, and when it was saved. Reading the checking lines and saving are not counted."""

    def __init__(self, epoch: int) -> None:
        self.saved = self.last = time.monotonic()
        self.epoch, self.epoch_seconds, self.epoch_steps = epoch, 0.0, 0
        self.seconds, self.steps, self.lines, self.tokens = 0.0, 0, 0, 0

    def skip(self) -> None:
        """Leave out the time since the last step, which wasn't training."""
        self.last = time.monotonic()

    def saved_now(self) -> None:
        """A checkpoint was written since the last step."""
        self.saved = self.last = time.monotonic()

    def count(self, seen: Seen, epoch: int) -> dict[str, float]:
        """A step of an epoch is over.

        Returns:
            What is known of the epoch before, if this is the first step of another.
        """
        ended: dict[str, float] = {}
        if epoch != self.epoch:
            ended = self.ended()
            self.epoch, self.epoch_seconds, self.epoch_steps = epoch, 0.0, 0
        now = time.monotonic()
        self.seconds, self.epoch_seconds = self.seconds + now - self.last, self.epoch_seconds + now - self.last
        self.steps, self.epoch_steps = self.steps + 1, self.epoch_steps + 1
        self.lines, self.tokens = self.lines + seen.lines, self.tokens + seen.tokens
        self.last = now
        return ended

    def ended(self) -> dict[str, float]:
        """For the log: the epoch that the steps were counted in; nothing without steps."""
        known = {"epoch": self.epoch, "epoch_seconds": round(self.epoch_seconds, 3), "epoch_steps": self.epoch_steps}
        return known if self.epoch_steps else {}

    def rates(self) -> dict[str, float]:
        """Steps, lines and tokens a second since this was asked last."""
        seconds = max(1e-9, self.seconds)
        found = {
            "steps_per_second": self.steps / seconds,
            "samples_per_second": self.lines / seconds,
            "tokens_per_second": self.tokens / seconds,
        }
        self.seconds, self.steps, self.lines, self.tokens = 0.0, 0, 0, 0
        return {name: float(f"{value:.4g}") for name, value in found.items()}
