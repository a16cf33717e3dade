"""Generated parts of the documents: help of the commands, tables of what each registry holds.

`make docs` lets cog write them into the documents again; tests/test_readme.py fails when they are out of date.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.source import ROOT, Source, project, registries
from training.data.sources.collections import ALL


def help_of(command: str, *subcommand: str) -> str:
    """What `command subcommand --help` prints, as a code block."""
    module = project()["scripts"][command].split(":")[0].removesuffix(".__main__")
    done = subprocess.run(
        [sys.executable, "-m", module, *subcommand, "--help"],
        cwd=ROOT, env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return f"```text\n{done.stdout.strip()}\n```\n"


def entries(package: str) -> str:
    """A table of the entries of a registry: name, what its docstring says, the extra it needs."""
    assert package in registries(), f"{package} is no registry"
    files = sorted((ROOT / package.replace(".", "/")).glob("[a-z]*.py"))
    rows = [Source(ROOT, file) for file in files]
    needs_extra = any(row.extra() for row in rows)
    head = ["name", "what it is", *(["extra"] if needs_extra else [])]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        lines.append([f"`{row.path.stem}`", row.summary, *([row.extra() or ""] if needs_extra else [])])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rules() -> str:
    """A table of the rules of `omr-export lint`."""
    from export.lint.rule import RULES

    lines = [["rule", "what it is about", "where", "breaking it", "source"], ["---"] * 5]
    for name in RULES.names():
        rule = RULES.get(name)
        links = ", ".join(f"[{title(address)}]({address})" for address in rule.source.split())
        summary = Source(ROOT, RULES.folder() / f"{name}.py").summary
        lines.append([f"`{name}`", summary, ", ".join(dict.fromkeys(rule.places.values())), rule.severity, links])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def title(address: str) -> str:
    """What an address leads to, in words: `executorch #10487`, or `onnxruntime.ai: QNN ExecutionProvider`."""
    _, _, host, *path = address.split("/")
    if path[-2:-1] in (["issues"], ["pull"]):
        return f"{path[-3]} #{path[-1]}"
    site = path[1] if host == "github.com" else path[0] if host.endswith("github.io") else host
    words = path[-1].removesuffix(".html").removesuffix(".md").replace("-", " ").replace("_", " ")
    return f"{site}: {words}"


def folders(parent: str, order: str) -> str:
    """A table of the packages in a folder, in the order of their use: what each is for, its files and registries."""
    present = {init.parent.name for init in (ROOT / parent).glob("*/__init__.py")}
    assert present == set(order.split()), f"{parent} holds {sorted(present)}: give all, in order"
    lines = [["folder", "what it is for", "holds"], ["---"] * 3]
    for name in order.split():
        inside = sorted((ROOT / parent / name).iterdir())
        held = [path.stem for path in inside if path.suffix == ".py" and path.stem != "__init__"]
        held += [f"{path.name}/" for path in inside if (path / "__init__.py").exists()]
        summary = Source(ROOT, ROOT / parent / name / "__init__.py").summary
        lines.append([f"`{name}/`", summary, ", ".join(f"`{file}`" for file in held)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def backbones() -> str:
    """A table of the backbones: what they are, what they cost, what they take and give."""
    import torch

    from training.loop.parameter_counts import parameters_of
    from training.model.backbone import BACKBONES, get_backbone

    head = ["name", "what it is", "family", "parameters", "features of H x W px", "W is a multiple of", "on the hub"]
    lines = [head, ["---"] * len(head)]
    for name in BACKBONES.names():
        entry = get_backbone(name)
        with torch.device("meta"):
            parameters = parameters_of(entry.build(entry.image_channels, False))
        shape = f"{entry.channels} x H/{entry.height_stride} x W/{entry.stride}"
        features = f"{shape}, class token dropped" if entry.class_token else shape
        summary = Source(ROOT, ROOT / "training" / "backbones" / f"{name}.py").summary
        millions, hub = f"{parameters / 1e6:.1f}M", f"`{entry.hub_id}`" if entry.hub_id else ""
        lines.append([f"`{name}`", summary, entry.family, millions, features, str(entry.width_multiple), hub])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def collections() -> str:
    """A table of the collections of tunes: terms, counts, and whether the shipped weights have seen them."""
    lines = [["folder in music21", "what it is", "terms", "tunes", "used", "in training"], ["---"] * 6]
    for row in ALL:
        training = "only if asked for; in no shipped weights" if row.opt_in else "yes"
        lines.append([f"`{row.name}`", row.note, row.terms, f"{row.tunes:,}", f"{row.used:,}", training])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def notations() -> str:
    """A table of what is labelled and what is drawn beside it."""
    from training.data.lines.labelled_notation import NOTATIONS

    lines = [["notation", "in a label", "comes from"], ["---"] * 3]
    for row in NOTATIONS:
        code = row.example.replace("|", "\\|")
        lines.append([row.name, f"`{code}`" if row.labelled else "no", row.source])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def presets() -> str:
    """A table of the degradation presets: step, what its strength counts, largest strength and chance in each."""
    from training.data.degradation.degrade import PRESETS, step

    single = {name: looks[0].doses for name, looks in PRESETS.items() if len(looks) == 1}
    names = sorted({name for doses in single.values() for name in doses}, key=lambda name: (step(name).stage, name))
    lines = [["step", "strength", *single], ["---"] * (2 + len(single))]
    for name in names:
        doses = [doses.get(name) for doses in single.values()]
        cells = [f"{dose[0]:g} ({dose[1]:.0%})" if dose else "" for dose in doses]
        lines.append([f"`{name}`", step(name).unit, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured(file: str) -> Any:
    """What a benchmark left under docs/measured."""
    text = (ROOT / "docs" / "measured" / file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if file.endswith("l") else json.loads(text)


def memory_check() -> str:
    """A table of how far the planner is from what was measured, by backbone and technique."""
    rows = [row for row in measured("memory-cpu.jsonl") if row["checkpointing"] == "none"]
    return memory_table(sorted(rows, key=lambda row: row["technique"]), "technique")


def memory_checkpointing() -> str:
    """The same of full fine-tuning, by backbone and `hardware.gradient_checkpointing`."""
    rows = [row for row in measured("memory-cpu.jsonl") if row["technique"] == "full"]
    return memory_table(rows, "checkpointing")


def memory_table(rows: list[dict[str, Any]], key: str) -> str:
    """A line for each backbone, a column for each value of a key in their order."""
    names = list(dict.fromkeys(row[key] for row in rows))
    lines = [["backbone", *(f"`{name}`" for name in names)], ["---"] * (1 + len(names))]
    for backbone in sorted({row["backbone"] for row in rows}):
        cells = {row[key]: row for row in rows if row["backbone"] == backbone}
        lines.append([f"`{backbone}`", *(memory_cell(cells.get(name)) for name in names)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def memory_cell(row: dict[str, Any] | None) -> str:
    return f"{row['measured'] / 1e9:.2f} GB, {round(row['ratio'] - 1, 3) + 0:+.1%}" if row else ""


def memory_plans() -> str:
    """A table of what the study's backbones take, and how many lines three GPUs hold at once."""
    found = measured("memory-tiers.json")
    gpus = list(found["rows"][0]["lines"])
    head = ["backbone", "technique", "trained", "together", "activations", *(f"lines in {gpu} GB" for gpu in gpus)]
    lines = [head, ["---"] * len(head)]
    for row in found["rows"]:
        sizes = row["bytes"]
        kept = sizes["activations"] + sizes["passing"]
        lines.append([
            f"`{row['backbone']}`", f"`{row['technique']}`", f"{row['trained'] / 1e6:.1f}M",
            f"{sum(sizes.values()) / 1e9:.1f} GB", f"{kept / 1e9:.1f} GB",
            *(str(row["lines"][gpu] or "none") for gpu in gpus),
        ])  # fmt: skip
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def memory_tree() -> str:
    """A table of what the study's decision tree recommends, and what that takes."""
    head = ["GPU", "backbone", "technique", "lines at once x batches a step", "planned"]
    lines = [head, ["---"] * len(head)]
    for gpu, row in measured("memory-tiers.json")["tree"].items():
        step = f"{row['batch_size']} x {row['gradient_accumulation_steps']}"
        planned = f"{row['total'] / 1e9:.1f} GB"
        lines.append([f"{gpu} GB", f"`{row['backbone']}`", f"`{row['technique']}`", step, planned])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def export_table() -> str:
    """A table of every model in every format: size, agreement with PyTorch, errors on held-out lines, seconds."""
    head = ["model", "format", "precision", "MB", "encoder", "decoder", "tokens equal", "SER", "seconds", "failed"]
    lines = [head, ["---"] * len(head)]
    rows = measured("export.jsonl")
    order = list(dict.fromkeys(row["model"] for row in rows))
    for row in sorted(rows, key=lambda row: order.index(row["model"])):
        names = [f"`{row['model']}`", f"`{row['target']}`", row["precision"]]
        lines.append([*names, *(export_cells(row) if "numerics" in row else [*[""] * 6, row["failed"]])])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def export_cells(row: dict[str, Any]) -> list[str]:
    """What was measured of one model in one format and precision."""
    found = row["numerics"]
    worst = [f"{min(found[graph]['psnr_db'].values())} dB" for graph in ("encode", "decode")]
    same, worse = found["decode"], found.get("held_out", {}).get("ser_difference_points")
    return [
        f"{row['bytes'] / 1e6:.1f}", *worst, f"{same['top1_percent']} % ({same['step_top1_percent']} %)",
        "" if worse is None else f"{worse:+.2f}", f"{row['convert_seconds'] + row['check_seconds']:.0f}",
        row["failed"] or "",
    ]  # fmt: skip


def picture(file: str, text: str, folder: str = "") -> str:
    """A picture, if it is there; its place is told from the document's folder."""
    return f"![{text}]({file})\n" if Path(ROOT / folder / file).exists() else ""
