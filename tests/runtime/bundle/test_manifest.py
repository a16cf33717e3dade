"""Bundles: what is written is read, anything else is one sentence."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import runtime.bundle.manifest as manifest_module
from runtime.bundle.io_spec import IOSpec
from runtime.bundle.manifest import Artifact, Bundle, Manifest, SelfTest, read_bundle, sha256, write_bundle
from runtime.errors import BundleError, OmrError

from ..tiny import TINY

Contents = dict[str, bytes | Path]
TEXT = {"begin": 1, "end": 2, "special": [0, 1, 2], "join": "atoms", "vocabulary": "tokenizer.json"}


def test_what_is_written_is_read(bundle: Bundle, manifest: Manifest) -> None:
    again = read_bundle(bundle.folder).manifest
    assert again == replace(manifest, files=again.files)
    assert again.files["decoder.onnx"] == sha256(bundle.folder / "decoder.onnx")
    assert bundle.tokenizer().encode("K:G clef=treble\nc2|")[:2]


def test_checksums_cover_every_file(bundle: Bundle) -> None:
    covered = set(json.loads((bundle.folder / "checksums.json").read_text()))
    assert covered == {path.name for path in bundle.folder.iterdir()} - {"checksums.json"}


@pytest.mark.parametrize("name", ["manifest.json", "decoder.onnx", "tokenizer.json", "self_test.png", "checksums.json"])
def test_one_flipped_byte_is_found_wherever_it_is(bundle: Bundle, name: str) -> None:
    """Every byte of the checksums, which nothing else covers; some 60 of the others."""
    path = bundle.folder / name
    written = path.read_bytes()
    step = 1 if name == "checksums.json" else 1 + len(written) // 60
    for place in [*range(0, len(written), step), len(written) - 1]:
        for flip in (0x01, 0x20, 0x2A, 0xFF):  # 0x20 changes the case of a letter, 0x2A a space into a line's end
            path.write_bytes(written[:place] + bytes([written[place] ^ flip]) + written[place + 1 :])
            with pytest.raises(BundleError):
                read_bundle(bundle.folder)
    path.write_bytes(written)
    read_bundle(bundle.folder)


@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx", "checksums.json"])
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(bundle.folder)


def _rewrite(folder: Path, change: dict[str, object]) -> None:
    """Change the manifest and make its checksum right again."""
    path, sums = folder / "manifest.json", folder / "checksums.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    _cover(sums, "manifest.json", sha256(path))


def _cover(sums: Path, name: str, digest: str) -> None:
    """Enter a file into the checksums, as they are written."""
    entries = {**json.loads(sums.read_text()), name: digest}
    sums.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, "has schema 1, this version reads 2"),
        ({"schema": None}, "has schema None"),
        ({"io": {"layers": 1}}, "is no manifest of schema 2"),
        ({"io": 5}, "is no manifest"),
        ({"artifacts": [{"target": "onnx"}]}, "is no manifest"),
        ({"colour": "red"}, "colour"),
        ({"preparation": {"mode": "shoe"}}, "no field 'mode'"),
        ({"text": {"begin": 1}}, "is no manifest of schema 2"),
        ({"text": {**TEXT, "join": "glue"}}, "text.join is 'glue'"),
        ({"text": {**TEXT, "vocabulary": "other.json"}}, "no checksum for other.json"),
    ],
)
def test_a_foreign_manifest_is_one_sentence(bundle: Bundle, change: dict[str, object], message: str) -> None:
    _rewrite(bundle.folder, change)
    with pytest.raises(OmrError, match=message) as caught:
        read_bundle(bundle.folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../secret", "inside/../../secret", "/secret", "inside//secret", "inside\\secret"])
def test_a_bundle_names_no_files_outside_its_folder(bundle: Bundle, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("x")
    sums = bundle.folder / "checksums.json"
    _cover(sums, name, sha256(tmp_path / "secret"))
    with pytest.raises(BundleError, match="plain file names"):
        read_bundle(bundle.folder)


@pytest.fixture
def with_folder(manifest: Manifest, contents: Contents, tmp_path: Path) -> Bundle:
    """A bundle with a second target, whose format is a folder that holds several graphs."""
    package = tmp_path / "made" / "model.package"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "weights.bin").write_bytes(b"weights")
    (package / "Manifest.json").write_text("{}")
    files = dict.fromkeys(["encode_32", "encode_64", "decode_8"], "model.package")
    artifacts = (*manifest.artifacts, Artifact("other", "fp16", files))
    changed = replace(manifest, artifacts=artifacts)
    return write_bundle(tmp_path / "bundle", changed, {**contents, "model.package": package})


def test_a_format_that_is_a_folder_is_kept_whole(with_folder: Bundle) -> None:
    artifact = with_folder.manifest.artifacts[1]
    assert artifact.graphs_by_file() == {"model.package": ["encode_32", "encode_64", "decode_8"]}
    paths = with_folder.paths(artifact)
    assert (paths["decode_8"] / "Data" / "weights.bin").read_bytes() == b"weights"
    assert {"model.package/Data/weights.bin", "model.package/Manifest.json"} <= set(with_folder.manifest.files)


def test_one_changed_byte_inside_a_folder_is_found(with_folder: Bundle) -> None:
    (with_folder.folder / "model.package" / "Data" / "weights.bin").write_bytes(b"Weights")
    with pytest.raises(BundleError, match="weights.bin doesn't match its checksum"):
        read_bundle(with_folder.folder)


def test_a_target_that_reads_otherwise_has_its_own_self_test() -> None:
    test = SelfTest("p.png", {"fp16": [1], "other fp16": [2]}, 8)
    found = [test.expected(Artifact(target, precision, {})) for target, precision in
             (("onnx", "fp16"), ("other", "fp16"), ("other", "int8"))]  # fmt: skip
    assert found == [[1], [2], None]


@pytest.mark.parametrize("what", ["nothing", "file", "empty folder"])
def test_what_is_no_bundle_is_one_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "here"
    if what == "file":
        path.write_text("x")
    elif what == "empty folder":
        path.mkdir()
    with pytest.raises(BundleError, match="expected a bundle"):
        read_bundle(path)


def test_a_folder_of_something_else_is_never_replaced(
    manifest: Manifest, contents: Contents, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.png").write_bytes(b"meow")
    with pytest.raises(BundleError, match="is no bundle"):
        write_bundle(folder, manifest, contents)
    assert (folder / "cat.png").read_bytes() == b"meow"


def test_a_failed_write_leaves_the_older_bundle_and_no_litter(
    bundle: Bundle, manifest: Manifest, contents: Contents, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        write_bundle(bundle.folder, manifest, {**contents, "decoder.onnx": tmp_path / "gone.onnx"})
    assert read_bundle(bundle.folder).manifest.name == "tiny"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_interruption_at_any_line_leaves_the_older_bundle_or_the_new_one(
    bundle: Bundle, manifest: Manifest, contents: Contents, tmp_path: Path
) -> None:
    """Nothing half written, nothing lost, no litter, whichever line of the writer Ctrl-C strikes."""
    before = sorted(path.name for path in tmp_path.iterdir())
    newer = replace(manifest, name="newer")
    found = []
    for moment in itertools.count():
        finished = interrupted_at(moment, lambda: write_bundle(bundle.folder, newer, contents))
        found.append(read_bundle(bundle.folder).manifest.name)
        assert sorted(path.name for path in tmp_path.iterdir()) == before, moment
        if finished:
            break
        write_bundle(bundle.folder, manifest, contents)
    assert len(found) > 50 and found == sorted(found, reverse=True) and set(found) == {"tiny", "newer"}


def test_what_a_killed_writer_left_is_cleared_and_a_bundle_that_it_had_moved_away_comes_back(
    bundle: Bundle, manifest: Manifest, contents: Contents, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    left = tmp_path / f".{bundle.folder.name}.x3k_9a0b"
    (left / "new").mkdir(parents=True)
    bundle.folder.rename(left / "old")
    with pytest.raises(FileNotFoundError):
        write_bundle(bundle.folder, manifest, {**contents, "decoder.onnx": tmp_path / "gone.onnx"})
    assert read_bundle(bundle.folder).manifest.name == "tiny"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    other = tmp_path / f".{bundle.folder.name}.settings"
    other.mkdir()
    (other / "keep").write_text("mine")
    write_bundle(bundle.folder, manifest, contents)
    assert (other / "keep").read_text() == "mine"


def interrupted_at(moment: int, work: Callable[[], object]) -> bool:
    """Run until line `moment` of the manifest's module and press Ctrl-C there; whether it had finished before."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != manifest_module.__file__ or frame.f_code.co_name == "<genexpr>":
            return None
        if event == "line":
            lines += 1
            if lines == moment + 1:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return False
    finally:
        sys.settrace(before)
    return True


def test_a_bundle_replaces_an_older_one_whole(bundle: Bundle, manifest: Manifest, contents: Contents) -> None:
    (bundle.folder / "left_over.txt").write_text("old")
    write_bundle(bundle.folder, replace(manifest, name="newer"), contents)
    assert read_bundle(bundle.folder).manifest.name == "newer"
    assert not (bundle.folder / "left_over.txt").exists()


def test_a_file_that_was_not_given_is_named(manifest: Manifest, contents: Contents, tmp_path: Path) -> None:
    del contents["encoder.onnx"]
    with pytest.raises(BundleError, match=r"encoder\.onnx"):
        write_bundle(tmp_path / "new", manifest, contents)
    assert not (tmp_path / "new").exists()


def test_the_first_artifact_that_fits_is_chosen(manifest: Manifest) -> None:
    files = manifest.artifacts[0].files
    held = [("coreml", "fp16"), ("onnx", "int8"), ("onnx", "fp32")]
    several = replace(manifest, artifacts=tuple(Artifact(*names, files) for names in held))
    assert several.choose(["onnx"]).precision == "int8"
    assert several.choose(["onnx"], "fp32").precision == "fp32"
    with pytest.raises(BundleError, match="no onnx at precision 'int4'; choose from coreml fp16, onnx int8"):
        several.choose(["onnx"], "int4")


def test_names_of_the_contract() -> None:
    assert TINY.output_names("encode") == [
        *("cross_k_0", "cross_v_0", "cross_k_1", "cross_v_1", "memory_mask", "column_logits")
    ]
    assert TINY.input_names("decode")[:4] == ["token", "position", "self_k_0", "self_v_0"]
    assert TINY.output_names("decode") == ["logits", "new_k_0", "new_v_0", "new_k_1", "new_v_1"]
    shapes = {s.name: s.shape for s in TINY.input_spec("decode", B=1, S=16, T=4)}
    assert shapes["self_k_0"] == (1, 2, 16, 8) and shapes["memory_mask"] == (1, 1, 1, 4)
    assert TINY.dynamic_axes("encode")["image"] == {0: "B", 3: "W"}
    assert replace(TINY, columns={}).output_names("encode")[-1] == "memory_mask"


def test_no_tensor_has_more_than_four_axes() -> None:
    for graph in ("encode", "decode"):
        assert all(len(s.shape) <= 4 for s in TINY.input_spec(graph) + TINY.output_spec(graph))


def test_an_io_spec_survives_json() -> None:
    assert IOSpec.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY


@pytest.mark.parametrize("change", [{"memory": (4,)}, {"widths": (64, 32)}, {"slots": ()}])
def test_sizes_that_contradict_each_other_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="expected"):
        IOSpec(**{**TINY.__dict__, **change})  # type: ignore[arg-type]
