"""omr-transcribe: what it writes where, with a small random model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from runtime.__main__ import main
from runtime.abc.reader import parse
from runtime.bundle.manifest import Bundle
from runtime.errors import OmrError, run_command
from runtime.notation.score import to_midi, to_musicxml
from runtime.page.preparation import load_pages
from runtime.reading.reader import Page, Reader, SystemReading

DATA = Path(__file__).parent.parent / "data"
DEMO = DATA / "demo.png"
Capture = pytest.CaptureFixture[str]


def transcribe(bundle: Bundle, *arguments: str | Path) -> int:
    return run_command(lambda: main([*map(str, arguments), "--bundle", str(bundle.folder)]))


@pytest.fixture
def expected(bundle: Bundle) -> Page:
    return Reader(bundle.folder).read_page(load_pages(DEMO)[0])


@pytest.fixture
def two_pages(tmp_path: Path) -> Path:
    page = Image.open(DEMO)
    page.save(tmp_path / "two.pdf", save_all=True, append_images=[page], resolution=170)
    return tmp_path / "two.pdf"


def test_abc_goes_to_stdout_and_progress_to_stderr(bundle: Bundle, expected: Page, capsys: Capture) -> None:
    assert transcribe(bundle, DEMO) == 0
    out, err = capsys.readouterr()
    assert out == expected.abc
    assert "4 systems" in err and "onnx fp32: the first of its manifest that runs here" in err


def test_several_files_are_numbered_on_stdout(bundle: Bundle, expected: Page, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "again.png").write_bytes(DEMO.read_bytes())
    assert transcribe(bundle, DEMO, tmp_path / "again.png") == 0
    assert capsys.readouterr().out == f"{expected.abc}\n{expected.abc.replace('X:1', 'X:2')}"


def test_named_files_hold_the_piece(bundle: Bundle, expected: Page, tmp_path: Path, capsys: Capture) -> None:
    names = [tmp_path / "new" / f"a.{kind}" for kind in ("abc", "musicxml", "mid")]
    assert transcribe(bundle, DEMO, *(part for name in names for part in ("-o", name))) == 0
    assert capsys.readouterr().out == ""
    assert names[0].read_text() == expected.abc
    assert names[1].read_bytes() == to_musicxml([expected.abc], "demo")
    assert names[2].read_bytes() == to_midi([expected.abc])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.abc", "a.mid", "a.musicxml"]


def test_a_pdf_is_one_piece_but_one_tune_a_page(
    bundle: Bundle, expected: Page, two_pages: Path, tmp_path: Path
) -> None:
    assert transcribe(bundle, two_pages, "-o", tmp_path / "p.abc", "-o", tmp_path / "p.musicxml") == 0
    tunes = (tmp_path / "p.abc").read_text().split("\n\n")
    assert [tune.splitlines()[0] for tune in tunes] == ["X:1", "X:2"]
    pages = [page.abc for page in map(Reader(bundle.folder).read_page, load_pages(two_pages))]
    assert (tmp_path / "p.musicxml").read_bytes() == to_musicxml(pages, "two")


def test_a_folder_takes_three_files_of_each_input(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "b.png").write_bytes(DEMO.read_bytes())
    (source / "a.png").write_bytes(DEMO.read_bytes())
    (source / "a.pdf").write_bytes((DATA / "demo.pdf").read_bytes())
    (source / "notes.txt").write_text("not a page")
    assert transcribe(bundle, source, "-o", f"{tmp_path}/out/") == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    names = ("a.pdf", "a.png", "b")
    assert written == sorted(f"{name}.{kind}" for name in names for kind in ("abc", "musicxml", "mid"))


def test_json_is_one_object_a_page(bundle: Bundle, expected: Page, two_pages: Path, capsys: Capture) -> None:
    assert transcribe(bundle, DEMO, two_pages, "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["path"], row["page"]) for row in rows] == [(str(DEMO), 1), (str(two_pages), 1), (str(two_pages), 2)]
    assert rows[0]["abc"] == expected.abc and rows[0]["seconds"] > 0 and rows[0]["turned"] == 0
    for row, system in zip(rows[0]["systems"], expected.systems, strict=True):
        assert row["box"] == list(system.box) and row["abc"] == system.abc
        assert row["confidence"] == pytest.approx(system.confidence, abs=1e-4)


def test_a_page_without_music_in_a_pdf_is_passed_over(bundle: Bundle, tmp_path: Path, capsys: Capture) -> None:
    page = Image.open(DEMO)
    title = Image.new("L", page.size, 255)
    title.save(tmp_path / "book.pdf", save_all=True, append_images=[page], resolution=170)
    assert transcribe(bundle, tmp_path / "book.pdf", "--json") == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [len(row["systems"]) for row in rows] == [0, 4] and rows[0]["abc"] == ""
    assert "page 1: no staff" in err


def test_the_overlay_marks_every_system(bundle: Bundle, two_pages: Path, tmp_path: Path) -> None:
    assert transcribe(bundle, DEMO, two_pages, "--overlay", tmp_path / "o.png") == 0
    assert sorted(path.name for path in tmp_path.glob("o*")) == ["o-2.png", "o-3.png", "o.png"]
    picture = cv2.imread(str(tmp_path / "o.png")).astype(int)
    assert picture.shape[:2] == load_pages(DEMO)[0].shape
    coloured = np.abs(picture - picture.mean(axis=2, keepdims=True)).max(axis=2) > 60
    [page] = [Reader(bundle.folder).read_page(grey) for grey in load_pages(DEMO)]
    for system in page.systems:
        left, top, right, bottom = system.box
        beside = coloured[top:bottom, max(0, left - (bottom - top)) : left]
        assert beside.any(axis=1).all()  # the box's left side runs along the staff
    assert not coloured[-100:].any()


def test_the_overlay_of_a_sideways_page_is_upright(bundle: Bundle, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "side.png"), np.rot90(load_pages(DEMO)[0]))
    assert transcribe(bundle, tmp_path / "side.png", "--overlay", tmp_path / "o.png") == 0
    assert cv2.imread(str(tmp_path / "o.png")).shape[:2] == load_pages(DEMO)[0].shape


def test_one_bad_file_does_not_keep_the_others_from_being_read(
    bundle: Bundle, expected: Page, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    assert transcribe(bundle, tmp_path / "bad.png", tmp_path / "none.png", DEMO) == 2
    out, err = capsys.readouterr()
    assert out == expected.abc
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 2 and "bad.png" in errors[0] and "none.png" in errors[1]


OUTPUTS = [
    (("-o", "a.pdf"), "'a.pdf' has no ending we write; use .abc, .musicxml, .mid"),
    (("-o", "out"), "'out' has no ending"),
    (("-o", "a.abc", "-o", "a.docx"), "'a.docx'"),
    (("--overlay", "o.bmp"), "'o.bmp' has no ending we write; use .png"),
    (("-o", "file/"), "is a file"),
    (("-o", "file/a.abc"), "takes no new files"),
    (("--overlay", "folder"), "folder"),
]


@pytest.mark.parametrize(("options", "message"), OUTPUTS, ids=[" ".join(options) for options, _ in OUTPUTS])
def test_outputs_are_refused_before_anything_is_read(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    Path("folder").mkdir()
    # Neither the page nor the bundle exists: had anything been opened, that would be the complaint.
    assert run_command(lambda: main(["page.png", "--bundle", "nowhere", *options])) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_failed_write_leaves_the_older_file(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.abc"
    target.write_text("older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runtime.output.os.replace", full)
    assert transcribe(bundle, DEMO, "-o", target) == 2
    assert target.read_text() == "older" and [path.name for path in tmp_path.glob("*a.abc*")] == ["a.abc"]


def test_a_folder_without_pages_is_refused(bundle: Bundle, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert transcribe(bundle, tmp_path / "empty") == 2
    assert "holds no picture or PDF" in capsys.readouterr().err


def test_the_command_runs_as_a_module(bundle: Bundle, expected: Page, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime", str(DEMO), "--bundle", str(bundle.folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DATA.parent.parent, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.abc
    parse(done.stdout, strict=True)


def test_the_default_bundle_is_the_shipped_one(
    bundle: Bundle, expected: Page, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.reading.reader.SHIPPED", bundle.folder)
    assert run_command(lambda: main([str(DEMO)])) == 0
    out, err = capsys.readouterr()
    assert out == expected.abc and "shipped bundle tiny" in err


def test_a_bug_is_not_hidden(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a user can cause becomes exit code 2."""

    def broken(*_: object) -> Page:
        raise ZeroDivisionError

    monkeypatch.setattr(Reader, "read_page", broken)
    with pytest.raises(ZeroDivisionError):
        transcribe(bundle, DEMO)
    assert not issubclass(ZeroDivisionError, OmrError)


def test_confidence_is_on_the_overlay_only_as_drawn_text() -> None:
    """A reading with letters OpenCV can't draw does not break the picture."""
    from runtime.overlay import draw

    system = SystemReading((10, 10, 90, 30), "X:1\nL:1/8\nK:C clef=treble\n" + "é" * 400 + "\n", 0.5)
    picture = draw(np.full((60, 100), 255, np.uint8), Page([system], ""))
    assert picture.shape == (60, 100, 3) and picture.min() < 100
