"""LilyPond 2.24 (Debian package `lilypond`): draws much free sheet music, held out. Draws a shard in one run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from runtime.abc.tune import Tune
from runtime.errors import MissingExtraError
from training.data.engraving.engraver import EngraveError, Engraving, Program
from training.data.engraving.lilypond_text import to_lilypond
from training.data.engraving.svg import Frame, whole_line

HEAD = r"""\version "2.24.0"
\paper {{ indent = 0 ragged-right = ##t page-breaking = #ly:one-line-breaking print-page-number = ##f tagline = ##f }}
\layout {{
  \context {{ \Score \remove "Bar_number_engraver" \override SpacingSpanner.spacing-increment = #{spacing:.2f} }}
  \context {{ \Staff autoBeaming = ##f autoAccidentals = #'() extraNatural = ##f
    \override StaffSymbol.thickness = #{line:.2f} \override Stem.thickness = #{stem:.2f} }}
}}
"""
FONTS = [f"/usr/share/fonts/opentype/urw-base35/C059-{face}.otf" for face in ("Roman", "Bold", "Italic", "BdIta")]
STAFF_LINE = re.compile(
    r'<g transform="translate\(([\d.]+), ([\d.]+)\)">\s*'
    r'<line stroke-linejoin="round" stroke-linecap="round"[^>]* x1="([-\d.]+)" y1="0" x2="([-\d.]+)" y2="0"/>'
)
SIZE = re.compile(r'width="[\d.]+mm" height="[\d.]+mm" viewBox="[^"]*"')


class LilyPond(Program):
    """Draws through the lilypond command, which takes a second to start and a fifth of one for a line."""

    def draw_many(self, tunes: list[Tune], rngs: list[np.random.Generator]) -> list[Engraving | None]:
        """Draw lines in one run of the program."""
        command = shutil.which("lilypond")
        if command is None:
            raise MissingExtraError("engraver 'lilypond' needs the Debian package lilypond: apt-get install lilypond")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number, (tune, rng) in enumerate(zip(tunes, rngs, strict=True)):
                try:
                    (folder / f"{number}.ly").write_text(_source(tune, rng), encoding="utf-8")
                except EngraveError:
                    continue
            sources = sorted(path.name for path in folder.glob("*.ly"))
            options = ["--svg", "-dcrop", "-dno-point-and-click", "--loglevel=NONE"]
            if sources:
                limit = 600 + 10 * len(sources)  # only against hanging: a start may take minutes on a busy machine
                subprocess.run([command, *options, *sources], cwd=folder, capture_output=True, timeout=limit)
            return [_picture(folder / f"{number}.cropped.svg", rng) for number, rng in enumerate(rngs)]


def _source(tune: Tune, rng: np.random.Generator) -> str:
    head = HEAD.format(spacing=rng.uniform(1.0, 1.8), line=rng.uniform(0.8, 1.6), stem=rng.uniform(1.0, 1.8))
    return f"{head}{{ {to_lilypond(tune)} }}\n"


def _picture(path: Path, rng: np.random.Generator) -> Engraving | None:
    """A cropped drawing at our size; None where there is none or something lies outside the picture."""
    if not path.exists():
        return None
    svg = path.read_text(encoding="utf-8")
    lines = [(float(x) + float(a), float(x) + float(b), float(y)) for x, y, a, b in STAFF_LINE.findall(svg)]
    lines = [line for line in lines if line[1] - line[0] == max(b - a for a, b, _ in lines)]
    if len(lines) != 5:
        return None
    left, right, middle = lines[0][0], lines[0][1], sum(y for _, _, y in lines) / 5
    frame = Frame(left, right, middle, 1.0, float(rng.uniform(-1.5, 1.5)), float(rng.uniform(2, 12)))
    try:
        return Engraving(whole_line(svg, SIZE, frame, FONTS, "C059"), [])
    except EngraveError:
        return None


ENGRAVER = LilyPond()
