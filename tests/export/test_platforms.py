"""The pages for app developers: the C++ program is compiled and reads what the runtime reads, and the classes in
Kotlin and Swift do step by step what the program does, with names and fields that bundles have."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from export.__main__ import main
from export.bundle.write import as_read
from export.target import graph_names
from runtime.bundle.io_spec import MASKED
from runtime.bundle.manifest import SCHEMA, Bundle, read_bundle, write_bundle
from runtime.page.geometry import Grey
from runtime.page.preparation import Preparation, load_pages
from runtime.reading.decode import Reading
from runtime.reading.reader import SHIPPED, Reader
from tests.music import rows
from tests.source import ROOT

from .app_pages import LANGUAGES, PAGES, blocks, check_agreement, code, facts, fields, schema, steps

HOLE = re.compile(r"\$\{?(\w+)\}?|\\\((\w+)\)")  # what Kotlin and Swift put into texts: $layer, ${kind}, \(layer)
TEXT = read_bundle(SHIPPED).manifest.text.to_dict()
HEADER = Path(__file__).parent / "onnxruntime_c_api.h"


def texts(source: str) -> list[str]:
    return re.findall(r'"((?:[^"\\]|\\.)*)"', source)


def filled(text: str, values: dict[str, list[str]]) -> set[str]:
    """A text with every value in each of its holes."""
    holes = [first or second for first, second in HOLE.findall(text)]
    pattern = HOLE.sub("{}", text)
    return {pattern.format(*found) for found in itertools.product(*(values[hole] for hole in holes))}


@pytest.mark.parametrize("page", ["android.md", "ios.md"])
def test_a_page_names_what_the_contract_names(page: str) -> None:
    """Every name of an input, output and graph, and no other that looks like one."""
    spec = read_bundle(SHIPPED).manifest.io
    values = {
        "layer": [str(layer) for layer in range(spec.layers)], "kind": ["k", "v"],
        "size": [str(size) for size in spec.slots], "bucket": [str(width) for width in spec.widths],
    }  # fmt: skip
    patterns = [text for text in texts(code(page)) if re.match(r"(cross|self|new|encode|decode)_", text)]
    written = set().union(*(filled(text, values) for text in patterns))
    written |= set(texts(code(page)))
    tensors = {name for graph in ("encode", "decode") for name in spec.input_names(graph) + spec.output_names(graph)}
    graphs = {name for group in graph_names(spec, ()).values() for name in group}
    needed = {name for name in tensors | graphs if name != "column_logits" and "x" not in name}
    assert needed <= written
    looks = re.compile(r"(cross|self|new)_[kv]_\d+|(encode|decode)_\d+")
    assert {text for text in written if looks.fullmatch(text)} <= needed


@pytest.mark.parametrize("page", LANGUAGES)
def test_a_page_asks_for_fields_that_there_are(page: str) -> None:
    """And refuses what isn't of the schema that has them."""
    manifest = read_bundle(SHIPPED).manifest.to_dict()
    parts = {**manifest, "artifact": manifest["artifacts"][0]}
    found = fields(page, code(page))
    assert [(part, name) for part, name in found if name not in parts[part]] == []
    needed = {"margin", "wide_lines", "paper", "ink", "mean", "std"} | set(manifest["text"])
    assert needed <= {name for part, name in found if part in ("preparation", "text")}
    assert [text.split()[1] for text in schema(code(page))] == [str(SCHEMA)]


def test_kotlin_and_swift_do_step_by_step_what_cpp_does() -> None:
    sources = {page: code(page) for page in LANGUAGES}
    check_agreement(sources)
    found = [facts(body) for body in steps(sources["cpp.md"]).values()]
    assert len(found) == 5
    assert float("-1e4") == MASKED and "-1e4" in found[2]
    assert {"width >= columns + margin", "held = memory[bucket]"} <= found[0]
    assert {"position < slots.LAST", "slot > position", "token == end", "token = begin"} <= found[3]


def test_a_manifest_says_that_lines_are_cut_only_where_columns_are_seen() -> None:
    manifest = read_bundle(SHIPPED).manifest
    assert as_read(manifest.preparation, manifest.io).wide_lines == "pieces"
    assert as_read(manifest.preparation, replace(manifest.io, columns={})).wide_lines == "narrow"


# What somebody might change in one page only.
SLIPS = [
    (r"columns \+ margin", "columns + 2"),
    (r">= columns", "> columns"),
    (r"held = memory", "held = widths"),
    (r"value - ink\)", "value - paper)"),
    (r"- mean\)", "+ mean)"),
    (r"/ deviation", "* deviation"),
    (r"number\(paper\)", "number(ink)"),
    (r"(x < |x in 0 until |x in 0\.\.<)columns", r"\1bucket"),
    (r"-1e4", "-1e5"),
    (r"widest = memory\.(back|last)", "widest = memory.front"),
    (r"cache\((kind, )?widest\)", r"cache(\1held)"),
    (r"token = begin", "token = end"),
    (r"slots\.(back\(\)|last\(\)|last!)", "widest"),
    (r"position == size", "position > size"),
    (r"slot > position", "slot >= position"),
    (r"position > 0", "position >= 0"),
    (r"token == end\b", "token == begin"),
    (r"position\)(;\n|\n)", r"0)\1"),
    (r'"treble"', '"bass"'),
    (r'"\[K:"', '"["'),
    (r'(schema"?\)? [!=]= )2', r"\g<1>1"),
    (r'"margin"|preparation\.margin', "preparation.height"),
    (r'(deviation = preparation\.)(\w+\("std"\)|std)', r"\1mean"),
    (r"wider than this bundle reads", "too wide"),
]


@pytest.mark.parametrize("slip", SLIPS, ids=[pattern for pattern, _ in SLIPS])
@pytest.mark.parametrize("page", LANGUAGES)
def test_a_change_in_one_page_only_is_found(page: str, slip: tuple[str, str]) -> None:
    sources = {name: code(name) for name in LANGUAGES}
    changed = re.sub(*slip, sources[page])
    assert changed != sources[page], f"{page} no longer has {slip[0]}"
    with pytest.raises(AssertionError):
        check_agreement({**sources, page: changed})


def test_every_page_says_what_an_app_brings_besides() -> None:
    """The same list, of files that there are."""
    said = set()
    for page in LANGUAGES:
        text = (PAGES / page).read_text(encoding="utf-8")
        section = text.partition("## What an app brings besides\n")[2]
        items = re.findall(r"^- .*$", section, re.MULTILINE)
        said.add("\n".join(items).replace("program", "class"))
        links = re.findall(r"\]\((\.\./[^)#]+)\)", text)
        assert [link for link in links if not (PAGES / link).exists()] == []
    assert len(said) == 1 and "runtime/page/systems.py" in said.pop()


def build(folder: Path, parts: Sequence[str], command: str, package: Path) -> Path:
    """The C++ page's program, built by a command of the page."""
    if not shutil.which("g++"):
        pytest.skip("needs g++")
    (folder / "read_lines.cpp").write_text("\n".join(parts), encoding="utf-8")
    done = subprocess.run(["sh", "-ec", f"P={package}; {command}"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "read_lines"


def cpp_blocks() -> tuple[list[str], list[str]]:
    """The page's code (before, ONNX Runtime's, after, ExecuTorch's), and the lines of both engines' build commands."""
    text = (PAGES / "cpp.md").read_text(encoding="utf-8")
    return blocks(text, "cpp"), [block.splitlines() for block in blocks(text, "sh") if block.startswith("g++")]


@pytest.fixture(scope="module")
def read_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with ONNX Runtime: the library of the Python package, under the names that a release has."""
    spec = importlib.util.find_spec("onnxruntime")
    assert spec and spec.submodule_search_locations
    library = next(Path(spec.submodule_search_locations[0], "capi").glob("libonnxruntime.so.*"), None)
    if library is None:
        pytest.skip("the onnxruntime package of this system has no libonnxruntime.so")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("include", "lib"):
        (folder / name).mkdir()
    shutil.copy(HEADER, folder / "include")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(library)
    parts, commands = cpp_blocks()
    return build(folder, parts[:3], commands[0][0], folder)


class Recorder(Reader):
    """A reader that keeps the lines it prepared and what it read in them, greedily and once."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(bundle, second_look=False)
        self.lines: list[Grey] = []
        self.readings: list[Reading] = []

    def read_prepared(self, lines: Sequence[Grey]) -> list[Reading]:
        found = super().read_prepared(lines)
        self.lines += lines
        self.readings += found
        return found


def write_pgm(path: Path, grey: Grey) -> Path:
    rows, columns = grey.shape
    path.write_bytes(b"P5\n%d %d\n255\n" % (columns, rows) + grey.tobytes())
    return path


def run(program: Path, bundle: Path, precision: str, lines: Sequence[Path]) -> list[tuple[list[int], str]]:
    """Ids and ABC of each line."""
    done = subprocess.run([program, bundle, precision, *lines], capture_output=True, text=True, check=True)
    parts = [part.partition("\n") for part in done.stdout.split("\n\n")[:-1]]
    return [([int(token) for token in ids.split()], f"{abc}\n") for ids, _, abc in parts]


def check_reads_alike(program: Path, bundle: Path, page: Grey, folder: Path) -> Recorder:
    """The program reads in the lines of a page the tokens and text that the runtime reads."""
    reader = Recorder(bundle)
    reader.read_page(page)
    lines = [write_pgm(folder / f"{number}.pgm", line) for number, line in enumerate(reader.lines)]
    found = run(program, bundle, reader.artifact.precision, lines)
    assert [ids for ids, _ in found] == [reading.tokens for reading in reader.readings]
    assert [abc for _, abc in found] == [reader.tokenizer.decode(reading.tokens) for reading in reader.readings]
    return reader


def drawn_page() -> Grey:
    """Lines of one to five bars, engraved at 14 px a staff space, one below the other."""
    drawn = [cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), 0) for row in rows("train", 5, 3, 5)]
    page = np.full((192 * len(drawn) + 120, max(line.shape[1] for line in drawn) * 2 + 160), 255, np.uint8)
    for number, line in enumerate(drawn):
        larger = cv2.resize(line, None, fx=192 / line.shape[0], fy=192 / line.shape[0], interpolation=cv2.INTER_CUBIC)
        top = 60 + 192 * number
        page[top : top + 192, 80 : 80 + larger.shape[1]] = larger
    return page


@pytest.mark.parametrize("page", ["demo.png", "demo_photo.jpg", "drawn"])
def test_the_cpp_program_reads_pages_as_the_runtime_does(read_lines: Path, page: str, tmp_path: Path) -> None:
    """Tokens and text of every line of three pages are the same."""
    grey = drawn_page() if page == "drawn" else load_pages(ROOT / "tests" / "data" / page)[0]
    reader = check_reads_alike(read_lines, SHIPPED, grey, tmp_path)
    assert len(reader.lines) >= 4 and all(reading.finished and reading.tokens for reading in reader.readings)


def changed(folder: Path, **preparation: object) -> Bundle:
    """The shipped bundle with another preparation."""
    shipped = read_bundle(SHIPPED)
    manifest = replace(shipped.manifest, preparation=replace(shipped.manifest.preparation, **preparation))  # type: ignore[arg-type]
    return write_bundle(folder, manifest, {name: SHIPPED / name for name in manifest.files})


def test_margin_and_greys_come_from_the_manifest(read_lines: Path, tmp_path: Path) -> None:
    """Other values than the network was trained with change what is read, in the program as in the runtime."""
    page = load_pages(ROOT / "tests" / "data" / "demo.png")[0]
    bundle = changed(tmp_path / "bundle", margin=700, paper=250, ink=5, mean=0.48, std=0.52)
    reader = check_reads_alike(read_lines, bundle.folder, page, tmp_path)
    usual = Recorder(SHIPPED)
    usual.read_page(page)
    assert [one.log_probability for one in usual.readings] != [one.log_probability for one in reader.readings]


def refusal(read_lines: Path, bundle: Path, line: Path) -> str:
    done = subprocess.run([read_lines, bundle, "int8", line], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


def test_the_cpp_program_refuses_what_it_cannot_read(read_lines: Path, tmp_path: Path) -> None:
    widest = Preparation.from_dict(read_bundle(SHIPPED).manifest.to_dict()["preparation"]).widest_line
    fits, wide = (write_pgm(tmp_path / f"{n}.pgm", np.full((96, widest + n), 255, np.uint8)) for n in (0, 1))
    assert len(run(read_lines, SHIPPED, "int8", [fits])) == 1
    said = refusal(read_lines, SHIPPED, wide)
    assert "a line of 2025 px is wider than this bundle reads; it asks for pieces" in said
    assert "can't be opened" in refusal(read_lines, tmp_path / "gone", fits)
    assert "a prepared line is 96 px high" in refusal(
        read_lines, SHIPPED, write_pgm(tmp_path / "low.pgm", np.full((95, 50), 255, np.uint8))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, "the bundle has another schema than 2; export it again"),
        ({"preparation": {}}, "there is no margin in the bundle's JSON; export it again"),
        ({"text": {**TEXT, "join": "bpe"}}, "the bundle's tokens don't join as atoms"),
        ({"artifacts": []}, "the bundle has no onnx artifact in int8 with float32 caches; export one"),
    ],
)
def test_the_cpp_program_refuses_other_bundles(
    read_lines: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(SHIPPED, folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    assert message in refusal(read_lines, folder, write_pgm(tmp_path / "line.pgm", np.full((96, 90), 255, np.uint8)))


@pytest.mark.slow
def test_the_cpp_program_reads_with_executorch(tmp_path: Path) -> None:
    """`pocket` in fp32 and int8; the self-test's picture fills more than one method's width."""
    pytest.importorskip("executorch.exir", reason="needs executorch: make setup-phones")
    spec = importlib.util.find_spec("executorch")
    assert spec and spec.submodule_search_locations
    parts, commands = cpp_blocks()
    package = Path(spec.submodule_search_locations[0])
    program = build(tmp_path, [parts[0], parts[3], parts[2]], "\n".join(commands[1]), package)
    assert main(["--target", "executorch", "--precision", "fp32,int8", "--out", str(tmp_path / "bundle")]) == 0
    bundle = read_bundle(tmp_path / "bundle")
    test = bundle.manifest.self_test
    assert test
    grey = cv2.imread(str(bundle.folder / test.picture), cv2.IMREAD_GRAYSCALE)
    line = write_pgm(tmp_path / "line.pgm", np.asarray(grey, np.uint8))
    for artifact in bundle.manifest.artifacts:
        [(ids, abc)] = run(program, bundle.folder, artifact.precision, [line])
        assert ids == test.expected(artifact)
        assert abc == bundle.tokenizer().decode(ids)
