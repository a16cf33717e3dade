"""Verovio, with four of its five music fonts; the fifth (Gootville) is the engraver `verovio_gootville`, held out."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

import numpy as np
import resvg_py
import verovio
from PIL import Image

from runtime.abc import Tune
from training.data.columns import Geometry, rows
from training.data.engraver import HEIGHT, MIDDLE, STAFF_SPACE, EngraveError, Engraving
from training.data.mei import to_mei

EXTRA = "train"
UNITS = 180.0  # SVG units of a staff space at Verovio's default unit
SVG = "{http://www.w3.org/2000/svg}"
OPTIONS = {
    "breaks": "none", "adjustPageWidth": True, "adjustPageHeight": True, "header": "none", "footer": "none",
    "pageMarginLeft": 0, "pageMarginRight": 0, "pageMarginTop": 0, "pageMarginBottom": 0, "scale": 100,
    "pageWidth": 60000,
}  # fmt: skip
STYLES = {  # ranges of engraving parameters, in Verovio's own units
    "spacingLinear": (0.08, 0.26), "spacingNonLinear": (0.5, 0.66), "staffLineWidth": (0.10, 0.22),
    "stemWidth": (0.12, 0.3), "barLineWidth": (0.2, 0.5), "beamMaxSlope": (0, 18), "slurMidpointThickness": (0.4, 0.8),
    "tieMidpointThickness": (0.35, 0.7), "graceFactor": (0.62, 0.8), "ledgerLineThickness": (0.18, 0.32),
    "leftMarginNote": (0.6, 1.6), "leftMarginAccid": (0.6, 1.4),
}  # fmt: skip
LOADS = 300  # a toolkit is renewed after so many tunes: long-lived ones were seen to break after thousands of loads


@dataclass
class VerovioEngraver:
    """Draws with one of `fonts`."""

    fonts: tuple[str, ...] = ("Leipzig", "Bravura", "Leland", "Petaluma")
    held_out: bool = False
    _toolkit: verovio.toolkit | None = field(default=None, repr=False)
    _loads: int = 0

    def toolkit(self) -> verovio.toolkit:
        if self._toolkit is None or self._loads >= LOADS:
            verovio.enableLog(verovio.LOG_OFF)
            self._toolkit, self._loads = verovio.toolkit(), 0
        self._loads += 1
        return self._toolkit

    def draw(self, tune: Tune, rng: np.random.Generator) -> Engraving:
        style = {name: float(rng.uniform(*span)) for name, span in STYLES.items()}
        style["beamMaxSlope"] = round(style["beamMaxSlope"])
        font = str(rng.choice(self.fonts))
        toolkit = self.toolkit()
        toolkit.setOptions({**OPTIONS, **style, "font": font})
        if not toolkit.loadData(to_mei(tune)):
            raise EngraveError("Verovio refuses the tune")
        return rasterise(
            toolkit.renderToSVG(1), tune, jitter=float(rng.uniform(-1.5, 1.5)), margin=float(rng.uniform(2, 12))
        )


def rasterise(svg: str, tune: Tune, jitter: float, margin: float) -> Engraving:
    """Verovio's SVG as a picture with the staff's middle line near row 48 (`jitter` px lower), and its symbols."""
    scale = STAFF_SPACE / UNITS
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    if box is None:
        raise EngraveError("no picture")
    width, height = int(box[1]) * scale, int(box[2]) * scale
    svg = re.sub(r'width="\d+px" height="\d+px"', f'width="{width:.2f}px" height="{height:.2f}px"', svg, count=1)
    places, key, lines = read_geometry(svg)
    drawn = np.array(
        Image.open(
            io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, background="white", skip_system_fonts=True)))
        ).convert("L")
    )
    top, left = round(MIDDLE + jitter - (lines[0] + lines[4]) / 2 * scale), round(margin)
    picture = np.full((HEIGHT, left + drawn.shape[1] + round(margin)), 255, np.uint8)
    first, last = max(0, -top), min(drawn.shape[0], HEIGHT - top)
    picture[top + first : top + last, left : left + drawn.shape[1]] = drawn[first:last]
    bottom, half = lines[4], UNITS / 2
    geometry = Geometry(
        {name: left + x * scale for name, x in places.items()},
        [(left + x * scale, round((bottom - y) / half)) for x, y in key],
    )
    return Engraving(picture, rows(tune, geometry))


def read_geometry(svg: str) -> tuple[dict[str, float], list[tuple[float, float]], list[float]]:
    """Places (id -> x), accidentals of the key signature (x, y) and the five staff lines (y), in SVG units."""
    root = ElementTree.fromstring(svg)
    places: dict[str, float] = {}
    key: list[tuple[float, float]] = []
    lines: list[float] = []
    for group in root.iter(f"{SVG}g"):
        kind, name = group.get("class", "").split(" ")[0], group.get("id", "")
        if kind == "staff" and not lines:
            lines = [float(p.get("d", "").split()[1]) for p in group.findall(f"{SVG}path")]
        elif kind in ("note", "rest", "mRest", "accid"):
            glyph = _glyph(group.find(f"{SVG}g[@class='notehead']") if kind == "note" else group)
            if glyph:
                places[name] = glyph[0] + (40 if kind == "accid" else 108)
        elif kind in ("clef", "meterSig"):
            glyph = _glyph(group)
            if glyph:
                places["clef" if kind == "clef" else "meter"] = glyph[0] + (200 if kind == "clef" else 130)
        elif kind == "keyAccid":
            glyph = _glyph(group)
            if glyph:
                key.append((glyph[0] + 60, glyph[1]))
        elif kind == "measure":
            edges = [x for bar in group.findall(f"{SVG}g[@class='barLine']") if (x := _bar_place(bar)) is not None]
            if len(edges) > 1:
                places["left"] = edges[0] if not key or edges[0] > key[0][0] else edges[1]
            if edges:
                places[name] = edges[-1]
    if len(lines) != 5:
        raise EngraveError("no staff of five lines")
    return places, key, lines


def _glyph(group: ElementTree.Element | None) -> tuple[float, float] | None:
    use = group.find(f".//{SVG}use") if group is not None else None
    found = re.match(r"translate\(([-\d.]+), ([-\d.]+)\)", use.get("transform", "")) if use is not None else None
    return (float(found[1]), float(found[2])) if found else None


def _bar_place(group: ElementTree.Element) -> float | None:
    numbers = [float(m) for path in group.iter(f"{SVG}path") for m in re.findall(r"M([-\d.]+)", path.get("d", ""))]
    return sum(numbers) / len(numbers) if numbers else None


ENGRAVER = VerovioEngraver()
