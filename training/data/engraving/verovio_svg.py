"""Reads from Verovio's SVG where symbols, staff lines and words are, in the SVG's units."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, field

from training.data.engraving.engraver import EngraveError
from training.data.engraving.lettering import Word

UNITS = 180.0  # SVG units of a staff space at Verovio's default unit
SVG = "{http://www.w3.org/2000/svg}"
HEADS = ("note", "rest", "mRest", "accid")
ABOVE_OR_BELOW = ("artic", "fermata", "trill", "turn", "mordent", "dynam", "repeatMark", "tupletNum")  # labelled signs
REACHES = (*ABOVE_OR_BELOW, "beam", "slur", "tie")
STEMMED = ("note", "chord")
BOLD, ITALIC = ("ending", "fing", "reh", "tempo"), ("dir", "dynam", "mNum")
TEXTS = ("verse", "harm", "tempo", "fing", "dir", "ending", "mNum")
CURVE = re.compile(r"M[-\d.]+,([-\d.]+) C\S+ \S+ [-\d.]+,([-\d.]+)")  # y of the ends of its upper edge
LINE = re.compile(r"M[-\d.]+ ([-\d.]+) L[-\d.]+ ([-\d.]+)")
DIGIT = 280.0  # height of a tuplet's number
GLYPH_HALF = 90.0  # how far a sign's ink may reach from its origin, at least


@dataclass
class Drawing:
    """One line as drawn.

    Attributes:
        places: id (see `mei`) -> x of the symbol's centre; `clef` and `left` (a bar line before the music) too.
        keys: (x, y) of each accidental of each key signature, in order.
        meters: x of each meter, in order.
        lines: y of the staff lines, from top to bottom.
        extent: lowest and highest y of what is labelled.
        words: texts, in SVG units.
    """

    places: dict[str, float] = field(default_factory=dict)
    keys: list[list[tuple[float, float]]] = field(default_factory=list)
    meters: list[float] = field(default_factory=list)
    lines: list[float] = field(default_factory=list)
    extent: tuple[float, float] = (1e9, -1e9)
    words: list[Word] = field(default_factory=list)

    def reach(self, y: float, height: float = GLYPH_HALF) -> None:
        self.extent = min(self.extent[0], y - height), max(self.extent[1], y + height)

    def cover(self, ys: Iterable[str]) -> None:
        """Lines at these heights, which may touch the picture's edge."""
        for y in ys:
            self.reach(float(y), -UNITS / 4)


def read_svg(svg: str) -> Drawing:
    """Read a page of one system.

    Raises:
        EngraveError: no staff.
    """
    root = ElementTree.fromstring(svg)
    out = Drawing()
    for group in root.iter(f"{SVG}g"):
        kind, name = group.get("class", "").split(" ")[0], group.get("id", "")
        if kind == "staff":
            paths = group.findall(f"{SVG}path")
            lines = [float(p.get("d", "").split()[1]) for p in paths[:5]]
            if not out.lines or min(lines) > out.lines[-1]:
                out.lines += lines
        elif kind in HEADS:
            _read_head(out, group, kind, name)
            _read_stem(out, group, name)
        elif kind == "chord":
            _read_stem(out, group, name)
        elif kind in ("clef", "meterSig"):
            _read_signature(out, group, kind, name)
        elif kind == "keySig":
            signs = [_glyph(sign) for sign in group.findall(f"{SVG}g[@class='keyAccid']")]
            out.keys.append([(sign[0] + 60, sign[1]) for sign in signs if sign])
        elif kind == "multiRest":
            edges = [float(r.get("x", 0)) for r in group.findall(f"{SVG}rect")]
            glyph = _glyph(group)
            middle = (min(edges) + max(edges)) / 2 if edges else glyph[0] + 200 if glyph else None
            if middle is not None:
                out.places[name] = middle
        elif kind == "measure":
            _read_bar_lines(out, group, name)
        elif kind in REACHES:
            _read_reach(out, group, kind)
        if kind in TEXTS:
            _read_words(out, group, kind)
    if not out.lines:
        raise EngraveError("no staff")
    return out


def _read_head(out: Drawing, group: ElementTree.Element, kind: str, name: str) -> None:
    glyph = _glyph(group.find(f"{SVG}g[@class='notehead']") if kind == "note" else group)
    if glyph:
        out.places[name] = glyph[0] + (40 if kind == "accid" else 108)
        out.reach(glyph[1])


def _read_reach(out: Drawing, group: ElementTree.Element, kind: str) -> None:
    """How far up and down a sign, a beam or the ends of a curve reach. Beams of grace notes don't count: labels don't
    tell them."""
    if kind == "beam":
        first = next((g for g in group.iter(f"{SVG}g") if g.get("class") in STEMMED), None)
        if first is not None and "_g" not in first.get("id", ""):
            corners = " ".join(beam.get("points", "") for beam in group.findall(f"{SVG}polygon")).split()
            out.cover(corner.split(",")[1] for corner in corners)
    elif kind in ("slur", "tie"):
        curves = (CURVE.match(path.get("d", "")) for path in group.findall(f"{SVG}path"))
        out.cover(y for curve in curves if curve for y in curve.groups())
    elif glyph := _glyph(group):
        out.reach(glyph[1] - (DIGIT / 2 if kind == "tupletNum" else 0), 60 if kind == "tupletNum" else 150)


def _read_stem(out: Drawing, group: ElementTree.Element, name: str) -> None:
    """How far a stem's flag or tremolo reaches. Of a grace note only the stroke counts: labels don't tell its flag."""
    stem = group.find(f"{SVG}g[@class='stem']")
    if stem is None:
        return
    if "_g" not in name:
        glyph = _glyph(stem)
        out.cover([str(glyph[1])] if glyph else [])
    else:
        strokes = (LINE.match(path.get("d", "")) for path in stem.findall(f"{SVG}path")[1:])
        out.cover(y for stroke in strokes if stroke for y in stroke.groups())


def _read_signature(out: Drawing, group: ElementTree.Element, kind: str, name: str) -> None:
    glyph = _glyph(group)
    if not glyph:
        return
    if kind == "meterSig":
        out.meters.append(glyph[0] + 130)
    elif "clef" in out.places:  # a change, which carries our id and is drawn smaller
        out.places[name] = glyph[0] + 150
    else:
        out.places["clef"] = glyph[0] + 200


def _read_bar_lines(out: Drawing, group: ElementTree.Element, name: str) -> None:
    edges = [x for bar in group.findall(f"{SVG}g[@class='barLine']") if (x := _bar_place(bar)) is not None]
    if len(edges) > 1:
        first_key = out.keys[0][0][0] if out.keys and out.keys[0] else None
        out.places.setdefault("left", edges[0] if first_key is None or edges[0] > first_key else edges[1])
    if edges:
        out.places[name] = edges[-1]


def _read_words(out: Drawing, group: ElementTree.Element, kind: str) -> None:
    for text in group.iter(f"{SVG}text"):
        spans = [span for span in text.iter(f"{SVG}tspan") if span.text and span.text.strip()]
        sizes = [float(span.get("font-size", "0px")[:-2]) for span in spans]
        if not spans or not max(sizes):
            continue
        content = "".join(str(span.text) for span in spans)
        anchor = {"middle": "ms", "end": "rs"}.get(text.get("text-anchor", ""), "ls")
        x, y = float(text.get("x", 0)), float(text.get("y", 0))
        out.words.append(Word(content, x, y, max(sizes), anchor, bold=kind in BOLD, italic=kind in ITALIC))
        if kind == "ending":
            out.reach(y - 150, 150)


def _glyph(group: ElementTree.Element | None) -> tuple[float, float] | None:
    use = group.find(f".//{SVG}use") if group is not None else None
    found = re.match(r"translate\(([-\d.]+), ([-\d.]+)\)", use.get("transform", "")) if use is not None else None
    return (float(found[1]), float(found[2])) if found else None


def _bar_place(group: ElementTree.Element) -> float | None:
    numbers = [float(m) for path in group.iter(f"{SVG}path") for m in re.findall(r"M([-\d.]+)", path.get("d", ""))]
    return sum(numbers) / len(numbers) if numbers else None
