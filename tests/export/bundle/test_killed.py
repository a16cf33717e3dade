"""An export that is killed, at any moment and by any signal, leaves the older bundle or none."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest

from runtime.bundle.manifest import MANIFEST, Bundle, read_bundle
from tests.halting import begin, strike, wait_until_halted

# How it ends. Python ends itself by SIGINT where that struck in a text that was executed; a shell says 130 both times.
SIGNALS = {signal.SIGKILL: (-9,), signal.SIGTERM: (143,), signal.SIGINT: (130, -2)}
# Even numbers: while it makes the graphs. Odd ones: while the bundle is being written.
MOMENTS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, *range(2, 24)))]
# What the paths contain that an export touches then, and how often it does, the renaming at the end included.
MAKING, WRITING = ("onnx", 300), (".bundle.", 23)
LONGEST = 600  # s that it may take to end; more means that it hangs


def beside(out: Path) -> list[Path]:
    """What a writer has put there for a while."""
    return list(out.parent.glob(f".{out.name}.*"))


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_killed_export_leaves_the_older_bundle_or_none(
    seed: int, checkpoint: Path, bundle: Bundle, tmp_path: Path
) -> None:
    chance, out = random.Random(seed), tmp_path / "bundle"
    number = list(SIGNALS)[seed // 2 % len(SIGNALS)]
    older = bool(seed // 6 % 2)
    if older:
        shutil.copytree(bundle.folder, out)
    call = ["--target", "onnx", "--precision", "fp32", "--no-chunk", "--checkpoint", str(checkpoint), "--out", str(out)]
    text, times = WRITING if seed % 2 else MAKING
    count = chance.randrange(times)
    process = begin(text, count, "export", call)
    try:
        assert wait_until_halted(process), f"it ended before it had touched {count + 1} paths with {text}"
        written = [path.name for path in beside(out)[0].rglob("*")] if beside(out) else []
        assert bool(written) == bool(seed % 2)
        strike(process, number)
        said = process.communicate(timeout=LONGEST)[1].decode()
    finally:
        process.kill()
    print(f"seed {seed}: {number.name}, {'an older' if older else 'no'} bundle, written: {written}")
    assert process.returncode in SIGNALS[number], said
    assert "Traceback" not in said
    if older:
        assert read_bundle(out).manifest.created == bundle.manifest.created
    else:
        assert not (out / MANIFEST).exists()
    if number != signal.SIGKILL:
        assert not beside(out)
