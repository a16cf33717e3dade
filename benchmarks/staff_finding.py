"""Measures how many staves are found on engraved pages, clean and photographed, and how exactly.

    python benchmarks/staff_finding.py --pages 40

Pages of one to four public-domain tunes are engraved by Verovio (all five fonts, staff spaces of 7 to 18 px) and, by
`tests/runtime/photograph.py`, turned into phone photos: up to 5 degrees and 4 % of perspective, a wave in the paper, a
third to a half of the light lost, blur of up to 0.16 staff spaces, noise, JPEG at 35 to 80. Places come from the SVG.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import verovio
from PIL import Image
from resvg_py import svg_to_bytes

from runtime.abc import write
from runtime.errors import run_command
from runtime.geometry import StaffGeometry
from runtime.notation import to_musicxml
from runtime.page import find_staves
from tests.runtime.photograph import photograph
from training.data.sources.corpus import load_sources
from training.data.sources.splits import Source

FONTS = ("Leipzig", "Bravura", "Gootville", "Leland", "Petaluma")
UNITS = 180  # of a staff space in Verovio's drawing
Places = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass
class Score:
    """Counts over pages; distances in staff spaces."""

    staves: int = 0
    missed: int = 0
    extra: int = 0
    cut: int = 0  # found, but an end is more than a staff space off
    off: list[float] = field(default_factory=list)  # largest distance from the middle line, of each staff
    pages: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        return {
            "pages": self.pages, "staves": self.staves, "missed": self.missed, "extra": self.extra,
            "ends_off": self.cut, "median_offset_spaces": round(float(np.median(self.off)), 3),
            "largest_offset_spaces": round(max(self.off), 3),
            "seconds_a_page": round(self.seconds / self.pages, 2),
        }  # fmt: skip


def engrave(tunes: list[Source], rng: np.random.Generator) -> tuple[np.ndarray, list[StaffGeometry], float] | None:
    """The first page of some tunes, its staves and its staff space in px; None where Verovio draws nothing."""
    across = rng.uniform(80, 120)  # staff spaces
    toolkit = verovio.toolkit()
    toolkit.setOptions({
        "unit": 9, "pageWidth": round(across * 18), "pageHeight": round(across * 18 * 1.414), "scale": 100,
        "footer": "none", "header": "none", "breaks": "auto", "svgViewBox": True, "font": str(rng.choice(FONTS)),
        "spacingSystem": int(rng.choice([4, 8, 12])), "spacingLinear": float(rng.choice([0.2, 0.25, 0.35])),
    })  # fmt: skip
    if not toolkit.loadData(to_musicxml([write(source.tune) for source in tunes]).decode()):
        return None
    svg = toolkit.renderToSVG(1)
    width = int(re.search(r'class="definition-scale"[^>]*viewBox="0 0 (\d+)', svg)[1])
    left, top = map(int, re.search(r'class="page-margin" transform="translate\((\d+), (\d+)\)"', svg).groups())
    space = rng.uniform(7, 18)
    drawn = bytes(svg_to_bytes(svg_string=svg, width=round(width * space / UNITS), background="white"))
    page = np.asarray(Image.open(io.BytesIO(drawn)).convert("L"))
    scale = page.shape[1] / width
    staves: dict[tuple[int, ...], list[int]] = {}
    for group in re.finditer(r'<g [^>]*class="staff"[^>]*>\s*((?:<path d="M\d+ \d+ L\d+ \d+"[^>]*/>\s*){5})', svg):
        lines = [tuple(map(int, m)) for m in re.findall(r"M(\d+) (\d+) L(\d+) (\d+)", group[1])]
        ends = staves.setdefault(tuple(line[1] for line in lines), [lines[0][0], lines[0][2]])
        ends[:] = [min(ends[0], lines[0][0]), max(ends[1], lines[0][2])]
    found = []
    for rows, (start, stop) in sorted(staves.items()):
        x = np.linspace((start + left) * scale, (stop + left) * scale, 30) - 0.5
        middle, size = (rows[2] + top) * scale - 0.5, (rows[4] - rows[0]) * scale / 4
        found.append(StaffGeometry(x, np.full(30, middle), np.full(30, size)))
    return (page, found, space) if found else None


def compare(score: Score, page: np.ndarray, truth: list[StaffGeometry], places: Places) -> None:
    """Finds the staves of a page and counts what is wrong."""
    start = time.perf_counter()
    found = find_staves(page)
    score.seconds += time.perf_counter() - start
    score.pages += 1
    score.staves += len(truth)
    for staff in truth:
        x, y = places(staff.x, staff.y)
        near = [f for f in found if abs(np.interp(x[15], f.x, f.y) - y[15]) < staff.mean_space / 2]
        near = [f for f in near if f.x[0] < x[15] < f.x[-1]]
        if not near:
            score.missed += 1
            continue
        found = [f for f in found if f is not near[0]]
        inside = (x > near[0].x[0]) & (x < near[0].x[-1])
        score.off.append(float(np.abs(np.interp(x, near[0].x, near[0].y) - y)[inside].max() / staff.mean_space))
        ends = max(abs(near[0].x[0] - x[0]), abs(near[0].x[-1] - x[-1]))
        score.cut += bool(ends > staff.mean_space)
    score.extra += len(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    verovio.enableLog(verovio.LOG_OFF)
    sources, _ = load_sources()
    scores = {"clean": Score(), "photo": Score()}
    for number in range(args.pages):
        rng = np.random.default_rng([args.seed, number])
        chosen = [sources[i] for i in rng.choice(len(sources), rng.integers(1, 5))]
        engraved = engrave(chosen, rng)
        if engraved is None:
            continue
        page, truth, space = engraved
        compare(scores["clean"], page, truth, lambda x, y: (x, y))
        photo, places = photograph(page, rng, space)
        compare(scores["photo"], photo, truth, places)
    rows = {name: score.row() for name, score in scores.items()}
    for name, row in rows.items():
        print(name, *(f"{key} {value}" for key, value in row.items()), sep="  ")
    print(json.dumps({"seed": args.seed, **rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
