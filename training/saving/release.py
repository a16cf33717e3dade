"""Writes a checkpoint as it is shipped: weights for reading, in half precision, and the files that say how they were
made.

Run: `omr-train release RUN --out training/checkpoints/pocket`.

    weights.safetensors   averaged weights, fp16
    config.yaml, tokenizer.json
    metrics.jsonl         the run's log up to this step
    recipe.json           of the data set, where there is one
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from runtime.bundle.tokenizer import load_tokenizer
from runtime.errors import BundleError

from ..config import load_config, save_config
from .checkpoint import PROGRESS, WEIGHTS, find, load_checkpoint, read_weights, write_weights

LARGEST = 65504.0  # that fp16 holds
OWN = ("MODEL_CARD.md",)  # written by people; a new release keeps them


def release(run: Path, out: Path) -> Path:
    """Write the newest checkpoint of a run (or one checkpoint) to `out`, whole or not at all.

    Args:
        run: a run's folder or a checkpoint.
        out: new, empty, or an older release, which is replaced; its model card stays.

    Raises:
        BundleError: no checkpoint, or `out` holds something else.
    """
    source = find(run)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not releasable(out)):
        raise BundleError(f"{out} exists and holds no released checkpoint; give a new or an empty folder with --out")
    config = load_config([source / "config.yaml"])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        write_weights(new / WEIGHTS, {name: halved(value) for name, value in read_weights(source).items()})
        save_config(config, new / "config.yaml")
        load_tokenizer(source / "tokenizer.json").save(new / "tokenizer.json")
        (new / "metrics.jsonl").write_text("".join(log(source)), encoding="utf-8")
        recipe = Path(config.data.dataset_id) / "recipe.json"
        if config.data.dataset_id and recipe.is_file():
            shutil.copyfile(recipe, new / "recipe.json")
        load_checkpoint(new)  # it opens, and its weights fit
        for name in OWN:
            if (out / name).is_file():
                shutil.copyfile(out / name, new / name)
        if out.exists():
            os.replace(out, old)
        os.replace(new, out)
    return out


def releasable(folder: Path) -> bool:
    """Whether a folder holds a released checkpoint, or nothing but what a person wrote for one."""
    names = {path.name for path in folder.iterdir()}
    return (WEIGHTS in names and PROGRESS not in names) or names <= set(OWN)


def halved(value: Tensor) -> Tensor:
    """Matrices and kernels in fp16. Vectors are few and stay: variances may be too small for fp16."""
    fits = value.is_floating_point() and value.ndim > 1 and bool(value.abs().max() <= LARGEST)
    return value.to(torch.float16) if fits else value


def log(checkpoint: Path) -> list[str]:
    """Lines of the run's log up to the checkpoint's step."""
    places = [checkpoint / "metrics.jsonl", checkpoint.parent.parent / "metrics.jsonl"]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return []
    progress = checkpoint / PROGRESS
    step = json.loads(progress.read_text(encoding="utf-8"))["step"] if progress.is_file() else float("inf")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]
    return [line for line in lines if json.loads(line)["step"] <= step]
