"""The shipped model reads a real page that another engraver made."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.abc.symbols import symbols
from runtime.metrics import note_accuracy, ser
from runtime.page.preparation import load_pages, prepare
from runtime.page.systems import lay_out
from runtime.reading.reader import Reader

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.mark.parametrize(("name", "notes"), [("demo.png", 100), ("demo.pdf", 100), ("demo_photo.jpg", 95)])
def test_the_shipped_model_reads_the_demo_page(reader: Reader, name: str, notes: float) -> None:
    expected = (DATA / "demo.abc").read_text(encoding="utf-8")
    page = reader.read_page(load_pages(DATA / name)[0])
    assert len(page.systems) == 4
    assert note_accuracy([expected], [page.abc]) >= notes
    assert ser([symbols(expected)], [symbols(page.abc)]) <= 5


def test_a_line_reads_the_same_alone_and_among_others(reader: Reader) -> None:
    page = load_pages(DATA / "demo.png")[0]
    layout = lay_out(page)
    lines = [prepare(layout.grey, reader.preparation, system.staves[0]) for system in layout.systems]
    together = [reading.tokens for reading in reader.read_prepared(lines)]
    assert together == [reader.read_prepared([line])[0].tokens for line in lines]
