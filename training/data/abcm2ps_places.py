"""Where abcm2ps drew the symbols of a line.

With `-A` its SVG holds an `<abc type= row= col= x= .. />` after the glyphs of each symbol: N note or chord, R rest,
Z bars of rest, g grace note, B bar line, c clef, K key, M meter; the column is that of the source text (8.14). The
texts here are such SVGs without their definitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from runtime.abc import CLEF_BOTTOM, Change, Event, Tune
from training.data.abc_source import AbcSource
from training.data.columns import Geometry
from training.data.engraver import EngraveError
from training.data.svg import Frame

HEADS = frozenset({"hd", "Hd", "HD", "HDD", "breve", "longa"})
GRACE_HEADS = frozenset({"ghd"})
ACCIDENTALS = frozenset({"sh0", "ft0", "nt0", "dsh0", "dft0"})
RESTS = frozenset({"r00", "r0", "r1", "r2", "r4", "r8", "r16", "r32", "r64", "r128", "mrest"})
DRAWN = re.compile(
    r'<use x="(?P<x>[-\d.]+)" y="(?P<y>[-\d.]+)" xlink:href="#(?P<glyph>\w+)"/>'
    r'|d="M(?P<line>[\d.]+) [-\d.]+v-24.00"/>'
    r'|<abc type="(?P<type>\w)" row="\d+" col="(?P<col>\d+)" x="(?P<left>[-\d.]+)" y="[-\d.]+"'
    r' width="(?P<width>[\d.]+)"'
)
# Where a glyph, text, beam, stem or curve starts. Accidentals of grace notes stand in coordinates of their own.
ANCHOR = re.compile(
    r'(?:<use|<text [^<>]*?) ?x="[-\d.]+" y="([-\d.]+)"(?! xlink:href="#(?:sh|ft|nt|dsh|dft)0)|d="M[-\d.]+ ([-\d.]+)'
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
    """Everything that a label names must lie inside the picture.

    Raises:
        EngraveError: a note, beam, bracket, number or mark would be cut off.
    """
    for found in ANCHOR.finditer(music):
        y, size = (float(found[1]), HALF_SPACE) if found[1] else (float(found[2]), 0)
        if not frame.top + size <= y <= frame.bottom - size / 2:
            raise EngraveError("higher than the picture")


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
            name = head.pop(symbol.kind)
            places[name] = frame.column(symbol.middle)
            if name == "key":
                keys[-1] = _signature(symbol, frame)
        elif symbol.kind == "B":
            x = sum(symbol.lines) / len(symbol.lines) if symbol.lines else symbol.middle
            places[f"m{index}"] = frame.column(x)
        elif symbol.kind in "cKM":
            places[f"c{index}"] = frame.column(symbol.middle)
            if symbol.kind == "K":
                keys[index] = _signature(symbol, frame)
        elif symbol.kind == "g":
            number = graces[index] = graces.get(index, -1) + 1
            places[f"n{index}_g{number}"] = frame.column(symbol.of(GRACE_HEADS)[-1][0])
        elif symbol.kind in "RZ":
            places |= {f"e{index}": frame.column(x) for x, _ in symbol.of(RESTS)}
        elif symbol.kind == "N":
            places |= {name: frame.column(x) for name, x in _notes(symbol, tune, index, bottom, clefs[index]).items()}
    return Geometry(places, keys)


def _signature(symbol: Symbol, frame: Frame) -> list[tuple[float, int]]:
    """Column and staff position of each accidental of a key signature."""
    bottom = frame.middle + 4 * HALF_SPACE
    return sorted((frame.column(x), round((bottom - y) / HALF_SPACE)) for x, y in symbol.of(ACCIDENTALS))


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


def clefs_in_force(tune: Tune) -> list[str]:
    """The clef at each item of a line."""
    out: list[str] = []
    clef = tune.clef
    for item in tune.items:
        clef = item.value if isinstance(item, Change) and item.kind == "clef" else clef
        out.append(clef)
    return out
