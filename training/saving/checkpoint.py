"""Checkpoints: folders that are written whole or not at all, without pickle.

    weights.safetensors   for reading: averaged weights of the plain model; what the technique added is merged
    config.yaml           the resolved configuration
    tokenizer.json
    training.safetensors  for resuming: the weights themselves, the optimizer's tensors, random states; adapters apart
                          from the base, with their averages
    progress.json         step, place in the data, sums of the log

Reading needs only the first three. The shipped checkpoint has only these (its weights are in half precision).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from runtime.bundle.tokenizer import Tokenizer, load_tokenizer
from runtime.errors import BundleError, OmrError
from runtime.page.preparation import Preparation

from ..config import Config, load_config, save_config
from ..loading.batches import make_preparation
from ..model.music_trocr import MusicTrOCR

WEIGHTS, TRAINING, PROGRESS = "weights.safetensors", "training.safetensors", "progress.json"
KEPT = 2  # newest checkpoints of a run that stay
SHIPPED = Path(__file__).parents[1] / "checkpoints" / "pocket"


@dataclass(frozen=True)
class Loaded:
    """A model ready to read."""

    folder: Path
    config: Config
    tokenizer: Tokenizer
    preparation: Preparation
    model: MusicTrOCR


def build_model(
    config: Config, tokenizer: Tokenizer, preparation: Preparation, pretrained: bool = False
) -> MusicTrOCR:
    """The model of a configuration, with random weights (or a pretrained backbone)."""
    return MusicTrOCR(
        config.model.params, tokenizer.vocab_size, preparation.height, preparation.channels, pretrained
    )


def newest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder."""
    found = sorted((run / "checkpoints").glob("step-*"))
    return found[-1] if found else None


def way_on(run: Path) -> str:
    """Says where a run that stops is on disk."""
    checkpoint = newest(run)
    return f"--resume goes on from {checkpoint}" if checkpoint else "no checkpoint is written yet"


def find(path: Path) -> Path:
    """The checkpoint folder that `path` means: itself, the newest of a run, or the shipped one by its name.

    Raises:
        BundleError: there is none.
    """
    if str(path) == "pocket" and not path.exists():
        path = SHIPPED
    folder = path if (path / WEIGHTS).is_file() else newest(path)
    if folder is None:
        raise BundleError(
            f"{path} holds no checkpoint: expected a run's folder, "
            f"or one with {WEIGHTS}, config.yaml and tokenizer.json"
        )
    return folder


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, in single precision.

    Raises:
        BundleError: the file is damaged.
    """
    try:
        tensors = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors raises its own, bare errors
        raise BundleError(f"{folder / WEIGHTS} is damaged or missing: take another checkpoint") from error
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def load_checkpoint(path: Path) -> Loaded:
    """Read a checkpoint to read with, in evaluation mode, fp32, on the CPU.

    Raises:
        OmrError: it isn't one, or doesn't fit this version's model.
    """
    folder = find(path)
    config = load_config([folder / "config.yaml"])
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    preparation = make_preparation(config)
    model = build_model(config, tokenizer, preparation)
    try:
        model.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise BundleError(
            f"the weights in {folder} don't fit its config.yaml: {str(error).splitlines()[-1].strip()}"
        ) from error
    return Loaded(folder, config, tokenizer, preparation, model.eval())


def take_weights(model: MusicTrOCR, path: Path) -> list[str]:
    """Start from a checkpoint's weights where the shapes agree.

    Returns:
        Names of the model's tensors that were not taken.

    Raises:
        OmrError: none fits.
    """
    weights, own = read_weights(find(path)), model.state_dict()
    fitting = {
        name: value for name, value in weights.items() if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise OmrError(f"init_from {path}: no weight fits this model; give a checkpoint of the same kind")
    model.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def save_checkpoint(
    run: Path,
    config: Config,
    tokenizer: Tokenizer,
    weights: Mapping[str, Tensor],
    training: Mapping[str, Tensor],
    progress: Mapping[str, Any],
) -> Path:
    """Write a checkpoint under a temporary name, rename it, and delete older ones."""
    folder = run / "checkpoints" / f"step-{progress['step']:08d}"
    if folder.exists():
        return folder
    for left in folder.parent.glob(".unfinished-*"):  # by a process that was killed while it wrote
        shutil.rmtree(left, ignore_errors=True)
    unfinished = folder.with_name(f".unfinished-{os.getpid()}")
    unfinished.mkdir(parents=True)
    write_weights(unfinished / WEIGHTS, weights)
    write_weights(unfinished / TRAINING, training)
    save_config(config, unfinished / "config.yaml")
    tokenizer.save(unfinished / "tokenizer.json")
    (unfinished / PROGRESS).write_text(json.dumps(progress, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(folder)
    for old in sorted(folder.parent.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return folder


def write_weights(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as plain copies: in memory they may be channels last or share storage, which safetensors
    refuses."""
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, file)
    file.chmod(0o644)  # safetensors 0.8 makes it readable for its owner only


def read_training(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `save_checkpoint` wrote to go on with: tensors by the part before their first `/`, and the
    progress.

    Raises:
        BundleError: the checkpoint holds weights only.
    """
    progress = read_progress(folder)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in load_file(folder / TRAINING).items():
        group, rest = name.split("/", 1)
        groups.setdefault(group, {})[rest] = value
    return groups, progress


def read_progress(folder: Path) -> dict[str, Any]:
    """How far the run of a checkpoint is: `step` of `total`, and more.

    Raises:
        BundleError: the checkpoint holds weights only.
    """
    if not (folder / PROGRESS).is_file() or not (folder / TRAINING).is_file():
        raise BundleError(
            f"{folder} holds weights only, so training can't go on from it; "
            f"start a new run with training.init_from={folder}"
        )
    progress: dict[str, Any] = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    return progress


def random_states() -> dict[str, Tensor]:
    """States of PyTorch's generators (dropout draws from them)."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
