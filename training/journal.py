"""The log of a run: `metrics.jsonl`, one object a line, and the same for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class Journal:
    """Appends what was measured at a step.

    Args:
        run: folder of the run.
        step: last step that counts; what an interrupted run logged after it is dropped, since it comes again.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.file = run / "metrics.jsonl"
        kept = [line for line in self._lines() if line["step"] <= step]
        unfinished = self.file.with_suffix(".tmp")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        unfinished.rename(self.file)
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

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
        """One line; on TensorBoard each value stands under `group`."""
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        self.board.close()
