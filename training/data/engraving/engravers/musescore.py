"""MuseScore 3 (Debian package `musescore3`): a widely used notation program, held out. Draws a shard in one run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runtime.abc.tune import Bar, Tune, atoms
from runtime.errors import MissingExtraError
from runtime.notation.measures import cut
from runtime.notation.score import to_musicxml
from training.data.engraving.engraver import EngraveError, Engraving, Program
from training.data.engraving.svg import Frame, whole_line

# A page so wide that every line stays one line. MuseScore takes it from its own format only, neither from MusicXML
# nor from a style file (3.2.3), so lines pass through that format.
STYLE = (
    "<Style><pageWidth>35</pageWidth><pageHeight>8</pageHeight><pagePrintableWidth>34</pagePrintableWidth>"
    "<lastSystemFillLimit>1</lastSystemFillLimit><showMeasureNumber>0</showMeasureNumber>"
)
REFUSED = frozenset({
    "[|", ".|",  # drawn as a plain bar line
    "clef=baritone",  # drawn as clef=bass3, which has its lines in the same places
    "clef=none",  # a treble clef
})  # fmt: skip
CHORD = re.compile(r"<Chord>.*?</Chord>", re.S)
GRACE = re.compile(r"<(?:acciaccatura|appoggiatura|grace\w+)/>")
BEAM_MODE = re.compile(r"<BeamMode>\w+</BeamMode>")
STAFF_LINE = re.compile(r'<polyline class="StaffLines"[^>]* points="([-\d.]+),([-\d.]+) ([-\d.]+),\2"')
SIZE = re.compile(r'width="[\d.]+px" height="[\d.]+px" viewBox="[^"]*"')


class MuseScore(Program):
    """Draws through the mscore3 command, from MusicXML."""

    def draw_many(self, tunes: list[Tune], rngs: list[np.random.Generator]) -> list[Engraving | None]:
        """Draw lines in one run of the program, which takes a second to start."""
        command = shutil.which("mscore3")
        if command is None:
            raise MissingExtraError(
                "engraver 'musescore' needs the Debian package musescore3: apt-get install musescore3"
            )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            numbers = [number for number, tune in enumerate(tunes) if drawable(tune)]
            for number in numbers:
                (folder / f"{number}.musicxml").write_bytes(to_musicxml(tunes[number]))
            _convert(command, folder, [(f"{n}.musicxml", f"{n}.mscx") for n in numbers])
            numbers = [number for number in numbers if (folder / f"{number}.mscx").exists()]
            for number in numbers:
                path = folder / f"{number}.mscx"
                score = with_beams(path.read_text(encoding="utf-8"), tunes[number])
                path.write_text(score.replace("<Style>", STYLE + room(tunes[number]), 1), encoding="utf-8")
            _convert(command, folder, [(f"{n}.mscx", f"{n}.svg") for n in numbers])
            return [_picture(folder / f"{number}-1.svg", rng) for number, rng in enumerate(rngs)]


def drawable(tune: Tune) -> bool:
    """Whether MuseScore draws all of a line.

    Before the music it draws only a bar line that starts a repeat; after the music it never draws one that does.
    """
    first, last = tune.items[0], tune.items[-1]
    starts = not isinstance(first, Bar) or first.text == "|:"
    ends = isinstance(last, Bar) and last.text not in ("|:", "::")
    return starts and ends and not any(atom.text in REFUSED for atom in atoms(tune))


def room(tune: Tune) -> str:
    """Style that keeps the music away from the key, because a hidden meter takes no room (3.2.3)."""
    if tune.meter is not None:
        return ""
    after_key = 1.05 * abs(tune.key) + 1  # staff spaces; counted from about the second accidental
    return f"<clefTimesigDistance>3.5</clefTimesigDistance><keyTimesigDistance>{after_key:.2f}</keyTimesigDistance>"


def with_beams(score: str, tune: Tune) -> str:
    """A score in MuseScore's format with the beams of the label.

    On import MuseScore sets new beams where a MusicXML file has none (3.2.3).
    """
    states = (
        {"begin": "begin", "continue": "mid", "end": "mid"}[placed.beams[0]] if placed.beams else "no"
        for measure in cut([tune]).measures for placed in measure.events if not placed.event.rest
    )  # fmt: skip
    return CHORD.sub(lambda found: _beamed(found[0], states), score)


def _beamed(chord: str, states: Iterator[str]) -> str:
    if GRACE.search(chord):
        return chord
    return BEAM_MODE.sub("", chord).replace("<Chord>", f"<Chord><BeamMode>{next(states)}</BeamMode>", 1)


def _convert(command: str, folder: Path, jobs: list[tuple[str, str]]) -> None:
    """One run of MuseScore over several files."""
    content = [{"in": str(folder / before), "out": str(folder / after)} for before, after in jobs]
    (folder / "jobs.json").write_text(json.dumps(content))
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    options = ["-T", "20", "-j", "jobs.json"]
    subprocess.run([command, *options], cwd=folder, env=environment, capture_output=True, timeout=60 + 5 * len(jobs))


def _picture(path: Path, rng: np.random.Generator) -> Engraving | None:
    """A drawing at our size; None where there is none or something lies outside the picture."""
    svg = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [tuple(map(float, line)) for line in STAFF_LINE.findall(svg)]
    heights = sorted({y for _, y, _ in lines})
    if len(heights) != 5:
        return None
    left, right = min(line[0] for line in lines), max(line[2] for line in lines)
    space = (heights[4] - heights[0]) / 4
    frame = Frame(left, right, heights[2], space, float(rng.uniform(-1.5, 1.5)), float(rng.uniform(2, 12)))
    try:
        return Engraving(whole_line(svg, SIZE, frame), [])
    except EngraveError:
        return None


ENGRAVER = MuseScore()
