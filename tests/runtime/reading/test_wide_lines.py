"""Strips wider than the network: every symbol lands in one piece, and the pieces' readings join to the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.abc.reader import parse
from runtime.abc.staves import parse_staves
from runtime.abc.tune import write
from runtime.bundle.tokenizer import AtomTokenizer
from runtime.inference.engine import Floats
from runtime.metrics import note_accuracy
from runtime.page.geometry import Grey
from runtime.page.preparation import load_pages, prepare
from runtime.page.systems import lay_out
from runtime.reading.column_head import SIZES, SYMBOL_CLASSES
from runtime.reading.decode import Reading
from runtime.reading.reader import Reader
from runtime.reading.wide_lines import ColumnsOf, header_end, join_pieces, joined, pieces, smaller_width

DATA = Path(__file__).parents[2] / "data"
STRIDE = 8
BAR, NOTE = SYMBOL_CLASSES.index("|"), SYMBOL_CLASSES.index("note")
HEADER = [SYMBOL_CLASSES.index("clef=bass"), 0, SYMBOL_CLASSES.index("key_sharp")]


def drawn(classes: list[int]) -> Grey:
    """A strip whose columns say what they are: one column of px for each symbol, darker the higher its class."""
    strip = np.full((4, STRIDE * len(classes)), 255, np.uint8)
    strip[:, STRIDE // 2 :: STRIDE] -= np.array(classes, np.uint8)
    return strip


def columns_of(strip: Grey) -> Floats:
    """What `drawn` drew, wherever the strip was cut."""
    padded = np.pad(strip, ((0, 0), (0, -strip.shape[1] % STRIDE)), constant_values=255)
    found = (255 - padded.min(axis=0)).reshape(-1, STRIDE).max(axis=1)
    logits = np.zeros((len(found), sum(SIZES.values())), np.float32)
    logits[np.arange(len(found)), found] = 1
    return logits


def symbols_in(strip: Grey) -> list[int]:
    return [int(255 - value) for value in strip.min(axis=0) if value < 255]


MUSIC = st.lists(st.sampled_from([0, 0, NOTE, BAR]), min_size=1, max_size=300)


@given(MUSIC, st.integers(240, 600))
def test_pieces_hold_every_symbol_once_with_clef_and_key_in_front(music: list[int], most: int) -> None:
    line = drawn([0, *HEADER, 0, NOTE, 0, *music])
    header = [symbol for symbol in HEADER if symbol]
    found = pieces(line, columns_of, most)
    assert all(piece.shape[1] <= most for piece in found)
    assert all(symbols_in(piece)[:2] == header for piece in found)
    assert header + [s for piece in found for s in symbols_in(piece)[2:]] == symbols_in(line)


def test_cuts_stand_after_bar_lines() -> None:
    bar = [NOTE, 0, NOTE, 0, 0, NOTE, 0, BAR, 0]
    found = pieces(drawn([0, *HEADER, 0, *(20 * bar)]), columns_of, 400)
    assert len(found) > 3
    assert all(symbols_in(piece)[-1] == BAR for piece in found)


def test_a_line_that_fits_is_left_alone_and_not_looked_at() -> None:
    line = drawn([0, *HEADER, NOTE])
    [piece] = pieces(line, lambda strip: pytest.fail("looked"), line.shape[1])
    assert piece is line


def test_a_strip_without_a_clef_or_with_nothing_is_still_cut() -> None:
    line = drawn([0, NOTE, 0, BAR, 0] * 40)
    found = pieces(line, columns_of, 300)
    assert sum(piece.shape[1] for piece in found) == line.shape[1]
    blank = np.full((4, 1000), 255, np.uint8)
    assert sum(piece.shape[1] for piece in pieces(blank, columns_of, 300)) == 1000


JOINS = {
    "bars follow one another": (
        ["M:C\nK:D clef=treble\nD8|", "K:D clef=treble\nF8|]"],
        "M:C\nK:D clef=treble\nD8|F8|]",
    ),
    "under a clef that changed": (
        ["K:C clef=bass\nC,8|[K:clef=tenor]C8|", "K:C clef=bass\nC,8|{D,}[C,E,]8|[K:clef=bass]C,8|"],
        "K:C clef=bass\nC,8|[K:clef=tenor]C8|G,8|{A,}[G,B,]8|[K:clef=bass]C,8|",
    ),
    "a clef that one piece reads otherwise": (
        ["K:C clef=alto\nC8|", "K:C clef=tenor\nA,8|"],
        "K:C clef=alto\nC8|C8|",
    ),
    "a key that changes": (
        ["K:D clef=treble\nD8||[K:G]G8|", "K:D clef=treble\nF8|"],
        "K:D clef=treble\nD8||[K:G]G8|F8|",
    ),
    "ties stay, slurs over the cut go": (
        ["K:C clef=treble\n(C8-|", "K:C clef=treble\nC4)D4|"],
        "K:C clef=treble\nC8-|C4D4|",
    ),
}


@pytest.mark.parametrize(("texts", "whole"), JOINS.values(), ids=JOINS.keys())
def test_readings_of_pieces_join(texts: list[str], whole: str) -> None:
    found = join_pieces([f"X:1\nL:1/8\n{text}\n" for text in texts])
    assert found == f"X:1\nL:1/8\n{whole}\n"
    parse(found, strict=True)


def test_several_staves_join_staff_by_staff() -> None:
    first, second = (
        f"X:1\nL:1/8\nK:C clef=treble\n%%score {{1 2}}\nV:1\n{upper}\nV:2 clef=bass\n{lower}\n"
        for upper, lower in (("c8|c8|", "C,8|[K:clef=alto]C8|"), ("d8|", "C,8|"))
    )
    upper, lower = parse_staves(join_pieces([first, second]))
    assert write(upper).endswith("\nc8|c8|d8|\n")
    assert write(lower).endswith("\nC,8|[K:clef=alto]C8|B,8|\n")


def test_a_joined_reading_is_as_sure_as_its_tokens_and_finished_when_all_are() -> None:
    tokenizer = AtomTokenizer()
    sure = Reading(tokenizer.encode("K:C clef=treble\nC8|"), -0.1, True)
    unsure = Reading(sure.tokens, -0.3, True)
    assert joined([sure], tokenizer) is sure
    both = joined([sure, unsure], tokenizer)
    assert tokenizer.decode(both.tokens) == "X:1\nL:1/8\nK:C clef=treble\nC8|C8|\n"
    assert both.log_probability == pytest.approx(-0.2)
    assert both.finished
    assert not joined([sure, Reading([], -9.0, False)], tokenizer).finished


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture(scope="module")
def panorama(reader: Reader) -> Grey:
    """The demo page's systems, and the first two again, side by side on one staff."""
    layout = lay_out(load_pages(DATA / "demo.png")[0])
    lines = [prepare(layout.grey, reader.preparation, system.staves[0]) for system in layout.systems]
    parts = [lines[0]]
    for line in [*lines[1:], *lines[:2]]:
        found = reader._columns_of(line)[:, : SIZES["symbol"]].argmax(axis=1)
        parts.append(line[:, header_end(line, found) :])
    return np.hstack(parts)


def test_a_staff_as_long_as_a_page_is_read(reader: Reader, panorama: Grey) -> None:
    assert panorama.shape[1] > reader.preparation.width_buckets[-1]
    demo = (DATA / "demo.abc").read_text(encoding="utf-8")
    header, music = demo.rsplit("clef=treble\n", 1)
    lines = music.splitlines()
    assert len(lines) == 4
    expected = f"{header}clef=treble\n" + "\n".join([*lines, *lines[:2]])
    [read] = reader.read_prepared([panorama])
    assert note_accuracy([expected], [reader.tokenizer.decode(read.tokens)]) >= 99


def test_what_the_columns_contradict_is_read_again(
    reader: Reader, panorama: Grey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that writes but the beginning of wide strips: the second look reads on."""
    strip = panorama[:, :2000]
    [good] = reader.read_prepared([strip])
    read_once = reader._read_once

    def hasty(lines: list[Grey]) -> tuple[list[Reading], list[Floats | None]]:
        readings, seen = read_once(lines)
        cut = [
            Reading(r.tokens[:12], r.log_probability, True) if line.shape[1] > smaller_width(2000) else r
            for r, line in zip(readings, lines, strict=True)
        ]
        return cut, seen

    monkeypatch.setattr(reader, "_read_once", hasty)
    [again] = reader.read_prepared([strip])
    expected, text = (reader.tokenizer.decode(r.tokens) for r in (good, again))
    assert note_accuracy([expected], [text]) >= 98
    monkeypatch.setattr(reader, "second_look", False)
    [hurried] = reader.read_prepared([strip])
    assert len(hurried.tokens) == 12


@pytest.mark.parametrize(("wide_lines", "cut"), [("pieces", 1), ("narrow", 0)])
def test_a_reader_takes_wide_lines_as_the_manifest_says(
    wide_lines: str, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut from the first px on that has no room for its margin, or scaled down."""
    reader, found = Reader(second_look=False), list[Grey]()

    def counted(line: Grey, columns_of: ColumnsOf, most: int) -> list[Grey]:
        assert most == reader.preparation.widest_line
        found.extend([line] if line.shape[1] > most else [])
        return [line]

    monkeypatch.setattr("runtime.reading.reader.pieces", counted)
    reader.preparation = replace(reader.preparation, wide_lines=wide_lines, width_buckets=(192,))
    assert len(reader.read_prepared([np.full((96, 192 - 24 + n), 255, np.uint8) for n in (0, 1)])) == 2
    assert len(found) == cut
