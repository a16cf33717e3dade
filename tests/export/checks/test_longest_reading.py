"""A cache stays exact through the longest reading there is, its growing included."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.__main__ import main
from export.checks.loaded_graphs import open_engine
from export.checks.longest_reading import Positions, least_psnr, long_decode, refuse_divergence
from export.checks.probe import Pictures, Probe
from export.checks.torch_engine import TorchEngine
from export.graphs.contract import io_spec
from export.target import TARGETS
from runtime.bundle.manifest import Bundle, write_bundle
from runtime.errors import BundleError, MissingExtraError, run_command
from runtime.inference.engine import Engine, Integers
from training.saving.checkpoint import Loaded, load_checkpoint

from ..debug import save_checkpoint

LONGEST = 2048


@pytest.fixture(scope="module")
def line(probe: Probe) -> Pictures:
    image, valid = probe.pair(512)
    return image[:1], valid[:1]


@pytest.mark.parametrize(("name", "decibels"), [("exact", 80), ("half", 50), ("small", 25)])
def test_every_position_of_both_caches_agrees_with_a_pass_without_one(
    name: str, decibels: float, request: pytest.FixtureRequest, loaded: Loaded, line: Pictures
) -> None:
    engine: Engine = request.getfixturevalue(name)
    found = long_decode(loaded.model, engine, line)
    assert engine.spec.slots == (256, 512)
    for positions in found.values():
        assert len(positions.psnr_db) == 512
        assert positions.psnr_db.min() >= decibels


class Forgetful:
    """PyTorch whose decoder reads another token at one position."""

    def __init__(self, engine: Engine, position: int) -> None:
        self.spec, self.engine, self.position = engine.spec, engine, position
        self.encode = engine.encode

    def start(self, memory: Any) -> Any:
        decoder: Any = self.engine.start(memory)
        read: Callable[..., Any] = decoder._read

        def wrong(way: Any, given: Integers, position: int, count: int) -> Any:
            given = np.array(given)
            if position <= self.position < position + count:
                given.reshape(1, count)[:, self.position - position] ^= 1
            return read(way, given, position, count)

        decoder._read = wrong
        return decoder


def test_the_first_divergence_is_found(exact: Engine, loaded: Loaded, line: Pictures) -> None:
    engine: Any = Forgetful(TorchEngine(loaded.model, exact.spec), 300)
    for way, positions in long_decode(loaded.model, engine, line, 320).items():
        numbers = positions.numbers(80.0)
        assert numbers["positions"] == 320 and numbers["first_divergence"] == 300
        with pytest.raises(BundleError, match=f"onnx fp32 leaves PyTorch at position 300 of 320 in {way}"):
            refuse_divergence("onnx fp32", {way: numbers})


def test_numbers_name_the_worst_position_and_the_first_other_token() -> None:
    expected = np.eye(4)
    found = expected + np.array([0, 1e-5, 1e-3, 1e-4])[:, None]
    found[3] = found[3, ::-1]
    numbers = Positions.of(expected, found).numbers(80.0)
    assert numbers["worst_position"] == 3 and numbers["first_divergence"] == 2
    assert numbers["first_other_token"] == 3 and numbers["same_tokens_percent"] == 75.0
    refuse_divergence("x", {"steps": Positions.of(expected, expected).numbers(80.0)})


def test_verify_long_reports_steps_and_chunks(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle.folder), "--long"]) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out.splitlines()[-1])["artifacts"]
    assert [set(row["long"]) for row in rows] == [{"steps", "chunks"}] * 3
    assert rows[1]["long"]["steps"]["first_divergence"] is None and rows[1]["long"]["steps"]["psnr_db"] >= 80
    assert "onnx fp32 in chunks, 512 positions: " in said.err


def test_verify_long_needs_the_checkpoint(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = replace(bundle.manifest, source={"checkpoint": str(tmp_path / "gone")})
    write_bundle(tmp_path / "bundle", manifest, {name: bundle.folder / name for name in bundle.manifest.files})
    assert run_command(lambda: main(["verify", str(tmp_path / "bundle"), "--long"])) == 2
    assert "give the checkpoint it was made from, --checkpoint" in capsys.readouterr().err


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A checkpoint with every cache size, and one width."""
    folder = tmp_path_factory.mktemp("long") / "debug"
    overrides = (f"model.params.max_seq_len={LONGEST}", "data.width_buckets=[512]")
    return load_checkpoint(save_checkpoint(folder, 5, *overrides))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS.names())
def test_2048_positions_agree_whatever_the_precision(target: str, patient: Loaded, tmp_path: Path) -> None:
    """At worst as the parity check asks of a precision; 15 dB in int8, for which it asks no figure."""
    try:
        entry = TARGETS.get(target)
    except MissingExtraError as error:
        pytest.skip(str(error))
    if entry.delegate:
        pytest.skip(f"nothing here runs what {entry.delegate} takes")
    precisions = [precision for precision in entry.precisions if precision in ("fp32", "fp16", "int8")]
    spec = io_spec(patient.model, patient.preparation)
    assert spec.slots == (256, 512, 1024, LONGEST)
    image, valid = Probe(patient.preparation).pair(512)
    found = {}
    for precision, files in entry.convert(patient.model, spec, precisions, tmp_path).items():
        engine = open_engine(target, files, entry.io(spec, precision))
        positions = long_decode(patient.model, engine, (image[:1], valid[:1]))
        found[precision] = {way: part.numbers(least_psnr(precision)) for way, part in positions.items()}
        print(target, precision, json.dumps(found[precision]))
        refuse_divergence(f"{target} {precision}", found[precision])
        assert min(numbers["psnr_db"] for numbers in found[precision].values()) >= max(15.0, least_psnr(precision))
