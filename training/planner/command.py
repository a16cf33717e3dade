"""`omr-train plan`: how much GPU memory a configuration takes, whether it fits, and what to change."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from runtime.errors import ConfigError
from runtime.output import write_whole
from training.config import Config, keys, load_config, plain

from .advice import CONTEXT, FRAGMENTS, GB, Estimate, Wish, changes, estimate
from .sizes import GPU_GB, HEIGHT, LINES, PRECISIONS, within
from .tiers import GOALS, recommend

WORDS = {
    "parameters": "parameters and buffers, a teacher's too",
    "gradients": "gradients",
    "optimizer": "optimizer states",
    "averages": "averaged weights",
    "half_copies": "copies of the weights in half precision",
    "batch": "pictures and tokens",
    "activations": "activations kept for the backward pass",
    "passing": "what comes and goes, at that moment",
    "framework": f"estimated: CUDA context and workspaces {CONTEXT / GB:.0f} GB, fragments {FRAGMENTS:.0%}",
}


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="omr-train plan",
        description="Tell how much GPU memory a training step takes at its fullest moment. Nothing is computed, "
        "downloaded or read. Without --width and --tokens the plan is for the largest batch there can be.",
    )
    found.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML files and key=value overrides")
    found.add_argument("--vram", type=float, metavar="GB", help="memory of the GPU, 8 to 80: also tell whether it "
                       "fits, what to change, and what the study's decision tree recommends")  # fmt: skip
    found.add_argument("--goal", choices=GOALS, default=GOALS[0], help="aim of the recommendation (default: memory)")
    found.add_argument("-o", "--out", type=Path, metavar="YAML", help="write the recommended configuration")
    found.add_argument("--batch", type=int, metavar="LINES", help="lines at once, 1 to 64 (default: batch_size)")
    found.add_argument("--height", type=int, metavar="PX", help="of pictures, 128 to 320 (default: img_height)")
    found.add_argument("--width", type=int, default=0, metavar="PX", help="of pictures (default: the widest bucket)")
    found.add_argument("--tokens", type=int, default=0, help="length of the longest label (default: max_seq_len)")
    found.add_argument("--precision", choices=PRECISIONS, help="(default: the configuration's; for auto, bf16)")
    found.add_argument("--picture", type=Path, metavar="PNG", help="draw the parts for every backbone of the study")
    found.add_argument("--json", action="store_true", help="print only the line of JSON")
    return found


def plan_command(arguments: Sequence[str]) -> int:
    """Print a plan; the last line is JSON."""
    options = parser().parse_intermixed_args(arguments)
    config = configuration(options)
    wish = Wish(options.width, options.tokens)
    planned = estimate(config, wish)
    about: dict[str, Any] = {
        "parameters": planned.peak.parameters,
        "trainable": planned.peak.trainable,
        "bytes": parts(planned),
        "total": planned.total,
        "sizes": asdict(planned.sizes),
        "vram_gb": options.vram,
        "fits": planned.fits(options.vram) if options.vram else None,
        "torch": torch.__version__,
    }
    lines = told(planned, options)
    if options.vram:
        lines.append(f"{'fits' if about['fits'] else 'does not fit'} in {options.vram:g} GB")
        print("rehearsing what would fit, up to a minute", file=sys.stderr)
        found = [] if about["fits"] else sorted(changes(config, wish, options.vram), key=lambda each: -each.total)
        about["changes"] = [{"set": difference(config, each.config), "total": each.total} for each in found]
        lines += [f"  {gb(each.total)}  with {shlex.join(difference(config, each.config))}" for each in found]
        recommended = recommend(config, wish, options.vram, options.goal)
        about["recommended"] = recommended and {
            "set": difference(config, recommended.config), "total": recommended.total
        }  # fmt: skip
        lines += recommendation(config, recommended, options)
    if options.picture:
        from .plot import plot

        plot(config, wish, options.picture)
    print("\n".join([*([] if options.json else lines), json.dumps(about)]))
    return 0


def configuration(options: argparse.Namespace) -> Config:
    """The configuration that is asked about.

    Raises:
        ConfigError: a value out of range, or an option that has no sense without another.
    """
    for name, value, limits, unit in (
        ("--vram", options.vram, GPU_GB, " GB"),
        ("--batch", options.batch, LINES, " lines"),
        ("--height", options.height, HEIGHT, " px"),
    ):
        if value is not None:
            within(name, value, limits, unit)
    if options.out and not options.vram:
        raise ConfigError("--out writes what is recommended for a GPU: give --vram, too")
    files = [Path(name) for name in options.configs if "=" not in name]
    if not files:
        raise ConfigError("no configuration is given; start with configs/backbones/deit_small.yaml")
    overrides = [name for name in options.configs if "=" in name]
    wanted = {
        "training.batch_size": options.batch,
        "data.img_height": options.height,
        "hardware.precision": options.precision,
        "hardware.mixed_precision": options.precision and options.precision != "fp32",
    }
    config = load_config(files, overrides + [f"{key}={value}" for key, value in wanted.items() if value is not None])
    if options.goal == "mobile" and not config.technique.teacher:
        raise ConfigError("--goal mobile distils: set technique.teacher to a run, a checkpoint or its configuration")
    return config


def parts(planned: Estimate) -> dict[str, int]:
    return planned.peak.bytes | {"framework": planned.framework}


def gb(size: int) -> str:
    return f"{size / GB:7.2f} GB"


def told(planned: Estimate, options: argparse.Namespace) -> list[str]:
    """The plan in words."""
    sizes, peak, config = planned.sizes, planned.peak, planned.config
    why_wide = "" if options.width else " (the widest bucket)"
    why_long = "" if options.tokens else " (as many as the model holds)"
    return [
        f"{config.model.params.vision_model_name}, {config.technique.name}: {peak.parameters / 1e6:.2f}M parameters, "
        f"{peak.trainable / 1e6:.2f}M trained",
        f"a step of {sizes.batches} x {sizes.lines} lines, {sizes.height} x {sizes.width} px{why_wide}, "
        f"{sizes.tokens} tokens{why_long}, {sizes.precision}",
        *(f"  {gb(size)}  {WORDS[part]}" for part, size in parts(planned).items() if size),
        f"  {gb(planned.total)}  together, at the fullest moment",
    ]


def recommendation(config: Config, found: Estimate | None, options: argparse.Namespace) -> list[str]:
    """What the decision tree says; it is written where --out says."""
    if found is None:
        return [f"nothing fits {options.vram:g} GB, not even one line at once: give narrower pictures with --width"]
    if options.out:
        text = yaml.safe_dump(plain(asdict(found.config)), sort_keys=False)
        write_whole(options.out, text.encode())
        print(f"recommended configuration: {options.out}", file=sys.stderr)
    changed = shlex.join(difference(config, found.config)) or "the configuration as it is"
    return [f"recommended for {options.vram:g} GB, {options.goal}:", f"  {gb(found.total)}  with {changed}"]


def difference(before: Config, after: Config) -> list[str]:
    """The overrides that lead from one configuration to another."""
    old, new = flat(before), flat(after)
    return [f"{key}={yaml_text(new[key])}" for key in keys() if old[key] != new[key]]


def yaml_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def flat(config: Config) -> dict[str, Any]:
    """Values by dotted name."""
    tree = plain(asdict(config))
    found = {}
    for key in keys():
        value = tree
        for name in key.split("."):
            value = value[name]
        found[key] = value
    return found
