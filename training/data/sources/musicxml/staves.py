"""Reads a MusicXML file as canonical tunes, one for each staff of each part.

Uses only the standard library. A bar with something that canonical ABC can't say (a third voice, cue notes, octave
lines, ..) is unusable, and a staff becomes its longest run of usable bars. Text, lyrics, hairpins, fingerings, and
signs without a decoration of ours are left out of a usable bar. Source: w3.org/2021/06/musicxml40.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

from runtime.abc.reader import AbcError
from runtime.abc.tune import Change, Tune
from training.data.sources.musicxml.lines import Drawn, line
from training.data.sources.musicxml.measures import Measure, PartReader
from training.data.sources.musicxml.voices import voices_of


@dataclass(frozen=True)
class Staff:
    """A staff as a tune; `lost` counts by cause the bars that are not part of it."""

    name: str  # part.staff, both counted from 1
    tune: Tune
    lost: Counter[str] = field(default_factory=Counter)


def read_score(path: Path) -> ElementTree.Element:
    """The `<score-partwise>` of a .xml, .musicxml or .mxl file.

    Raises:
        AbcError: it is something else.
    """
    data = path.read_bytes()
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
                root = next(e for e in container.iter() if e.tag.rpartition("}")[2] == "rootfile")
                data = archive.read(root.get("full-path", ""))
        score = ElementTree.fromstring(data)
    except (ElementTree.ParseError, zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise AbcError(f"not MusicXML ({type(error).__name__})") from error
    if score.tag != "score-partwise":
        raise AbcError(f"<{score.tag}>, expected <score-partwise>")
    return score


def read_staves(score: ElementTree.Element) -> Iterator[Staff]:
    """Every staff of a score; its tune has no items where no bar can be used."""
    for number, part in enumerate(score.iterfind("part"), 1):
        for staff, measures in enumerate(PartReader(part).staves, 1):
            tune, lost = _longest_line(measures)
            yield Staff(f"{number}.{staff}", tune, lost)


def _longest_line(measures: list[Measure]) -> tuple[Tune, Counter[str]]:
    """The longest run of usable bars as a tune, and a count of why the others aren't part of it."""
    lost: Counter[str] = Counter()
    runs: list[tuple[Tune, list[Drawn]]] = [(Tune(), [])]
    drawn = Tune()
    for measure in measures:
        if not runs[-1][1]:
            runs[-1] = (_sign(drawn, [change for moment, change in measure.changes if moment == 0]), [])
        try:
            runs[-1][1].append((measure, voices_of(measure)))
        except AbcError as error:
            lost[str(error)] += 1
            runs.append((drawn, []))
        drawn = _sign(drawn, [change for _, change in measure.changes])
    head, bars = max(runs, key=lambda run: len(run[1]))
    left = sum(len(run) for _, run in runs) - len(bars)
    return line(head, bars), lost + Counter({"outside the longest run of usable bars": left})


def _sign(drawn: Tune, changes: list[Change]) -> Tune:
    """The signatures in force after changes."""
    for change in changes:
        if change.kind == "clef":
            drawn = replace(drawn, clef=change.value)
        elif change.kind == "key":
            drawn = replace(drawn, key=int(change.value))
        else:
            drawn = replace(drawn, meter=change.value or None)
    return drawn
