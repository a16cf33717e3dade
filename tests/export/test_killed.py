"""An export that is killed, at any moment and by any signal, leaves the older bundle or none."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.manifest import MANIFEST, Bundle, read_bundle
from tests.source import ROOT

# How it ends. Python ends itself by SIGINT where that struck in a text that was executed; a shell says 130 both times.
SIGNALS = {signal.SIGKILL: (-9,), signal.SIGTERM: (143,), signal.SIGINT: (130, -2)}
# Even numbers: at a random time. Odd ones: while the bundle is being written.
MOMENTS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, *range(2, 24)))]
LONGEST = 60  # seconds that a loaded machine may take for what takes ten


def beside(out: Path) -> list[Path]:
    """What a writer has put there for a while."""
    return list(out.parent.glob(f".{out.name}.*"))


def stop(process: subprocess.Popen[bytes], number: int, out: Path, chance: random.Random, writing: bool) -> bool:
    """Send the signal; whether it struck while the process was writing. It is halted as soon as it is seen to, so that
    it can't be through before."""
    end = time.monotonic() + (LONGEST if writing else chance.uniform(0, 8))
    while time.monotonic() < end and process.poll() is None:
        if writing and beside(out):
            process.send_signal(signal.SIGSTOP)
            break
        time.sleep(0.0005)
    found = bool(beside(out))
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    return found


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
    command = [sys.executable, "-m", "export", *call]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        struck = stop(process, number, out, chance, writing=seed % 2 == 1)
        said = process.communicate(timeout=LONGEST)[1].decode()
    finally:
        process.kill()
    print(f"seed {seed}: {number.name}, {'an older' if older else 'no'} bundle, {'writing' if struck else 'before'}")
    assert process.returncode in SIGNALS[number], said
    assert "Traceback" not in said
    if older:
        assert read_bundle(out).manifest.created == bundle.manifest.created
    else:
        assert not (out / MANIFEST).exists()
    if number != signal.SIGKILL:
        assert not beside(out)
    assert struck or seed % 2 == 0
