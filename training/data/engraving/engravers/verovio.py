"""Verovio with four of its five music fonts. The fifth (Gootville) is held out, as the engraver `verovio_gootville`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import verovio

from runtime.abc.tune import Tune
from training.data.engraving.clutter import Clutter, scatter
from training.data.engraving.column_labels import Geometry, rows
from training.data.engraving.engraver import HEIGHT, MIDDLE, STAFF_SPACE, EngraveError, Engraving
from training.data.engraving.lettering import draw_words
from training.data.engraving.mei import CannotEncode, to_mei
from training.data.engraving.svg import pixels, without_hairlines
from training.data.engraving.verovio_svg import UNITS, Drawing, read_svg

EXTRA = "train"
OPTIONS = {
    "breaks": "none", "adjustPageWidth": True, "adjustPageHeight": True, "header": "none", "footer": "none",
    "pageMarginLeft": 0, "pageMarginRight": 0, "pageMarginTop": 0, "pageMarginBottom": 0, "scale": 100,
    "pageWidth": 60000, "svgFormatRaw": True,
}  # fmt: skip
STYLES = {  # ranges of engraving parameters, in Verovio's own units
    "spacingLinear": (0.08, 0.26), "spacingNonLinear": (0.5, 0.66), "staffLineWidth": (0.10, 0.22),
    "stemWidth": (0.12, 0.3), "barLineWidth": (0.2, 0.5), "beamMaxSlope": (0, 18), "slurMidpointThickness": (0.4, 0.8),
    "tieMidpointThickness": (0.35, 0.7), "graceFactor": (0.62, 0.8), "ledgerLineThickness": (0.18, 0.32),
    "leftMarginNote": (0.6, 1.6), "leftMarginAccid": (0.6, 1.4),
}  # fmt: skip
REST_STYLES = ("default", "block", "symbols")  # of several bars of rest
GRAND_HEIGHT = 224  # px, of two staves
BRACE_ROOM = 40  # Verovio's units, for the brace of a grand staff
EDGE = 2  # px: what is labelled keeps this distance from the picture's upper and lower edge
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

    def draw(self, tune: Tune, rng: np.random.Generator, clutter: float = 0.0) -> Engraving:
        """Draw a line.

        Args:
            tune: one staff.
            rng: draws the style.
            clutter: share of lines with lyrics, words, fingerings and the like, which are not labelled.

        Raises:
            EngraveError: Verovio can't draw it, or not within the picture.
        """
        svg, place = self._svg([tune], rng, scatter(tune, rng, clutter) if clutter else Clutter())
        return rasterise(svg, [tune], place)

    def draw_staves(self, staves: Sequence[Tune], rng: np.random.Generator) -> Engraving:
        """Draw a grand staff, 224 px high, without the symbols' places.

        Raises:
            EngraveError: Verovio can't draw it, or not within the picture.
        """
        bracket = Clutter(bracket=str(rng.choice(["brace", "bracket"])))
        svg, place = self._svg(staves, rng, bracket)
        return rasterise(svg, staves, place)

    def _svg(self, staves: Sequence[Tune], rng: np.random.Generator, clutter: Clutter) -> tuple[str, Place]:
        drawn = {name: float(rng.uniform(*span)) for name, span in STYLES.items()}
        style = {**OPTIONS, **drawn, "beamMaxSlope": round(drawn["beamMaxSlope"]), "font": str(rng.choice(self.fonts))}
        jitter, margin = float(rng.uniform(-1.5, 1.5)), float(rng.uniform(2, 12))
        lettered = clutter.words or clutter.lyrics
        place = Place(jitter, margin, str(rng.choice(["serif", "sans"])) if lettered else "serif")
        rests = any(event.rest == "Z" and event.duration > 1 for staff in staves for event in staff.events)
        style["multiRestStyle"] = str(rng.choice(REST_STYLES)) if rests else "auto"
        style["pageMarginLeft"] = BRACE_ROOM if len(staves) > 1 else 0
        style["mnumInterval"] = 1 if clutter.bar_numbers else 0
        toolkit = self.toolkit()
        toolkit.setOptions(style)
        try:
            mei = to_mei(staves, clutter)
        except CannotEncode as error:
            raise EngraveError(str(error)) from error
        if not toolkit.loadData(mei):
            raise EngraveError("Verovio refuses the tune")
        return toolkit.renderToSVG(1), place


@dataclass(frozen=True)
class Place:
    """How far the middle line is below row 48, and how wide the margins are, in px; the font of the words."""

    jitter: float
    margin: float
    family: str


def rasterise(svg: str, staves: Sequence[Tune], place: Place) -> Engraving:
    """Verovio's SVG as a picture with the staff's middle line near row 48, and its symbols."""
    scale = STAFF_SPACE / UNITS
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    if box is None:
        raise EngraveError("no picture")
    width, height = int(box[1]) * scale, int(box[2]) * scale
    svg = re.sub(r'width="\d+px" height="\d+px"', f'width="{width:.2f}px" height="{height:.2f}px"', svg, count=1)
    drawing = read_svg(svg)
    if len(drawing.lines) != 5 * len(staves):
        raise EngraveError(f"{len(drawing.lines)} staff lines")
    tall = HEIGHT if len(staves) == 1 else GRAND_HEIGHT
    middle = MIDDLE if len(staves) == 1 else GRAND_HEIGHT / 2
    top = round(middle + place.jitter - (drawing.lines[0] + drawing.lines[-1]) / 2 * scale)
    left = round(place.margin)
    low, high = (top + y * scale for y in drawing.extent)
    if low < EDGE or high > tall - EDGE:
        raise EngraveError("something labelled lies outside the picture")
    drawn = pixels(without_hairlines(svg))
    picture = np.full((tall, left + drawn.shape[1] + round(place.margin)), 255, np.uint8)
    first, last = max(0, -top), min(drawn.shape[0], tall - top)
    picture[top + first : top + last, left : left + drawn.shape[1]] = drawn[first:last]
    picture = draw_words(picture, [word.moved(scale, left, top) for word in drawing.words], place.family)
    if len(staves) > 1:
        return Engraving(picture, [])
    return Engraving(picture, rows(staves[0], _geometry(drawing, staves[0], scale, left)))


def _geometry(drawing: Drawing, tune: Tune, scale: float, left: int) -> Geometry:
    bottom, half = drawing.lines[4], UNITS / 2
    keys = [[(left + x * scale, round((bottom - y) / half)) for x, y in key] for key in drawing.keys]
    places = {name: left + x * scale for name, x in drawing.places.items()}
    return Geometry.of(tune, places, keys, [left + x * scale for x in drawing.meters])


ENGRAVER = VerovioEngraver()
