"""The reader's plumbing with a small random model: order, batches, boxes; and how lines join to a tune."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.bundle.manifest import Bundle
from runtime.errors import OmrError
from runtime.page.preparation import load_pages, prepare
from runtime.page.systems import lay_out
from runtime.reading.join_lines import join_lines, numbered
from runtime.reading.reader import NoStaffError, Reader

from ..drawn_page import draw_page

DATA = Path(__file__).parents[2] / "data"
HEADER = "X:1\nL:1/8\n"


@pytest.fixture
def reader(bundle: Bundle) -> Reader:
    return Reader(bundle.folder)


def test_a_page_is_read_system_by_system(reader: Reader) -> None:
    [grey] = load_pages(DATA / "demo.png")
    page = reader.read_page(grey)
    assert [system.box for system in page.systems] == [system.box for system in lay_out(grey).systems]
    assert all(0 <= system.confidence <= 1 for system in page.systems)
    assert page.abc == join_lines([system.abc for system in page.systems])
    assert page.turned == 0


def test_lines_read_the_same_alone_and_together(reader: Reader) -> None:
    """Also for widths of several buckets, whose batches come in another order."""
    rng = np.random.default_rng(0)
    p = reader.preparation
    widths = [10, 60, 30, 64, 12, 90, 31, 8, 50, 20, 44]
    lines = [rng.integers(0, 256, (p.height, width)).astype(np.uint8) for width in widths]
    together = reader.read_prepared(lines)
    alone = [reader.read_prepared([line])[0] for line in lines]
    assert [reading.tokens for reading in together] == [reading.tokens for reading in alone]
    assert len({tuple(reading.tokens) for reading in together}) > 3  # the model does look at its lines
    assert [r.confidence for r in together] == pytest.approx([r.confidence for r in alone], rel=1e-4)


def test_single_lines_are_straightened_like_those_of_a_page(reader: Reader) -> None:
    page, _ = draw_page(1, 9.0, apart=10.0)
    [read] = reader.read_lines([page])
    [system] = lay_out(page).systems
    [expected] = reader.read_prepared([prepare(page, reader.preparation, system.staves[0])])
    assert read == reader.tokenizer.decode(expected.tokens)


def test_a_line_without_a_staff_is_read_as_it_is(reader: Reader) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (reader.preparation.height, 30)).astype(np.uint8)
    [read] = reader.read_lines([noise])
    [expected] = reader.read_prepared([prepare(noise, reader.preparation)])
    assert read == reader.tokenizer.decode(expected.tokens)


def test_a_page_without_staff_says_so(reader: Reader) -> None:
    with pytest.raises(NoStaffError, match="no staff of five lines found in a picture of 300 x 200 px"):
        reader.read_page(np.full((200, 300), 255, np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": "onx"}, "did you mean 'onnx'"), ({"precision": "int3"}, "int3")],
)
def test_what_the_bundle_lacks_is_one_sentence(options: dict[str, str], message: str, bundle: Bundle) -> None:
    with pytest.raises(OmrError, match=message):
        Reader(bundle.folder, **options)


JOINED = {
    "clef and key carried on": (
        ["M:C\nK:D clef=treble\nD2E2|", "K:D clef=treble\nF2G2|]"],
        "M:C\nK:D clef=treble\nD2E2|\nF2G2|]",
    ),
    "a change of key between lines": (
        ["K:D clef=treble\nD8|", "K:G clef=treble\nG8|", "K:G clef=treble\nA8|"],
        "K:D clef=treble\nD8|\n[K:G]G8|\nA8|",
    ),
    "a courtesy key at the end of a line": (
        ["K:D clef=treble\nD8||[K:G]", "K:G clef=treble\nG8|"],
        "K:D clef=treble\nD8||[K:G]\nG8|",
    ),
    "a clef changed inside a line": (
        ["K:C clef=bass\nC,8|[K:clef=tenor]C8|", "K:C clef=tenor\nD8|", "K:C clef=bass\nC,8|"],
        "K:C clef=bass\nC,8|[K:clef=tenor]C8|\nD8|\n[K:clef=bass]C,8|",
    ),
    "a meter only where it is drawn": (
        ["M:3/4\nK:C clef=treble\nC6|", "K:C clef=treble\nD6|", "M:2/4\nK:C clef=treble\nE4|"],
        "M:3/4\nK:C clef=treble\nC6|\nD6|\n[M:2/4]E4|",
    ),
    "lines without music": (
        ["K:F clef=alto\n", "K:C clef=treble\nC8|", "K:F clef=alto\n"],
        "K:C clef=treble\nC8|",
    ),
    "a tie over the end of a line": (
        ["K:C clef=treble\nC8-|", "K:C clef=treble\nC8|"],
        "K:C clef=treble\nC8-|\nC8|",
    ),
    "nothing at all": ([], "K:C clef=treble\n"),
}


@pytest.mark.parametrize(("lines", "page"), JOINED.values(), ids=JOINED.keys())
def test_lines_join_to_one_tune(lines: list[str], page: str) -> None:
    joined = join_lines([f"{HEADER}{line}\n" for line in lines])
    assert joined == f"{HEADER}{page}\n"
    assert join_lines([joined]) == joined
    parse(joined, strict=True)


def test_several_tunes_are_numbered() -> None:
    tunes = [f"{HEADER}K:C clef=treble\nC8|\n", f"{HEADER}K:G clef=treble\nG8|\n"]
    assert numbered(tunes) == f"{tunes[0]}\nX:2\n{tunes[1][4:]}"
    assert numbered(tunes[1:], 7).startswith("X:7\nL:1/8\nK:G")
