"""Writes all tables and figures as one page of Markdown, and each as a CSV or PNG file.

The page begins with what the runs are and how they differ from the study's, taken from their configurations.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.output import write_whole
from training.config import Config, DataConfig

from . import backbones, decoders, distillation, memory, quantisation, techniques
from .figure import Drawing
from .groups import Group, flat, group_runs
from .runs import Run
from .table import Table, listed

FAMILIES = (backbones, techniques, distillation, quantisation, memory, decoders)
# Settings that change the figures. What STUDY doesn't set has the study's value by default.
TOLD = {
    "data.img_height": "pictures {} px high",
    "data.tokenizer_id": "tokens: {}",
    "model.params.pretrained": "pretrained encoders: {}",
    "model.params.d_model": "decoders of width {}",
    "model.params.n_decoder_layers": "decoder layers: {}",
    "model.params.memory": "memory of the decoder: {}",
    "model.params.dense_weight": "column heads, weight {}",
    "training.batch_size": "batches of {}",
    "training.gradient_accumulation_steps": "batches a step: {}",
}
STUDY_DATA = "PDMX-Synth"
STUDY = Config(data=DataConfig(tokenizer_id="guangyangmusic/legato"))


def write_page(runs: Sequence[Run], folder: Path, page: Path) -> list[Path]:
    """Write everything: pictures and CSV files into `folder`, and the page, which links to them.

    Returns:
        The files written, the page last.

    Raises:
        InputError: a place can't be written to.
    """
    groups = group_runs(runs)
    made_tables = [table for family in FAMILIES for table in family.tables(groups)]
    drawings = [drawing for family in FAMILIES for drawing in family.figures(groups)]
    contents = {f"{table.name}.csv": table.csv().encode() for table in made_tables}
    contents |= {f"{drawing.name}.png": drawing.png() for drawing in drawings if drawing.picture is not None}
    for drawing in drawings:
        if drawing.picture is None:  # of an earlier call, whose runs held more
            (folder / f"{drawing.name}.png").unlink(missing_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
    link = Path(os.path.relpath(folder, page.parent))
    write_whole(page, text(runs, groups, made_tables, drawings, link).encode())
    return [*(folder / name for name in contents), page]


def text(
    runs: Sequence[Run], groups: Sequence[Group], tables: Sequence[Table], drawings: Sequence[Drawing], link: Path
) -> str:
    parts = [heading(runs), "## Tables\n"]
    for table in sorted(tables, key=lambda table: number(table.name)):
        parts.append(f"{table.markdown()}\n[CSV]({(link / table.name).as_posix()}.csv)\n")
    parts.append("## Figures\n")
    for drawing in sorted(drawings, key=lambda drawing: number(drawing.name)):
        place = f"{(link / drawing.name).as_posix()}.png"
        shown = f"![{drawing.title}]({place})" if drawing.picture else "– (these runs don't hold what it needs)"
        note = f"\n{drawing.note}\n" if drawing.picture and drawing.note else ""
        parts.append(f"### {drawing.title}\n\n{shown}\n{note}")
    parts.append(f"## The runs\n\n{run_list(groups)}")
    return "\n".join(parts)


def number(name: str) -> int:
    return int(name.split("-")[1])


def heading(runs: Sequence[Run]) -> str:
    """Says what the runs are, and how they differ from the study's."""
    gpu = {run.on_gpu for run in runs}
    where = "on a CPU" if gpu == {False} else "on a GPU" if gpu == {True} else "on CPUs and GPUs"
    seeds = {(group.backbone, group.technique, group.degrade): len(group.runs) for group in group_runs(runs)}
    fewest, most = min(seeds.values()), max(seeds.values())
    counted = f"{fewest} to {most} seeds" if fewest < most else f"{most} seed{'s' * (most > 1)}"
    lines = [
        f"# Results of {len(runs)} runs {where}",
        "<!-- Written by omr-train results from run folders; never edit it by hand. -->",
        f"**What this is.** {len(runs)} runs, {counted} a row. Machine: {'; '.join(machines(runs))}. Training data: "
        f"{'; '.join(data_sets(runs))}. Errors are counted on lines of the val split, read greedily.",
        f"**What it is not.** {not_the_study(runs)}",
        "A dash means that nothing was measured. Where a row has several seeds, `±` is half of a 95 % interval of the "
        "mean (Student's t). A row without `±` has one seed, so a difference between two such rows may be chance. The "
        "machine may have done other work while times were taken.",
    ]
    return "\n\n".join(lines) + "\n"


def machines(runs: Sequence[Run]) -> list[str]:
    """Processors with their vector units, and versions of PyTorch."""
    found: dict[str, None] = {}
    for run in runs:
        names = run.record.get("processors") or [run.config.hardware.processor or "unknown machine"]
        version = run.record.get("tools", {}).get("torch")
        found |= dict.fromkeys(f"{name}{f', PyTorch {version}' if version else ''}" for name in names)
    return list(found)


def data_sets(runs: Sequence[Run]) -> list[str]:
    """Name, digest, lines in training."""
    found: dict[str, None] = {}
    for run in runs:
        known = run.record.get("data", {})
        lines = f" ({known['lines']:,} lines)" if known.get("lines") else ""
        digest = f", SHA-256 {known['digest']}" if known.get("digest") else ""
        found[f"{run.data.split()[0]}{lines}{digest}"] = None
    return list(found)


def not_the_study(runs: Sequence[Run]) -> str:
    """Says in which settings the runs differ from the published study's."""
    study, given = flat_settings(STUDY), [flat_settings(run.config) for run in runs]
    apart = [
        said.format(listed([plain(settings[key]) for settings in given]))
        + f" (there {plain(study[key])})"
        for key, said in TOLD.items()
        if any(settings[key] != study[key] for settings in given)
    ]  # fmt: skip
    if any(Path(run.config.data.dataset_id).name != STUDY_DATA for run in runs):
        names = listed([Path(run.config.data.dataset_id).name for run in runs])
        ours = all(run.record.get("data", {}).get("digest") for run in runs)  # only our own data sets have one
        what = "engraved single lines" if ours else "lines"
        apart.insert(0, f"{what} of the data set {names} (there {STUDY_DATA}, whole tunes)")
    steps = listed([f"{run.step:,}" for run in sorted(runs, key=lambda run: run.step)])
    epochs = f"{STUDY.training.epochs:g} epochs"
    if not apart:
        return f"Runs in the published study's configuration, {steps} steps each. Its own figures are from other runs."
    apart.append(f"{steps} steps (there {epochs} of some 190,000 pictures, 32 a step, on one GPU of 32 GB)")
    return (
        "These are not the published study's figures, and they don't repeat its runs. The tables have the study's "
        f"numbers because they have its columns. What differs here, with the study's value in brackets: "
        f"{'; '.join(apart)}. Backbones and techniques that compare like this after so little training may compare "
        "otherwise after more."
    )


def flat_settings(config: Config) -> dict[str, Any]:
    return flat(asdict(config))


def plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def run_list(groups: Sequence[Group]) -> str:
    """Every run's folder, so that a row can be traced."""
    lines = ["| run | backbone | technique | began with | seed | steps |", "| --- | --- | --- | --- | --- | --- |"]
    for group in groups:
        for run in group.runs:
            start = Path(run.config.training.init_from).name or "nothing learnt"
            start = "a pretrained encoder" if run.config.model.params.pretrained and group.fresh else start
            cells = [run.folder.name, run.backbone, run.technique, start, run.seed, f"{run.step:,}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
