"""abcjs 6.7 (npm, through `make setup-engravers`): draws tunes on many web pages, held out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from runtime.abc.tune import Tune
from runtime.errors import MissingExtraError
from training.data.engraving.abc_source import Dialect, abc_source, natural_width
from training.data.engraving.engraver import EngraveError, Engraving, Program
from training.data.engraving.svg import Frame, whole_line

DIALECT = Dialect(
    names={"clef=soprano": "clef=alto1", "clef=mezzosoprano": "clef=alto2", "clef=baritone": "clef=alto5"},
    refused=frozenset({
        "!staccatissimo!", "!wedge!", "!invertedturn!", "!fp!",  # draws nothing
        "clef=treble1", "clef=bass3",  # the clef stays where it always is
        "clef=perc",  # accidentals are left out
        ".|",  # a dot over a plain bar line
        "&",  # misplaced after bars of rest and bars of other lengths
    }),
    bar_rest="z8",  # it would draw a 1 over a bar
)  # fmt: skip
MODULES = Path(__file__).resolve().parents[4] / "build" / "node"
SCRIPT = Path(__file__).with_name("_abcjs.cjs")
SPACE = 7.75  # SVG units of a staff space
FONTS = [
    f"/usr/share/fonts/opentype/urw-base35/NimbusRoman-{face}.otf"
    for face in ("Regular", "Bold", "Italic", "BoldItalic")
]
STAFF_LINE = re.compile(r'd="M ([\d.]+) ([\d.]+) L ([\d.]+) \2 L \3 ([\d.]+) L \1 \4 z"')
SIZE = re.compile(r'style="[^"]*" height="[\d.]+" width="[\d.]+"')


class Abcjs(Program):
    """Draws through node."""

    def draw_many(self, tunes: list[Tune], rngs: list[np.random.Generator]) -> list[Engraving | None]:
        """Draw lines in one run of node."""
        command = shutil.which("node")
        if command is None or not (MODULES / "node_modules" / "abcjs").is_dir():
            raise MissingExtraError("engraver 'abcjs' needs node and npm packages: make setup-engravers installs them")
        jobs: dict[int, dict[str, object]] = {}
        for number, (tune, rng) in enumerate(zip(tunes, rngs, strict=True)):
            try:
                source = abc_source(tune, DIALECT)
            except EngraveError:
                continue
            abc = "\n".join(("X:1", "%%graceslurs 0", "%%stretchlast 1", *source.header, source.body))
            jobs[number] = {"abc": abc, "width": round(natural_width(tune) * SPACE / 6 * rng.uniform(1.0, 1.5))}
        done = subprocess.run(
            [command, str(SCRIPT), str(MODULES)], input=json.dumps({"lines": list(jobs.values())}),
            capture_output=True, text=True, timeout=60 + len(tunes), check=True,
        )  # fmt: skip
        drawn = dict(zip(jobs, json.loads(done.stdout), strict=True))
        return [_picture(drawn[n], rng) if n in drawn else None for n, rng in enumerate(rngs)]


def _picture(svg: str, rng: np.random.Generator) -> Engraving | None:
    """A drawing at our size; None where it isn't one staff or doesn't fit."""
    lines = [tuple(map(float, line)) for line in STAFF_LINE.findall(svg)]
    lines = [line for line in lines if line[2] - line[0] > 20]
    if len(lines) != 5:
        return None
    left, right, middle = lines[2][0], lines[2][2], (lines[2][1] + lines[2][3]) / 2
    frame = Frame(left, right, middle, SPACE, float(rng.uniform(-1.5, 1.5)), float(rng.uniform(2, 12)))
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" color="black" ', 1)
    try:
        return Engraving(whole_line(svg, SIZE, frame, FONTS, "Nimbus Roman"), [])
    except EngraveError:
        return None


ENGRAVER = Abcjs()
