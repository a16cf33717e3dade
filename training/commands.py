"""What `omr-train` does with a run and its checkpoints: train, evaluate, release, and tell whether it is finished."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from runtime.errors import ConfigError, OmrError

from .config import Config, keys, load_config
from .loop.faults import told_in_a_sentence
from .messages import say

USAGE = """omr-train CONFIG [CONFIG ...] [key=value ...] [--out RUN] [--resume]
       omr-train evaluate CHECKPOINT DATASET [...]
       omr-train release RUN --out DIR
       omr-train finished RUN
       omr-train results RUN... --out DIR
       omr-train sweep SWEEP --out DIR [...]
       omr-train plan CONFIG [key=value ...] --vram GB [...]"""


def train_command(arguments: Sequence[str]) -> int:
    """Start or continue a run."""
    parser = argparse.ArgumentParser(
        prog="omr-train",
        usage=USAGE,
        description="Train a model. Where configurations differ, the later one wins; key=value wins over all.",
        epilog=f"keys (the end of a key is enough if only one key has it): {', '.join(keys())}",
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML files and key=value overrides")
    parser.add_argument(
        "--out", type=Path, help="folder of the run (default: runs/NAME, after the first configuration)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out; if the folder is empty, start one"
    )
    options = parser.parse_intermixed_args(arguments)
    files = [Path(name) for name in options.configs if "=" not in name]
    overrides = [name for name in options.configs if "=" in name]
    if not files:
        raise ConfigError("no configuration is given; start with configs/pocket.yaml")
    folder = options.out or Path("runs") / files[0].stem
    config = load_config(files, overrides)
    begun = folder / "config.yaml"
    if begun.exists() and not options.resume:
        raise OmrError(
            f"{folder} holds a run already: go on with --resume, or give another folder with --out"
        )
    if begun.exists():
        config = resumed_config(begun, overrides)

    from .loop.train import train

    with told_in_a_sentence("lower data.num_workers or data.eval_limit, or choose a smaller model"):
        return train(config, folder)


def resumed_config(begun: Path, overrides: Sequence[str]) -> Config:
    """The run's own configuration with the overrides; the files are not read again."""
    before, config = load_config([begun]), load_config([begun], overrides)
    say(f"configuration: {begun}, as the run began")
    for key in keys():
        old, new = value_of(before, key), value_of(config, key)
        if old != new:
            say(f"changed since the run began: {key} {old} -> {new}")
    return config


def value_of(config: Config, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="omr-train evaluate",
        description="Read the pictures of a split without seeing their labels, in fp32, and count errors. The last "
        "line is JSON.",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a run, a checkpoint, or pocket"
    )
    parser.add_argument("dataset", metavar="DATASET", help="folder that omr-data made, or an id on the hub")
    parser.add_argument("--split", default="test", help="train, val or test (default: test)")
    parser.add_argument("--limit", type=int, default=0, help="read only so many lines, from the start (default: all)")
    parser.add_argument("--batch-size", type=int, default=64, help="lines read at once (default: 64)")
    parser.add_argument("--beam", type=int, default=1, metavar="N", help="candidates kept for each line (default: 1)")
    parser.add_argument(
        "--length-penalty", type=float, default=1.0,
        help="a candidate's score is divided by its length to this power (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--column-weight", type=float, default=0.5,
        help="how much the column head counts beside the decoder when candidates are compared (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--degrade", default="", metavar="PRESET", help="degrade the pictures first: scan, phone, train or photo"
    )
    parser.add_argument("--seed", type=int, default=2, help="seed of the degradation (default: 2)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--dump", type=Path, metavar="FILE", help="write each reading as a JSON line: name, abc, reference"
    )
    return parser


def evaluate_command(arguments: Sequence[str]) -> int:
    """Read a split freely and print percentages; the last line is JSON."""
    options = evaluate_parser().parse_args(arguments)

    from runtime.reading.search import Search

    from .data.dataset.hub import open_split
    from .data.dataset.labels import label_form
    from .data.dataset.staff_space import warn_of_small_staves
    from .evaluation.evaluate import evaluate
    from .hardware.precision import processor_name, settle_device
    from .loading.batches import Lines
    from .saving.checkpoint import load_checkpoint

    search = Search(options.beam, options.length_penalty, options.column_weight)
    device = settle_device(options.device)
    loaded = load_checkpoint(options.checkpoint)
    labels = label_form(loaded.config.data.labels, loaded.tokenizer)
    rows = open_split(options.dataset, options.split, labels)
    warn_of_small_staves(rows, loaded.preparation)
    lines = Lines(
        rows, loaded.preparation, loaded.tokenizer, loaded.model.stride, options.seed, options.degrade
    )
    with told_in_a_sentence(f"lower --batch-size ({options.batch_size})"):
        found, readings = evaluate(
            loaded.model.to(device), lines, loaded.tokenizer, options.limit, options.batch_size, show=True,
            search=search,
        )  # fmt: skip
    if options.dump:
        texts = [
            json.dumps({"name": r.name, "abc": r.abc, "reference": r.reference}) + "\n" for r in readings
        ]
        options.dump.write_text("".join(texts), encoding="utf-8")
    for name, value in found.items():
        print(f"{name:20} {value:.3f}")
    about = {
        "checkpoint": str(loaded.folder), "dataset": options.dataset, "split": options.split,
        "degrade": options.degrade,
        "seed": options.seed, "search": asdict(search),
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "processor": processor_name(device), "python": platform.python_version(),
    }  # fmt: skip
    text = json.dumps(found | about)
    if loaded.folder.parent.name == "checkpoints":  # a run's folder keeps what was measured on it
        with (loaded.folder.parent.parent / "evaluations.jsonl").open("a", encoding="utf-8") as out:
            out.write(text + "\n")
    print(text)
    return 0


def release_command(arguments: Sequence[str]) -> int:
    """Write a checkpoint as it is shipped; prints the folder and its size."""
    parser = argparse.ArgumentParser(
        prog="omr-train release",
        description="Write a run's newest checkpoint as it is shipped: weights in fp16, configuration, "
        "tokenizer and log. If the folder has a MODEL_CARD.md, it is kept.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)

    from .saving.release import release

    folder = release(options.run, options.out)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 1e6:.2f} MB")
    return 0


def finished_command(arguments: Sequence[str]) -> int:
    """Say how far a run's newest checkpoint is; the exit code answers a script."""
    parser = argparse.ArgumentParser(
        prog="omr-train finished",
        description="Say how far a run is. The exit code is 0 if the newest checkpoint is that of the last step, 1 if "
        "steps are left. Batch scripts use this, because schedulers report 0 for jobs that lost a node.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    options = parser.parse_args(arguments)

    from .saving.checkpoint import find, read_progress

    folder = find(options.run)
    progress = read_progress(folder)
    print(f"{folder}: step {progress['step']} of {progress['total']}")
    return 0 if progress["step"] >= progress["total"] else 1
