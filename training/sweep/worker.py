"""Does one run of a sweep in a process of its own: trains to the last step, then evaluates. Skips what is done already.

python -m training.sweep.worker CONFIG RUN SPLIT LIMIT PRESET[,PRESET]      (a preset may be empty: clean)
"""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.errors import run_command
from training.commands import evaluate_command, train_command
from training.config import load_config
from training.results.runs import read_run, step_of
from training.saving.checkpoint import newest


def main() -> int:
    config, folder, split, limit, presets = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6]
    settings = load_config([config])
    if not trained(folder, settings.training.max_steps):
        code = train_command([str(config), "--out", str(folder), "--resume"])
        if code or not trained(folder, settings.training.max_steps):
            return code
    for preset in presets.split(","):
        if not evaluated(folder, split, preset):
            options = ["--split", split, "--limit", limit, "--degrade", preset, "--device", settings.hardware.device]
            evaluate_command([str(folder), settings.data.dataset_id, *options])
    return 0


def trained(folder: Path, steps: int) -> bool:
    """Whether a run's last step is saved and was checked: its last check ends it."""
    checkpoint = newest(folder)
    if checkpoint is None or int(checkpoint.name.removeprefix("step-")) < steps:
        return False
    return any(row["step"] == steps for row in read_run(folder).checks)


def evaluated(folder: Path, split: str, preset: str) -> bool:
    """Whether the newest checkpoint has read a split under a degradation."""
    run = read_run(folder)
    return any(
        row["split"] == split and row["degrade"] == preset and step_of(row) == run.step for row in run.evaluations
    )


def finished(folder: Path, steps: int, split: str, presets: tuple[str, ...]) -> bool:
    """Whether nothing is left to do for a run."""
    return trained(folder, steps) and all(evaluated(folder, split, preset) for preset in presets)


if __name__ == "__main__":
    sys.exit(run_command(main))
