"""The pages for app developers say what bundles hold: their code names the graphs' inputs and outputs and the
manifest's fields, and what can be compiled here is compiled and reads."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from export.__main__ import main
from export.target import graph_names
from runtime.manifest import read_bundle
from runtime.reader import SHIPPED
from tests.source import ROOT

PAGES = ROOT / "docs" / "platforms"
HOLE = re.compile(r"\$\{?(\w+)\}?|\\\((\w+)\)")  # what Kotlin and Swift put into texts: $layer, ${kind}, \(layer)


def code(page: str, language: str) -> str:
    """The first block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{page} shows no {language}"
    return found[1]


def texts(source: str) -> list[str]:
    return re.findall(r'"((?:[^"\\]|\\.)*)"', source)


def filled(text: str, values: dict[str, list[str]]) -> set[str]:
    """A text with every value in each of its holes."""
    holes = [first or second for first, second in HOLE.findall(text)]
    pattern = HOLE.sub("{}", text)
    return {pattern.format(*found) for found in itertools.product(*(values[hole] for hole in holes))}


@pytest.mark.parametrize(("page", "language"), [("android.md", "kotlin"), ("ios.md", "swift")])
def test_a_page_names_what_the_contract_names(page: str, language: str) -> None:
    """Every name of an input, output and graph, and no other that looks like one."""
    spec = read_bundle(SHIPPED).manifest.io
    values = {
        "layer": [str(layer) for layer in range(spec.layers)], "kind": ["k", "v"],
        "size": [str(size) for size in spec.slots], "bucket": [str(width) for width in spec.widths],
    }  # fmt: skip
    patterns = [text for text in texts(code(page, language)) if re.match(r"(cross|self|new|encode|decode)_", text)]
    written = set().union(*(filled(text, values) for text in patterns))
    written |= set(texts(code(page, language)))
    tensors = {name for graph in ("encode", "decode") for name in spec.input_names(graph) + spec.output_names(graph)}
    graphs = {name for group in graph_names(spec, ()).values() for name in group}
    needed = {name for name in tensors | graphs if name != "column_logits" and "x" not in name}
    assert needed <= written
    looks = re.compile(r"(cross|self|new)_[kv]_\d+|(encode|decode)_\d+")
    assert {text for text in written if looks.fullmatch(text)} <= needed


@pytest.mark.parametrize(
    ("page", "language", "asked"),
    [
        ("android.md", "kotlin", r'\.get(?:Int|String|JSON\w+)\("(\w+)"\)'),
        ("ios.md", "swift", r"(?m)^ +let ([\w, ]+): (?:\[|Int|String|IO)"),
    ],
)
def test_a_page_asks_for_fields_that_there_are(page: str, language: str, asked: str) -> None:
    manifest = read_bundle(SHIPPED).manifest.to_dict()
    fields = {*manifest, *manifest["io"], *manifest["artifacts"][0], "vocabulary"}
    found = {name for names in re.findall(asked, code(page, language)) for name in names.split(", ")}
    assert found <= fields and {"schema", "io", "tokenizer", "slots", "widths"} <= found


@pytest.fixture(scope="module")
def read_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ page's program, built as the page says."""
    pytest.importorskip("executorch.exir", reason="needs executorch: make setup-phones")
    if not shutil.which("g++"):
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "read_line.cpp").write_text(code("cpp.md", "cpp"))
    commands = re.findall(r"```sh\n(.*?)```", (PAGES / "cpp.md").read_text(encoding="utf-8"), re.DOTALL)
    [build] = [command for command in commands if command.startswith("g++")]
    spec = importlib.util.find_spec("executorch")
    assert spec and spec.submodule_search_locations
    package = spec.submodule_search_locations[0]
    done = subprocess.run(["sh", "-ec", f"P={package}; {build}"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "read_line"


@pytest.mark.slow
def test_the_cpp_program_reads_the_self_test(read_line: Path, tmp_path: Path) -> None:
    """`pocket` in fp32 and int8; the picture fills more than one method's width."""
    call = ["--target", "executorch", "--precision", "fp32,int8", "--out", str(tmp_path / "bundle")]
    assert main(call) == 0
    bundle = read_bundle(tmp_path / "bundle")
    test = bundle.manifest.self_test
    assert test
    grey = cv2.imread(str(bundle.folder / test.picture), cv2.IMREAD_GRAYSCALE)
    write_pgm(tmp_path / "line.pgm", np.asarray(grey, np.uint8))
    for artifact in bundle.manifest.artifacts:
        model = bundle.path(artifact, "decode_256")
        done = subprocess.run([read_line, model, tmp_path / "line.pgm"], capture_output=True, text=True, check=True)
        assert [int(token) for token in done.stdout.split()] == test.expected(artifact)


def test_the_cpp_program_refuses_what_it_cannot_read(read_line: Path, tmp_path: Path) -> None:
    done = subprocess.run([read_line, tmp_path / "gone.pte", tmp_path / "line.pgm"], capture_output=True, text=True)
    assert done.returncode == 1 and "error: " in done.stderr


def write_pgm(path: Path, grey: np.ndarray) -> None:
    rows, columns = grey.shape
    path.write_bytes(b"P5\n%d %d\n255\n" % (columns, rows) + grey.tobytes())
