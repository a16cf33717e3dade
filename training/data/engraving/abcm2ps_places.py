"""Finds where abcm2ps drew the symbols of a line.

With `-A` its SVG holds an `<abc type= row= col= x= .. />` after the glyphs of each symbol: N note or chord, R rest,
Z bars of rest, g grace note, B bar line, c clef, K key, M meter; the column is that of the source text (8.14). The
texts here are such SVGs without their definitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from runtime.abc.tune import CLEF_BOTTOM, Change, Event, Tune, clefs_in_force
from training.data.engraving.abc_source import AbcSource
from training.data.engraving.column_labels import Geometry
from training.data.engraving.engraver import EngraveError
from training.data.engraving.svg import Frame

HEADS = frozenset({"hd", "Hd", "HD", "HDD", "breve", "longa"})
SIGNATURES = frozenset({"sh0", "ft0"})
GRACE_HEADS = frozenset({"ghd"})
ACCIDENTALS = frozenset({"sh0", "ft0", "nt0", "dsh0", "dft0"})
RESTS = frozenset({"r00", "r0", "r1", "r2", "r4", "r8", "r16", "r32", "r64", "r128", "mrest"})
DRAWN = re.compile(
    r'<use x="(?P<x>[-\d.]+)" y="(?P<y>[-\d.]+)" xlink:href="#(?P<glyph>\w+)"/>'
    r'|d="M(?P<line>[\d.]+) [-\d.]+v-24.00"/>'
    r'|<abc type="(?P<type>\w)" row="\d+" col="(?P<col>\d+)" x="(?P<left>[-\d.]+)" y="[-\d.]+"'
    r' width="(?P<width>[\d.]+)"'
)
# A group, whose y may be scaled; where a glyph or text stands; where a beam, stem, bracket or curve starts.
ANCHOR = re.compile(
    r'<g stroke-width="[\d.]+"(?: transform="scale\((?P<x>[-\d.]+),?(?P<y>[-\d.]*)\)")?'
    r'|(?:<use|<text [^<>]*?) ?x="[-\d.]+" y="(?P<glyph>[-\d.]+)"(?! xlink:href="#ltr)|d="M[-\d.]+ (?P<line>[-\d.]+)'
)
HALF_SPACE = 3.0  # SVG units from a staff position to the next


@dataclass
class Symbol:
    """A symbol with its glyphs: (name, x, y) in SVG units."""

    kind: str
    column: int
    middle: float
    glyphs: list[tuple[str, float, float]] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)

    def of(self, names: frozenset[str]) -> list[tuple[float, float]]:
        """Places of the glyphs with one of these names, from the bottom up."""
        return sorted(((x, y) for name, x, y in self.glyphs if name in names), key=lambda place: -place[1])


def read_symbols(music: str) -> list[Symbol]:
    """The symbols of a line, in the order of the drawing."""
    out: list[Symbol] = []
    glyphs: list[tuple[str, float, float]] = []
    lines: list[float] = []
    for found in DRAWN.finditer(music):
        if found["glyph"]:
            glyphs.append((found["glyph"], float(found["x"]), float(found["y"])))
        elif found["line"]:
            lines.append(float(found["line"]))
        else:
            middle = float(found["left"]) + float(found["width"]) / 2
            out.append(Symbol(found["type"], int(found["col"]), middle, glyphs, lines))
            glyphs, lines = [], []
    return out


def check_height(music: str, frame: Frame) -> None:
    """Check that everything a label names is inside the picture.

    Raises:
        EngraveError: a note, beam, bracket, number or mark would be cut off.
    """
    scale = 1.0
    for found in ANCHOR.finditer(music):
        if found["glyph"] or found["line"]:
            y, size = scale * float(found["glyph"] or found["line"]), HALF_SPACE if found["glyph"] else 0
            if not frame.top + size <= y <= frame.bottom - size / 2:
                raise EngraveError("higher than the picture")
        else:
            scale = float(found["y"] or found["x"] or 1)


def read_geometry(music: str, tune: Tune, source: AbcSource, frame: Frame) -> Geometry:
    """The places of a line's symbols, in pixels.

    Raises:
        EngraveError: a note isn't at the height that the label says.
    """
    places: dict[str, float] = {}
    keys: dict[int, list[tuple[float, int]]] = {}
    clefs = clefs_in_force(tune)
    head = {"c": "clef", **({"K": "key"} if tune.key else {}), **({"M": "meter"} if tune.meter else {})}
    graces: dict[int, int] = {}
    bottom = frame.middle + 4 * HALF_SPACE
    for symbol in read_symbols(music):
        index = source.item_at(symbol.column)
        if symbol.kind in head:  # the first one of its kind
            name, index = head.pop(symbol.kind), -1
            places[name] = frame.column(symbol.middle)
        elif symbol.kind in "cM":
            places[f"c{index}"] = frame.column(symbol.middle)
        elif symbol.kind == "B":
            x = sum(symbol.lines) / len(symbol.lines) if symbol.lines else symbol.middle
            places[f"m{index}"] = frame.column(x)
        elif symbol.kind == "g":
            number = graces[index] = graces.get(index, -1) + 1
            places[f"n{index}_g{number}"] = frame.column(symbol.of(GRACE_HEADS)[-1][0])
        elif symbol.kind in "RZ":
            places |= {f"e{index}": frame.column(x) for x, _ in symbol.of(RESTS)}
        elif symbol.kind == "N":
            places |= {name: frame.column(x) for name, x in _notes(symbol, tune, index, bottom, clefs[index]).items()}
        if symbol.kind == "K":
            change = tune.items[index] if index >= 0 else None
            fifths = int(change.value) if isinstance(change, Change) else tune.key
            signs = symbol.of(SIGNATURES if fifths else ACCIDENTALS)  # of both, naturals come first
            keys[index] = sorted((frame.column(x), round((bottom - y) / HALF_SPACE)) for x, y in signs)
    return Geometry(places, keys)


def _notes(symbol: Symbol, tune: Tune, index: int, bottom: float, clef: str) -> dict[str, float]:
    """The noteheads and accidentals of a note or chord."""
    event = tune.items[index]
    assert isinstance(event, Event), f"item {index} is no note"
    heads = symbol.of(HEADS)
    drawn = [round((bottom - y) / HALF_SPACE) for _, y in heads]
    if drawn != [pitch.step - CLEF_BOTTOM[clef] for pitch in event.pitches]:
        raise EngraveError("a note is not drawn where it belongs")
    places = {f"n{index}_{number}": x for number, (x, _) in enumerate(heads)}
    signs = [number for number, pitch in enumerate(event.pitches) if pitch.accidental]
    return places | {f"a{index}_{n}": x for n, (x, _) in zip(signs, symbol.of(ACCIDENTALS), strict=True)}
