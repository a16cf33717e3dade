"""Writes the model card of a bundle: what it is, what it was made from, how well it reads, what files it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runtime.bundle.io_spec import kind_of
from runtime.bundle.manifest import Manifest
from training.saving.checkpoint import Loaded

CARD = "MODEL_CARD.md"
SCORES = {
    "ser": "symbol error rate (tokens)", "cer": "character error rate", "note_accuracy": "notes right",
    "sequence_accuracy": "lines without an error",
}  # fmt: skip


def model_card(manifest: Manifest, loaded: Loaded, sizes: Mapping[str, int]) -> str:
    """Markdown: the checkpoint's own card if it has one, else what is known about it; then the bundle's files.

    Args:
        manifest: of the bundle.
        loaded: its checkpoint.
        sizes: bytes of each graph's file.
    """
    own = loaded.folder / CARD
    head = own.read_text(encoding="utf-8").rstrip() if own.is_file() else about(manifest, loaded)
    return f"{head}\n\n{files(manifest, sizes)}"


def about(manifest: Manifest, loaded: Loaded) -> str:
    """What can be said of a checkpoint without a card."""
    params, spec, preparation = loaded.config.model.params, manifest.io, loaded.preparation
    parts = [
        f"# {manifest.name}",
        f"Reads one line of printed music in a picture ({spec.height} px high, "
        f"{preparation.staff_space:g} px from staff line to staff line) and writes ABC.",
        f"- {manifest.source['parameters'] / 1e6:.2f}M parameters: {params.vision_model_name}, {params.memory} memory, "
        f"{params.n_decoder_layers} decoder layers of width {params.d_model}, {spec.vocab_size} tokens",
        f"- weights: SHA-256 `{manifest.source['weights_sha256']}`",
    ]
    if loaded.config.data.dataset_id:
        parts.append(f"- trained on `{loaded.config.data.dataset_id}`")
    if scores := last_scores(loaded):
        where = f"step {scores['step']}, {scores.get('lines', '?')} lines of the val split, greedy"
        parts.append(f"- while training ({where}): " + ", ".join(f"{SCORES[n]} {scores[n]:.2f} %" for n in SCORES))
    else:
        parts.append("- no evaluation is known: its readings may be nonsense")
    return "\n".join([f"{parts[0]}\n", f"{parts[1]}\n", *parts[2:]])


def last_scores(loaded: Loaded) -> dict[str, Any] | None:
    """The last evaluation of the checkpoint's log."""
    for folder in (loaded.folder, loaded.folder.parent.parent):
        log = folder / "metrics.jsonl"
        if log.is_file():
            rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
            return next((row for row in reversed(rows) if all(name in row for name in SCORES)), None)
    return None


def files(manifest: Manifest, sizes: Mapping[str, int]) -> str:
    """The bundle's graphs and how they compare with PyTorch fp32."""
    lines = [
        "## Files of this bundle", "",
        "| target | precision | file | size | compared with PyTorch fp32 |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for artifact in manifest.artifacts:
        for name, graphs in artifact.graphs_by_file().items():
            kinds = dict.fromkeys(map(kind_of, graphs))
            found = [artifact.numerics[kind] for kind in kinds]
            values = [value for numbers in found for value in numbers.get("psnr_db", {}).values()]
            agreement = f"{min(values)} dB at worst" if values else found[0]["numerics"]
            if values and "decode" in kinds:
                decode = artifact.numerics["decode"]
                agreement += f", {decode['top1_percent']} % of {decode['positions']} tokens the same"
            row = (artifact.target, artifact.precision, f"`{name}`", f"{sizes[name] / 1e6:.2f} MB", agreement)
            lines.append(f"| {' | '.join(row)} |")
    for artifact in manifest.artifacts:
        if found := artifact.numerics.get("reading"):
            lines += [
                "",
                f"{artifact.target} {artifact.precision} on {found['lines']} lines of {found['dataset']} "
                f"({found['split']}): symbol error rate {found['ser_percent']:.2f} %, "
                f"PyTorch fp32 {found['ser_pytorch_percent']:.2f} %.",
            ]
    tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    return "\n".join([*lines, "", f"Made {manifest.created} with {tools}.", ""])
