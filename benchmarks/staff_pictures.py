"""Pictures of printed music whose staves are known: whole pages, crops, spreads, figures and single lines.

`page_picture` and `line_picture` draw everything from one random generator: what is engraved, how it is printed,
scanned or photographed, and how it lies. `benchmarks/staff_finding.py` counts what is found on them.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace

import cv2
import numpy as np
import verovio
from numpy.typing import NDArray
from PIL import Image
from resvg_py import svg_to_bytes

from benchmarks.staff_photos import compressed, photographed, scanned
from runtime.abc.tune import Tune, write
from runtime.notation.score import to_musicxml
from runtime.page.geometry import StaffGeometry
from training.data.degradation.degrade import apply
from training.data.engraving.engraver import ENGRAVERS, EngraveError, draw_many
from training.data.lines.excerpt import excerpt
from training.data.sources.splits import Source

Grey = NDArray[np.uint8]
Rng = np.random.Generator

FONTS = ("Leipzig", "Bravura", "Gootville", "Leland", "Petaluma")
UNITS = 180  # of a staff space in Verovio's drawing
KNOTS = 160  # of a staff's middle line
SHAPES = {"page": 0.60, "band": 0.12, "crop": 0.10, "spread": 0.08, "figure": 0.10}
CAPTURES = {"file": 0.15, "small": 0.12, "scan": 0.18, "photo": 0.55}
LEAST = 12.0  # staff spaces of a staff that must be in the picture before it counts


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what stands on it.

    Attributes:
        grey: as a user gives it, in any of the four orientations.
        staves: in reading order, in px of the upright picture.
        ignored: staves of which the picture shows too little to ask for them.
        turned: quarter turns clockwise that bring the picture up.
        kind: shape and capture, such as "band photo dots".
    """

    grey: Grey
    staves: list[StaffGeometry]
    ignored: list[StaffGeometry]
    turned: int
    kind: str


def page_picture(music: list[bytes], rng: Rng) -> Picture | None:
    """One picture of engraved pages.

    Args:
        music: MusicXML files to choose from.
        rng: draws everything.

    Returns:
        The picture; None where Verovio draws no staff.
    """
    shape, capture = (str(rng.choice(list(odds), p=list(odds.values()))) for odds in (SHAPES, CAPTURES))
    if shape == "figure" and capture == "small":
        capture = "file"
    space = {"photo": rng.uniform(14, 26), "scan": rng.uniform(9, 20)}.get(capture, rng.uniform(8, 18))
    first = engraved(str_of(music, rng), space, rng)
    if first is None:
        return None
    grey, staves = first
    if shape == "spread" and (second := engraved(str_of(music, rng), space, rng)):
        grey, staves = side_by_side((grey, staves), second, space)
    if shape == "figure":
        grey, staves = as_figure(grey, staves, space, rng)
    return captured(grey, staves, space, capture, shape, rng)


def str_of(music: list[bytes], rng: Rng) -> str:
    """One of the files as text."""
    return music[int(rng.integers(len(music)))].decode()


def tunes_as_music(sources: list[Source], rng: Rng) -> bytes:
    """MusicXML of one to four tunes, one after the other."""
    chosen = [sources[i] for i in rng.choice(len(sources), rng.integers(1, 5))]
    return to_musicxml([write(source.tune) for source in chosen])


def engraved(music: str, space: float, rng: Rng) -> tuple[Grey, list[StaffGeometry]] | None:
    """A page of some music, engraved by Verovio at `space` px a staff space, and its staves."""
    across = rng.uniform(80, 120)  # staff spaces
    toolkit = verovio.toolkit()
    toolkit.setOptions({
        "unit": 9, "pageWidth": round(across * 18), "pageHeight": round(across * 18 * 1.414), "scale": 100,
        "footer": "none", "header": "none", "breaks": "auto", "svgViewBox": True, "font": str(rng.choice(FONTS)),
        "spacingSystem": int(rng.choice([4, 8, 12])), "spacingLinear": float(rng.choice([0.2, 0.25, 0.35])),
    })  # fmt: skip
    if not toolkit.loadData(music):
        return None
    svg = toolkit.renderToSVG(int(rng.integers(1, toolkit.getPageCount() + 1)))
    width = int(re.search(r'class="definition-scale"[^>]*viewBox="0 0 (\d+)', svg)[1])
    left, top = map(int, re.search(r'class="page-margin" transform="translate\((\d+), (\d+)\)"', svg).groups())
    drawn = bytes(svg_to_bytes(svg_string=svg, width=round(width * space / UNITS), background="white"))
    page = np.array(Image.open(io.BytesIO(drawn)).convert("L"))
    scale = page.shape[1] / width
    spans: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for group in re.finditer(r'<g [^>]*class="staff"[^>]*>\s*((?:<path d="M\d+ \d+ L\d+ \d+"[^>]*/>\s*){5})', svg):
        lines = [tuple(map(int, m)) for m in re.findall(r"M(\d+) (\d+) L(\d+) (\d+)", group[1])]
        spans.setdefault(tuple(line[1] for line in lines), []).append((lines[0][0], lines[0][2]))
    staves = []
    for rows, measures in sorted(spans.items()):
        start, stop = min(m[0] for m in measures), max(m[1] for m in measures)
        ends = (np.array([start, stop]) + left) * scale - 0.5
        staves.append(straight(ends[0], ends[1], (rows[2] + top) * scale - 0.5, (rows[4] - rows[0]) * scale / 4))
    return (page, staves) if staves else None


def straight(left: float, right: float, middle: float, space: float) -> StaffGeometry:
    """A level staff."""
    return StaffGeometry(np.linspace(left, right, KNOTS), np.full(KNOTS, middle), np.full(KNOTS, space))


def shifted(staff: StaffGeometry, x: float, y: float, scale: float = 1.0) -> StaffGeometry:
    return StaffGeometry(staff.x * scale + x, staff.y * scale + y, staff.space * scale)


def side_by_side(
    first: tuple[Grey, list[StaffGeometry]], second: tuple[Grey, list[StaffGeometry]], space: float
) -> tuple[Grey, list[StaffGeometry]]:
    """Two pages as one picture, the fold between them."""
    height = max(first[0].shape[0], second[0].shape[0])
    pages = [cv2.copyMakeBorder(p, 0, height - p.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(255,))
             for p in (first[0], second[0])]  # fmt: skip
    fold = np.full((height, max(2, round(0.3 * space))), 190, np.uint8)
    across = pages[0].shape[1] + fold.shape[1]
    return np.hstack([pages[0], fold, pages[1]]), [*first[1], *(shifted(s, across, 0) for s in second[1])]


def as_figure(
    grey: Grey, staves: list[StaffGeometry], space: float, rng: Rng
) -> tuple[Grey, list[StaffGeometry]]:
    """A few systems as a figure in a page of text."""
    band, staves = band_of(grey, staves, space, rng)
    scale = float(rng.uniform(5.5, 10)) / space
    small = cv2.resize(band, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape
    page = np.full((height + round(rng.uniform(600, 1600)), width + round(rng.uniform(100, 900))), 255, np.uint8)
    top, left = (round(rng.uniform(edge, page.shape[n] - small.shape[n] - edge)) for n, edge in ((0, 200), (1, 20)))
    words = "of the theme that the second violin takes up again in the next bars as shown in the figure and"
    for row in range(40, page.shape[0] - 20, 28):
        if row < top - 10 or row > top + height + 30:
            cv2.putText(page, words, (30, row), cv2.FONT_HERSHEY_COMPLEX, 0.6, (30,), 1, cv2.LINE_AA)
    page[top : top + height, left : left + width] = small
    if rng.random() < 0.5:  # in a box, with a table under it
        cv2.rectangle(page, (left - 8, top - 8), (left + width + 7, top + height + 7), (0,), 2)
    return page, [shifted(s, left + (scale - 1) / 2, top + (scale - 1) / 2, scale) for s in staves]


def band_of(
    grey: Grey, staves: list[StaffGeometry], space: float, rng: Rng
) -> tuple[Grey, list[StaffGeometry]]:
    """One to three staves of a page, cut out low and wide."""
    count = min(len(staves), int(rng.integers(1, 4)))
    first = int(rng.integers(len(staves) - count + 1))
    chosen = staves[first : first + count]
    room = rng.uniform(3.5, 6, 2) * space
    top = max(0, round(chosen[0].y[0] - 2 * space - room[0]))
    bottom = round(chosen[-1].y[0] + 2 * space + room[1])
    return np.ascontiguousarray(grey[top:bottom]), [shifted(s, 0, -top) for s in chosen]


def captured(
    grey: Grey, staves: list[StaffGeometry], space: float, capture: str, shape: str, rng: Rng
) -> Picture:
    """What becomes of a page on its way to a file."""
    names = [shape, capture]
    if shape == "band":
        grey, staves = band_of(grey, staves, space, rng)
    if capture in ("photo", "scan") and rng.random() < 0.5:
        names.append("dots")
        grey, _ = apply(grey, {"halftone": float(rng.uniform(0.6, 1))}, rng, space)
    elif capture in ("photo", "scan") and rng.random() < 0.4:
        names.append("faint")
        grey, _ = apply(grey, {"thin_lines": 0.05 * float(rng.uniform(0.3, 1))}, rng, space)
    if capture == "photo":
        grey, staves = photographed(grey, staves, shape, rng)
    elif capture == "scan":
        grey, staves = scanned(grey, staves, len(names) == 2 and space > 10, rng)
    elif capture == "small":
        scale = 450 * (2 if shape == "spread" else 1) / grey.shape[1]
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        grey = compressed(grey, int(rng.integers(60, 95)))
        staves = [shifted(s, (scale - 1) / 2, (scale - 1) / 2, scale) for s in staves]
    if shape == "crop":
        grey, staves = cropped(grey, staves, rng)
    if capture != "photo" and rng.random() < 0.08:
        names.append("inverted")
        grey = 255 - grey
    seen = [visible(staff, grey.shape) for staff in staves]
    whole = [staff for staff, all_of_it in seen if staff is not None and all_of_it]
    partly = [staff for staff, all_of_it in seen if staff is not None and not all_of_it]
    # Odd crops are cut out on a screen, where the page stands upright; many hold no clef that could tell.
    turned = int(rng.integers(4)) if shape != "crop" and (capture in ("photo", "scan") or rng.random() < 0.3) else 0
    return Picture(np.ascontiguousarray(np.rot90(grey, turned)), whole, partly, turned, " ".join(names))


def visible(staff: StaffGeometry, shape: tuple[int, ...]) -> tuple[StaffGeometry | None, bool]:
    """The part of a staff that lies in the picture, and whether that is enough to ask for it."""
    half = 2.2 * staff.space
    across = (staff.x >= 0) & (staff.x < shape[1])
    inside = across & (staff.y - half >= 0) & (staff.y + half < shape[0])
    touched = across & (staff.y + half >= 0) & (staff.y - half < shape[0])
    if not touched.any():
        return None, False
    part = inside if inside.sum() > 1 else touched
    if part.sum() < 2:
        return None, False
    cut = StaffGeometry(staff.x[part], staff.y[part], staff.space[part])
    return cut, bool(inside.sum() == across.sum() and cut.along()[-1] >= LEAST)


def cropped(grey: Grey, staves: list[StaffGeometry], rng: Rng) -> tuple[Grey, list[StaffGeometry]]:
    """An odd crop: any rectangle that holds most of one side."""
    height, width = grey.shape
    left, right = round(width * rng.uniform(0, 0.3)), round(width * rng.uniform(0.7, 1))
    top, bottom = round(height * rng.uniform(0, 0.5)), round(height * rng.uniform(0.6, 1))
    return np.ascontiguousarray(grey[top:bottom, left:right]), [shifted(s, -left, -top) for s in staves]


def line_picture(engraver: str, sources: list[Source], seed: int, number: int) -> Picture | None:
    """A picture of one line by one of the project's engravers, up to 2,400 px wide; None where it can't be drawn."""
    rng = np.random.default_rng([seed, 1, number])
    tune: Tune = excerpt([source for source in sources if source.simple], seed, number)[0]
    try:
        [drawn] = draw_many(ENGRAVERS.get(engraver), [[tune]], [rng])
    except EngraveError:
        return None
    if drawn is None:
        return None
    picture = drawn.image
    lines = (picture[[34, 41, 48, 55, 62]].astype(int) + picture[[33, 40, 47, 54, 61]] < 400).sum(axis=0) >= 4
    inked = np.flatnonzero(lines)
    staff = straight(inked[0], inked[-1], 47.5, 7.0)
    factor = min(2400 / picture.shape[1], float(rng.uniform(1, 3)))
    grey = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
    border = [round(v * 7 * factor) for v in rng.uniform(0, 2, 4)]
    grey = np.asarray(cv2.copyMakeBorder(grey, *border, cv2.BORDER_CONSTANT, value=(255,)), np.uint8)
    staff = shifted(staff, border[2] + (factor - 1) / 2, border[0] + (factor - 1) / 2, factor)
    capture = str(rng.choice(["file", "scan", "photo"]))
    made = captured(grey, [staff], 7 * factor, capture, "band" if capture == "photo" else "line", rng)
    if not made.staves:
        return None
    turned = made.turned if rng.random() < 0.3 else 0
    upright = np.ascontiguousarray(np.rot90(made.grey, turned - made.turned))
    return replace(made, grey=upright, turned=turned, kind=f"line {engraver} " + made.kind)
