"""omr-export: what it writes, what it refuses, what it says."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from export.__main__ import main
from export.bundle import write as export_bundle
from export.bundle.inspect import spans
from export.bundle.quantisation_record import record
from export.target import TARGETS, Files
from runtime.bundle.io_spec import CHUNKED, GRAPHS, IOSpec
from runtime.bundle.manifest import Bundle, SelfTest, read_bundle, write_bundle
from runtime.errors import run_command
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import load_checkpoint

from .debug import save_checkpoint

KINDS = (*GRAPHS, CHUNKED)


@pytest.fixture
def converted(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting takes the session's graphs instead of tracing again, whatever the model."""

    def convert(_model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path) -> dict[str, Files]:
        files: dict[str, Files] = {}
        for precision in precisions:
            artifact = bundle.manifest.choose(["onnx"], precision)
            copies = [shutil.copy(bundle.path(artifact, graph), folder) for graph in spec.kinds]
            files[precision] = dict(zip(spec.kinds, map(Path, copies), strict=True))
        return files

    target = replace(TARGETS.get("onnx"), convert=convert)
    monkeypatch.setattr("export.targets.onnx.TARGET", target)


def contents(bundle: Bundle) -> dict[str, bytes | Path]:
    return {name: bundle.folder / name for name in bundle.manifest.files}


def fails(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one sentence that a command ends with."""
    capsys.readouterr()
    assert run_command(lambda: main([str(part) for part in arguments])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_a_bundle_holds_what_was_asked_for_in_that_order(bundle: Bundle) -> None:
    manifest = bundle.manifest
    precisions = ["int8", "fp32", "fp16"]
    assert [(a.target, a.precision) for a in manifest.artifacts] == [("onnx", name) for name in precisions]
    assert [a.cache_dtype for a in manifest.artifacts] == ["float32", "float32", "float16"]
    assert manifest.name == "debug"
    assert set(manifest.files) == {
        *(f"{graph}.{precision}.onnx" for graph in KINDS for precision in precisions),
        "tokenizer.json", "MODEL_CARD.md", "self_test.png",
    }  # fmt: skip
    assert manifest.tools["torch"].startswith("2.")
    assert manifest.self_test is not None
    assert set(manifest.self_test.tokens) == set(precisions)
    assert len(manifest.self_test.tokens["fp32"]) > 3


@pytest.mark.usefixtures("converted")
def test_graphs_of_chunks_can_be_left_out(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    call = ["--target", "onnx", "--precision", "fp32", "--checkpoint", str(checkpoint), "--no-chunk"]
    assert main([*call, "--out", str(out)]) == 0
    manifest = read_bundle(out).manifest
    assert manifest.io.chunk == 0 and manifest.io.kinds == GRAPHS
    assert list(manifest.artifacts[0].files) == list(manifest.artifacts[0].numerics) == list(GRAPHS)
    assert main(["verify", str(out), "--checkpoint", str(checkpoint)]) == 0


def test_the_card_says_that_nothing_is_known_of_an_unread_model(bundle: Bundle) -> None:
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert card.startswith("# debug\n")
    assert "no evaluation is known" in card
    assert "| onnx | int8 | `decode.int8.onnx` |" in card


def test_verify_measures_again_and_ends_in_json(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle.folder)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["ok"] is True
    assert found["checkpoint"].endswith("debug")
    assert [row["self_test"] for row in found["artifacts"]] == ["equal"] * 3
    assert found["artifacts"][1]["parity"]["decode"]["regret"] < 1e-3


def test_without_its_checkpoint_a_bundles_files_are_compared_with_each_other(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = replace(bundle.manifest, source={"checkpoint": str(tmp_path / "gone")})
    write_bundle(tmp_path / "bundle", manifest, contents(bundle))
    assert main(["verify", str(tmp_path / "bundle")]) == 0
    said = capsys.readouterr()
    assert "isn't here" in said.err
    found = json.loads(said.out.splitlines()[-1])
    assert found["checkpoint"] is None
    assert found["artifacts"][1]["top1_percent"] >= 90


def test_verify_finds_a_changed_byte(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(bundle.folder, tmp_path / "copy")
    content = bytearray((copy / "decode.int8.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "decode.int8.onnx").write_bytes(content)
    assert "decode.int8.onnx doesn't match its checksum" in fails(capsys, "verify", copy)


def test_verify_finds_another_reading(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = bundle.manifest.self_test
    assert test is not None
    changed = SelfTest(test.picture, test.tokens | {"int8": [5, 6]}, test.max_tokens)
    write_bundle(tmp_path / "bundle", replace(bundle.manifest, self_test=changed), contents(bundle))
    assert "onnx int8 reads the self-test picture differently" in fails(capsys, "verify", tmp_path / "bundle")


def test_verify_refuses_another_checkpoint(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = save_checkpoint(tmp_path / "other", seed=5)
    assert "another checkpoint" in fails(capsys, "verify", bundle.folder, "--checkpoint", other)


def test_inspect_shows_files_shapes_figures_and_operators(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in bundle.manifest.files:
        assert any(line.startswith(name) for line in lines)
    logits = ["<-", "logits", "float32", "[B,", f"{bundle.manifest.io.vocab_size}]"]
    assert any(line.split() == logits for line in lines)
    assert any("top1_percent" in line and line.endswith("100.0") for line in lines)
    assert any("15 MatMulNBits" in line for line in lines)


def test_graphs_of_one_kind_are_told_by_the_first_and_the_last() -> None:
    assert spans(["encode_192", "encode_256", "encode_320", "decode_256"]) == "encode_192 .. encode_320, decode_256"


@pytest.mark.usefixtures("converted")
def test_nothing_is_written_before_parity_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The graphs are those of another model."""
    other = save_checkpoint(tmp_path / "other", seed=5)
    out = tmp_path / "bundle"
    said = fails(capsys, "--target", "onnx", "--precision", "int8", "--checkpoint", other, "--out", out)
    assert "parity" in said and said.endswith("nothing was written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


@pytest.mark.usefixtures("converted")
def test_without_a_checkpoint_the_shipped_one_is_exported_and_said(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = shutil.copytree(checkpoint, tmp_path / "pocket")
    (shipped / "MODEL_CARD.md").write_text("# pocket\n\nA card that people wrote.\n")
    monkeypatch.setattr(export_bundle, "SHIPPED", shipped)
    assert main(["--target", "onnx", "--precision", "int8", "--out", str(tmp_path / "bundle")]) == 0
    assert f"the shipped model, {shipped}" in capsys.readouterr().err
    made = read_bundle(tmp_path / "bundle")
    assert (made.manifest.name, made.manifest.source["checkpoint"]) == ("pocket", "pocket")
    card = (made.folder / "MODEL_CARD.md").read_text()
    assert "A card that people wrote." in card and "decode.int8.onnx" in card


@pytest.mark.usefixtures("converted")
def test_lines_of_a_data_set_are_read_and_counted(checkpoint: Path, tmp_path: Path) -> None:
    from tests.music import save_dataset

    data = save_dataset(tmp_path / "data", {"test": 5})
    run = tmp_path / "run"
    shutil.copytree(checkpoint, run / "checkpoints" / "step-00000004")
    call = ["--target", "onnx", "--checkpoint", str(run), "--lines", str(data), "--limit", "4"]
    assert main([*call, "--out", str(tmp_path / "bundle")]) == 0
    [artifact] = read_bundle(tmp_path / "bundle").manifest.artifacts
    found = artifact.numerics["reading"]
    assert (found["lines"], found["split"], found["equal_percent"]) == (4, "test", 100.0)
    assert found["ser_percent"] == found["ser_pytorch_percent"] > 50  # random weights
    [kept] = map(json.loads, (run / "quantisation.jsonl").read_text().splitlines())
    assert (kept["target"], kept["precision"], kept["lines"]) == ("onnx", "fp32", 4)
    graphs = [(tmp_path / "bundle" / name).stat().st_size for name in artifact.files.values()]
    assert kept["size_mb"] == round(sum(graphs) / 1e6, 3)
    assert kept["ser"] == found["ser_percent"] and kept["lines_per_second"] > 0
    assert kept["machine"].endswith("1 thread") and kept["checkpoint"] == "step-00000004"
    manifest = read_bundle(tmp_path / "bundle").manifest
    shipped = replace(load_checkpoint(checkpoint), folder=tmp_path / "training" / "checkpoints" / "pocket")
    assert record(shipped, manifest, {}) is None  # no run's folder


@pytest.mark.usefixtures("converted")
def test_an_older_bundle_is_replaced(bundle: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle.folder, tmp_path / "bundle")
    assert main(["--target", "onnx", "--checkpoint", str(checkpoint), "--out", str(copy)]) == 0
    assert [a.precision for a in read_bundle(copy).manifest.artifacts] == ["fp32"]
    assert not (copy / "decode.int8.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


EXPORT = ("--target", "onnx", "--out", "new")
MISTAKES = [
    (("--target", "onix", "--out", "new"), "no target called 'onix'; did you mean 'onnx'?"),
    (("--target", ",", "--out", "new"), "no target is given"),
    ((*EXPORT, "--precision", "int3"), "no precision 'int3' (known: fp32, fp16, int8, int8_static, int4, mixed)"),
    ((*EXPORT, "--checkpoint", "nowhere"), "nowhere holds no checkpoint"),
    (("--target", "onnx", "--out", "full"), "full exists and is no bundle"),
    (("--target", "onnx", "--out", "full/file.txt"), "full/file.txt exists and is no bundle"),
    (("verify", "nowhere"), "nowhere is no folder"),
    (("verify", "full"), "full holds no checksums.json"),
    (("inspect", "full"), "full holds no checksums.json"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(call) for call, _ in MISTAKES])
def test_a_mistake_is_one_sentence(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file.txt").write_text("mine")
    assert message in fails(capsys, *arguments)
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "file.txt"]


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert fails(capsys, *EXPORT) == "error: omr-export needs onnx: pip install -e '.[export]'"


def test_a_missing_shipped_model_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export_bundle, "SHIPPED", tmp_path / "pocket")
    said = fails(capsys, *EXPORT)
    assert "pocket isn't there" in said and "--checkpoint" in said
