"""abcm2ps (Debian packages `abcm2ps` and `fonts-urw-base35`): its own layout and glyphs, and the places of symbols."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.abc.tune import Change, Tune
from runtime.errors import MissingExtraError
from training.data.engraving.abc_source import AbcSource, Dialect, abc_source, natural_width
from training.data.engraving.abcm2ps_places import check_height, read_geometry
from training.data.engraving.column_labels import rows
from training.data.engraving.engraver import EngraveError, Engraving
from training.data.engraving.svg import Frame, pixels

DIALECT = Dialect(
    names={
        "clef=soprano": "clef=alto1", "clef=mezzosoprano": "clef=alto2", "clef=baritone": "clef=alto5",
        "!staccatissimo!": "!wedge!",
    },
    refused=frozenset({
        "!wedge!",  # drawn as a staccatissimo
        "!trill(!", "!trill)!",  # a wavy line without the letters
        "!8va(!", "!8va)!", "!8vb(!", "!8vb)!",  # moves the notes after the first
        "clef=perc",  # accidentals become other noteheads
    }),
)  # fmt: skip
DEFINITIONS = "%%pagewidth 300cm\n%%leftmargin 1cm\n%%rightmargin 1cm\n%%graceslurs 0\n%%autoclef 0\n%%rbmax 99\n"
DEFINITIONS += "%%deco fp 6 pf 18 4 10\n"  # not among its own
URW = Path("/usr/share/fonts/opentype/urw-base35")
FONTS = {  # family -> files: roman, bold, italic, bold italic
    "C059": ("C059-Roman", "C059-Bold", "C059-Italic", "C059-BdIta"),
    "Nimbus Roman": ("NimbusRoman-Regular", "NimbusRoman-Bold", "NimbusRoman-Italic", "NimbusRoman-BoldItalic"),
    "P052": ("P052-Roman", "P052-Bold", "P052-Italic", "P052-BoldItalic"),
    "URW Bookman": ("URWBookman-Light", "URWBookman-Demi", "URWBookman-LightItalic", "URWBookman-DemiItalic"),
}
MUSIC_FONT = Path("/usr/share/abcm2ps/abc2svg.ttf")
INSTALL = "apt-get install abcm2ps fonts-urw-base35 (or make setup-engravers)"
SPACE = 6.0  # SVG units of a staff space
PER_CENTIMETRE = 37.8
NARROWEST = 140.0  # SVG units; a narrower staff becomes as wide as the page
STAFF = re.compile(r'd="m([\d.]+) ([\d.]+)\n\th([\d.]+)')
DEFINED = re.compile(r"<defs>.*?</defs>", re.S)
ROW = re.compile(r'<abc type="\w" row="(\d+)"')
FACE = re.compile(r"font:((?:bold |italic )*)")
MESSAGE = re.compile(r"^stdin:(\d+):\d+: (?:error|warning): (.*)$", re.M)


@dataclass(frozen=True)
class Style:
    """What varies from line to line."""

    directives: str
    family: str
    own_glyphs: bool
    line: float  # thickness of lines, in SVG units
    head: str  # the shape of its own noteheads
    jitter: float
    margin: float


def draw_style(tune: Tune, rng: np.random.Generator) -> Style:
    """A style at random; its width is about 0.8 to 1.3 times the natural one."""
    own_glyphs = bool(rng.random() < 0.7)
    settings = {
        "notespacingfactor": f"{rng.uniform(1.2, 1.7):.2f}", "stemheight": f"{rng.uniform(18, 23):.1f}",
        "slurheight": f"{rng.uniform(0.7, 1.3):.2f}", "tieheight": f"{rng.uniform(0.8, 1.3):.2f}",
        "flatbeams": int(rng.random() < 0.15), "straightflags": int(rng.random() < 0.12),
        "flatbeamgracing": int(rng.random() < 0.2), "squarebreve": int(rng.random() < 0.3),
        "gracespace": f"{rng.uniform(5, 8):.1f} {rng.uniform(7, 10):.1f} {rng.uniform(9, 13):.1f}",
        "dblrepbar": rng.choice([":][:", ":||:", ":|:"]), "stretchlast": 0, "cancelkey": int(rng.random() < 0.5),
    }  # fmt: skip
    if Change("key", "0") in tune.items:  # nothing but naturals says so
        settings["cancelkey"] = 1
    width = natural_width(tune) * rng.uniform(0.8, 1.3)
    if width > NARROWEST and rng.random() < 0.75:
        settings |= {"staffwidth": f"{width / PER_CENTIMETRE:.2f}cm", "stretchlast": 1}
    head = f'rx="{rng.uniform(3.9, 4.2):.2f}" ry="{rng.uniform(2.7, 3.0):.2f}"\n'
    return Style(
        directives="".join(f"%%{name} {value}\n" for name, value in settings.items()),
        family=str(rng.choice(list(FONTS))),
        own_glyphs=own_glyphs,
        line=float(rng.uniform(0.5, 1.0)),
        head=f'{head}\ttransform="rotate({rng.uniform(-28, -12):.0f})"',
        jitter=float(rng.uniform(-1.5, 1.5)),
        margin=float(rng.uniform(2, 12)),
    )


class Abcm2ps:
    """Draws through the abcm2ps command: a start takes 6 ms, each line 0.5 ms more."""

    held_out = False

    def draw(self, tune: Tune, rng: np.random.Generator, clutter: float = 0.0) -> Engraving:
        source = abc_source(tune, DIALECT)
        style = draw_style(tune, rng)
        svg = engrave([(source, style)])[0]
        return picture(svg, tune, source, style)

    def draw_many(self, tunes: list[Tune], rngs: list[np.random.Generator]) -> list[Engraving | None]:
        """Draw lines in one run of the program."""
        out: list[Engraving | None] = [None] * len(tunes)
        jobs: list[tuple[int, AbcSource, Style]] = []
        for number, (tune, rng) in enumerate(zip(tunes, rngs, strict=True)):
            try:
                jobs.append((number, abc_source(tune, DIALECT), draw_style(tune, rng)))
            except EngraveError:
                continue
        for own_glyphs in (True, False):
            some = [job for job in jobs if job[2].own_glyphs == own_glyphs]
            drawn = engrave([job[1:] for job in some])
            for (number, source, style), svg in zip(some, drawn, strict=True):
                try:
                    out[number] = picture(svg, tunes[number], source, style)
                except EngraveError:
                    continue
        return out


def engrave(lines: list[tuple[AbcSource, Style]]) -> list[str | EngraveError]:
    """The SVG of each line, or what abcm2ps found wrong with it; all with its own glyphs, or all without."""
    command = shutil.which("abcm2ps")
    if command is None or not URW.is_dir():
        raise MissingExtraError(f"engraver 'abcm2ps' needs two Debian packages: {INSTALL}")
    if not lines:
        return []
    text, music_rows = DEFINITIONS, []
    if not all(style.own_glyphs for _, style in lines):
        text += f"%%musicfont {MUSIC_FONT.stem}\n"  # holds for a whole run; single tunes can't change it
    for source, style in lines:
        text += "\n".join(("", "X:1", style.directives + source.header[0], *source.header[1:], source.body, ""))
        music_rows.append(text.count("\n"))
    options = ["-A", "-q", "-g", "-O", "-", "-"]
    done = subprocess.run([command, *options], input=text, capture_output=True, text=True, timeout=30 + len(lines))
    complaints = {int(row): message for row, message in MESSAGE.findall(done.stderr)}
    drawn = {int(row[1]): svg + "</svg>" for svg in done.stdout.split("</svg>") if (row := ROW.search(svg))}
    out: list[str | EngraveError] = []
    for first, last in zip([0, *music_rows], music_rows, strict=False):
        wrong = [message for row, message in complaints.items() if first < row <= last]
        svg = drawn.get(last)
        out.append(EngraveError(f"abcm2ps: {(wrong or ['nothing drawn'])[0]}") if wrong or svg is None else svg)
    return out


def picture(svg: str | EngraveError, tune: Tune, source: AbcSource, style: Style) -> Engraving:
    """The SVG's staff at our size, and the places of its symbols."""
    if isinstance(svg, EngraveError):
        raise svg
    staves = STAFF.findall(svg)
    if len(staves) != 1:
        raise EngraveError("not one staff")
    left, bottom, length = map(float, staves[0])
    frame = Frame(left, left + length, bottom - 2 * SPACE, SPACE, style.jitter, style.margin)
    music = DEFINED.sub("", svg)
    check_height(music, frame)
    geometry = read_geometry(music, tune, source, frame)
    svg = svg[svg.index("<svg") :].replace('stroke-width="0.70"', f'stroke-width="{style.line:.2f}"')
    if style.own_glyphs:
        svg = svg.replace('rx="4.1" ry="2.9"\n\ttransform="rotate(-20)"', style.head)
    svg = re.sub(r'width="[\d.]+px" height="[\d.]+px"', frame.attributes, svg, count=1)
    fonts = [str(URW / f"{FONTS[style.family][face]}.otf") for face in faces(svg)]
    fonts += [] if style.own_glyphs else [str(MUSIC_FONT)]
    return Engraving(pixels(svg, fonts, style.family), rows(tune, geometry))


def faces(svg: str) -> list[int]:
    """Which of a family's files the words of a drawing need: each takes half a millisecond to open."""
    if "<text" not in svg:
        return []
    return sorted({0, *(("bold" in words) + 2 * ("italic" in words) for words in FACE.findall(svg))})


ENGRAVER = Abcm2ps()
