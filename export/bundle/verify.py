"""Checks that a bundle is still what was written: measures checksums, the self-test and parity again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.bundle.manifest import Artifact, Bundle, read_bundle
from runtime.errors import BundleError
from runtime.inference.engine import Engine
from runtime.page.preparation import batch
from training.saving.checkpoint import Loaded, load_checkpoint

from ..checks.loaded_graphs import open_engine
from ..checks.longest_reading import least_psnr, long_decode, refuse_divergence
from ..checks.parity import MIN_TOP1, NOT_EXECUTED, forced, gate, measure, read
from ..checks.probe import Probe
from ..graphs.contract import io_spec
from ..target import TARGETS
from .write import recorded_checkpoint, say, weights_digest


def verify(folder: Path, checkpoint: Path | None = None, long: bool = False) -> dict[str, Any]:
    """Check everything that can be checked here.

    Args:
        folder: of the bundle.
        checkpoint: what it was made from; otherwise the one it names, if that is still there.
        long: also compare every position that the caches hold, which takes a step for each.

    Returns:
        What was checked, as one JSON object.

    Raises:
        BundleError: something doesn't hold; the message says what.
    """
    bundle = read_bundle(folder)
    manifest = bundle.manifest
    say(f"{folder}: {len(manifest.files) + 1} checksums agree")
    loaded = given_checkpoint(bundle, checkpoint) if checkpoint else recorded_checkpoint(manifest)
    if loaded is None:
        say("its checkpoint isn't here (give it with --checkpoint): comparing with each other, not with PyTorch")
    else:
        say(f"comparing with PyTorch: {loaded.folder}")
    if long and loaded is None:
        raise BundleError(f"--long compares {folder} with PyTorch: give the checkpoint it was made from, --checkpoint")
    probe = Probe(manifest.preparation)
    tests: list[dict[str, Any]] = []
    first: tuple[Artifact, Engine] | None = None
    for artifact in manifest.artifacts:
        files = bundle.paths(artifact)
        for graph, path in files.items():
            TARGETS.get(artifact.target).check(path, graph)
        if TARGETS.get(artifact.target).delegate:
            say(f"{artifact.target} {artifact.precision}: {NOT_EXECUTED}")
            tests.append({"target": artifact.target, "precision": artifact.precision, "self_test": NOT_EXECUTED})
            continue
        spec = manifest.io_of(artifact)
        engine = open_engine(artifact.target, files, spec)
        row: dict[str, Any] = {"target": artifact.target, "precision": artifact.precision}
        row["self_test"] = self_test(bundle, artifact, engine)
        if loaded is not None:
            row["parity"] = measure(loaded.model, spec, loaded.tokenizer, probe, artifact.target, files)
            read_before = {name: artifact.numerics[name] for name in artifact.numerics if name == "held_out"}
            gate(artifact.target, artifact.precision, row["parity"] | read_before)
            if long:
                row["long"] = long_numbers(loaded, artifact, engine, probe)
        elif first is not None:
            row["top1_percent"] = agreement(first, (artifact, engine), bundle, probe)
        first = first or (artifact, engine)
        holds = ", parity holds" if loaded else ""
        say(f"{artifact.target} {artifact.precision}: self-test {row['self_test']}{holds}")
        tests.append(row)
    compared = str(loaded.folder) if loaded else None
    return {"bundle": str(folder), "name": manifest.name, "checksums": len(manifest.files) + 1,
            "checkpoint": compared, "artifacts": tests, "ok": True}  # fmt: skip


def long_numbers(loaded: Loaded, artifact: Artifact, engine: Engine, probe: Probe) -> dict[str, Any]:
    """Every position that the caches hold, against PyTorch.

    Raises:
        BundleError: the cache doesn't stay exact.
    """
    image, valid = probe.pair(engine.spec.widths[len(engine.spec.widths) // 2])
    what, least = f"{artifact.target} {artifact.precision}", least_psnr(artifact.precision)
    positions = long_decode(loaded.model, engine, (image[:1], valid[:1]))
    found = {way: compared.numbers(least) for way, compared in positions.items()}
    for way, numbers in found.items():
        other = numbers["first_other_token"]
        tokens = "the same token at each" if other is None else f"first another token at {other}"
        say(
            f"{what} in {way}, {numbers['positions']} positions: {numbers['psnr_db']} dB at worst "
            f"(position {numbers['worst_position']}), {tokens}"
        )
    refuse_divergence(what, found)
    return found


def given_checkpoint(bundle: Bundle, path: Path) -> Loaded:
    """The checkpoint a user names, which must be the bundle's.

    Raises:
        BundleError: it has other weights or sizes.
    """
    loaded = load_checkpoint(path)
    recorded = bundle.manifest.source.get("weights_sha256")
    sizes = io_spec(loaded.model, loaded.preparation, bundle.manifest.io.chunk)
    same_weights = recorded in (None, weights_digest(loaded.folder))
    if not same_weights or sizes != bundle.manifest.io:
        raise BundleError(f"{bundle.folder} was made from another checkpoint than {loaded.folder}; give that one")
    return loaded


def self_test(bundle: Bundle, artifact: Artifact, engine: Engine) -> str:
    """Read the self-test picture again.

    Raises:
        BundleError: the reading is another one.
    """
    test = bundle.manifest.self_test
    expected = test.expected(artifact) if test else None
    if test is None or expected is None:
        return "none"
    grey = cv2.imread(str(bundle.folder / test.picture), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise BundleError(f"{bundle.folder / test.picture} is no picture; export the bundle again")
    pictures = batch([np.asarray(grey, np.uint8)], bundle.manifest.preparation)
    found = read(engine, pictures, bundle.tokenizer(), test.max_tokens)[0]
    if found != expected:
        raise BundleError(
            f"{bundle.folder}: {artifact.target} {artifact.precision} reads the self-test picture differently here "
            "than where it was made; don't use it on this machine"
        )
    return "equal"


def agreement(first: tuple[Artifact, Engine], other: tuple[Artifact, Engine], bundle: Bundle, probe: Probe) -> float:
    """Percent of tokens on which two artifacts agree, given the first one's readings.

    Raises:
        BundleError: fewer than an export would pass.
    """
    tokenizer = bundle.tokenizer()
    same = total = 0
    for pictures in probe.batches():
        tokens = read(first[1], pictures, tokenizer, bundle.manifest.io.slots[0] - 1)
        pairs = zip(*(forced(engine, pictures, tokens, tokenizer.bos_id) for _, engine in (first, other)), strict=True)
        for expected, found in pairs:
            same += int((expected.argmax(1) == found.argmax(1)).sum())
            total += len(expected)
    percent = round(100 * same / total, 2)
    if percent < MIN_TOP1:
        names = [f"{artifact.target} {artifact.precision}" for artifact, _ in (first, other)]
        raise BundleError(
            f"{bundle.folder}: {names[1]} agrees with {names[0]} on {percent} % of the tokens, "
            f"{MIN_TOP1:g} % are needed; export it again"
        )
    return percent
