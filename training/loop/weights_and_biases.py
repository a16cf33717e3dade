"""Sends the log of a run to Weights & Biases, if `training.wandb` names a project."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from runtime.errors import MissingExtraError, OmrError

from ..config import Config

EXTRA = "wandb"


class WeightsAndBiases:
    """A run of the project. A resumed run continues it, and steps that it has are not sent again. `WANDB_MODE=offline`
    keeps it in the run's folder until `wandb sync`."""

    def __init__(self, run: Path, config: Config) -> None:
        import wandb

        known = run / "wandb.txt"
        name = known.read_text(encoding="utf-8") if known.exists() else None
        try:
            self.run = wandb.init(
                project=config.training.wandb, name=run.name, dir=str(run), id=name, resume="allow",
                config=asdict(config),
            )  # fmt: skip
        except Exception as error:  # its own errors, the network's, the account's
            raise OmrError(
                f"training.wandb={config.training.wandb}: Weights & Biases can't be reached "
                f"({type(error).__name__}): run `wandb login`, set WANDB_MODE=offline, or leave training.wandb empty"
            ) from error
        known.write_text(self.run.id, encoding="utf-8")

    def write(self, step: int, values: dict[str, float], group: str) -> None:
        self.run.log({f"{group}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self.run.finish()


def check_installed(config: Config) -> None:
    """Refuse a log that can't be kept.

    Raises:
        MissingExtraError: Weights & Biases isn't installed.
    """
    if config.training.wandb and find_spec("wandb") is None:
        raise MissingExtraError("training.wandb needs wandb: pip install -e '.[wandb]', or leave training.wandb empty")
