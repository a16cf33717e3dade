"""Turns a checkpoint into a bundle: converts it, checks it against PyTorch, then writes everything or nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2

from runtime.bundle.io_spec import CHUNK, IOSpec
from runtime.bundle.manifest import MANIFEST, Artifact, Bundle, Manifest, SelfTest, write_bundle
from runtime.errors import BundleError
from runtime.inference.engine import Engine
from runtime.page.preparation import Preparation, batch
from runtime.reading.column_head import understood
from training.saving.checkpoint import PROGRESS, SHIPPED, WEIGHTS, Loaded, find, load_checkpoint

from ..checks.artifact_checks import Checks
from ..checks.parity import gate, read
from ..checks.probe import Probe
from ..files import size_of
from ..graphs.contract import io_spec
from ..precision.calibration import Calibration
from ..target import CALIBRATED, TARGETS, Target
from .model_card import CARD, model_card
from .quantisation_record import record

SELF_TEST = "self_test.png"
SELF_TEST_LINE = 2  # which of the probe's lines: three bars, not degraded
SELF_TEST_TOKENS = 128
TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "coremltools", "numpy", "omr-in-a-phone")


def say(text: str) -> None:
    """Progress goes to stderr; answers to stdout."""
    print(text, file=sys.stderr, flush=True)


def open_checkpoint(path: Path | None) -> Loaded:
    """Open a checkpoint or run; without a path, the shipped one (and say so).

    Raises:
        OmrError: there is none, or it is damaged.
    """
    if path is None:
        if not (SHIPPED / WEIGHTS).is_file():
            raise BundleError(f"the shipped checkpoint {SHIPPED} isn't there: give a run's folder with --checkpoint")
        say(f"no --checkpoint given: exporting the shipped model, {SHIPPED}")
        path = SHIPPED
    return load_checkpoint(path)


def export_bundle(
    loaded: Loaded,
    wanted: Mapping[str, tuple[str, ...]],
    out: Path,
    trial: tuple[str, str, int] | None = None,
    chunk: int = CHUNK,
) -> Bundle:
    """Convert a checkpoint for every target and precision, check each, and write the bundle.

    Args:
        loaded: the checkpoint.
        wanted: target -> precisions; the bundle's reader tries them in this order.
        out: folder of the bundle: new, empty, or an older bundle, which is replaced.
        trial: data set, split and number of lines to count errors on.
        chunk: given tokens that further decoder graphs take at once; 0: no such graphs.

    Raises:
        BundleError: `out` holds something else, or an artifact fails its parity check; nothing was written.
    """
    refuse_other_folder(out)
    spec = io_spec(loaded.model, loaded.preparation, chunk)
    checks = Checks(loaded, spec, trial)
    calibration = Calibration(loaded)
    artifacts, contents = [], dict[str, Path]()
    tokens: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, precisions in wanted.items():
            target: Target = TARGETS.get(name)
            began = time.perf_counter()
            given = (calibration,) if set(CALIBRATED) & set(precisions) else ()
            made = target.convert(loaded.model, spec, precisions, Path(folder), *given)
            say(f"{name}: converted in {time.perf_counter() - began:.0f} s")
            for precision, files in made.items():
                numerics, engine = checks.numbers(name, precision, files)
                report(name, precision, numerics)
                gate(name, precision, numerics, "; nothing was written")
                found = self_test(engine, checks.probe, loaded)
                tokens[precision if tokens.get(precision, found) == found else f"{name} {precision}"] = found
                graphs = {graph: path.name for graph, path in files.items()}
                io = target.io(spec, precision)
                artifacts.append(
                    Artifact(name, precision, graphs, numerics, target.minimum_os, io.axes, io.cache_dtype)
                )
                contents |= {path.name: path for path in files.values()}
        picture = cv2.imencode(".png", checks.probe.lines[SELF_TEST_LINE])[1].tobytes()
        manifest = Manifest(
            name=model_name(loaded.folder), io=spec, preparation=as_read(loaded.preparation, spec),
            text=loaded.tokenizer.text, artifacts=tuple(artifacts),
            tools=tools(), created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            self_test=SelfTest(SELF_TEST, tokens, max_tokens(spec)), source=source(loaded),
        )  # fmt: skip
        sizes = {name: size_of(path) for name, path in contents.items()}
        vocabulary = manifest.text.vocabulary
        loaded.tokenizer.save(Path(folder) / vocabulary)
        contents[vocabulary] = Path(folder) / vocabulary
        made_here = {SELF_TEST: picture, CARD: model_card(manifest, loaded, sizes).encode()}
        bundle = write_bundle(out, manifest, {**contents, **made_here})
    if (file := record(loaded, manifest, sizes)) is not None:
        say(f"reading errors, sizes and speeds: {file}")
    return bundle


def as_read(preparation: Preparation, spec: IOSpec) -> Preparation:
    """What a manifest says of a preparation: without columns that the reader understands, no line is cut."""
    return preparation if understood(spec.columns) else replace(preparation, wide_lines="narrow")


def refuse_other_folder(out: Path) -> None:
    """Refuse a folder that must not be replaced, before minutes of work.

    Raises:
        BundleError: `out` holds something that is no bundle.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise BundleError(f"{out} exists and is no bundle; give a new or an empty folder with --out")


def report(target: str, precision: str, numerics: Mapping[str, Any]) -> None:
    """One artifact's figures in a line or two."""
    decode = numerics["decode"]
    if "psnr_db" not in decode:
        outside = ", ".join(decode["outside"]) or "nothing"
        return say(f"{target} {precision}: {decode['numerics']}; {outside} stands outside {decode['delegate']}")
    outputs = [value for found in numerics.values() for value in found.get("psnr_db", {}).values()]
    worst = min(*outputs, decode["cached_psnr_db"])
    agreement = f"{decode['top1_percent']} % of {decode['positions']} tokens as PyTorch's"
    say(f"{target} {precision}: {worst} dB at worst, {agreement}")
    if "headroom" in numerics:
        found = numerics["headroom"]
        say(f"{target} {precision}: activations stay {found['bits']} bits under half precision's highest number")
    for found in [numerics[part] for part in ("held_out", "reading") if part in numerics]:
        say(
            f"{target} {precision}: SER {found['ser_percent']:.2f} % on {found['lines']} lines, "
            f"PyTorch {found['ser_pytorch_percent']:.2f} %; {found['equal_percent']:.1f} % of the lines read alike"
        )


def max_tokens(spec: IOSpec) -> int:
    return min(SELF_TEST_TOKENS, spec.slots[-1])


def self_test(engine: Engine, probe: Probe, loaded: Loaded) -> list[int]:
    """What an artifact reads in the self-test picture."""
    pictures = batch([probe.lines[SELF_TEST_LINE]], loaded.preparation)
    return read(engine, pictures, loaded.tokenizer, max_tokens(engine.spec))[0]


def model_name(folder: Path) -> str:
    """`pocket` for a release folder of that name; a run's name for one of its checkpoints."""
    folder = folder.resolve()
    of_run = folder.parent.name == "checkpoints" and folder.name.startswith("step-")
    return folder.parent.parent.name if of_run else folder.name


def tools() -> dict[str, str]:
    """Versions of what made the bundle."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def source(loaded: Loaded) -> dict[str, Any]:
    """What the bundle was made from."""
    folder = loaded.folder.resolve()
    if folder == SHIPPED:
        place = "pocket"
    else:
        place = str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
    progress = loaded.folder / PROGRESS
    step = json.loads(progress.read_text(encoding="utf-8"))["step"] if progress.is_file() else None
    return {
        "checkpoint": place,
        "weights_sha256": weights_digest(loaded.folder),
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        **({"step": step} if step is not None else {}),
        "model": asdict(loaded.config.model),
    }


def weights_digest(folder: Path) -> str:
    """SHA-256 of a checkpoint's weights."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def recorded_checkpoint(manifest: Manifest) -> Loaded | None:
    """The checkpoint that a bundle was made from, if it is still where it was and still the same."""
    try:
        folder = find(Path(manifest.source["checkpoint"]))
    except (KeyError, BundleError):
        return None
    return load_checkpoint(folder) if weights_digest(folder) == manifest.source.get("weights_sha256") else None
