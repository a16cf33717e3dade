"""Turns canonical ABC into MusicXML and MIDI. One or more pages make one piece; each staff is a part.

No notehead is lost: `noteheads` counts them (each note of a chord, grace notes too). MusicXML has that many `note`
elements with a pitch, and MIDI that many note-ons, less the `tied` ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..abc.staves import parse_staves
from ..abc.tune import Tune
from .measures import Piece, cut
from .midi import write_midi
from .musicxml import XmlWriter

Pages = str | Tune | Sequence[str | Tune]


def parts(pages: Pages) -> list[Piece]:
    """Read one page or several as one piece, a part for each staff; text is read leniently.

    If pages differ in their number of staves, all staves follow one another in one part.
    """
    several = [pages] if isinstance(pages, str | Tune) else list(pages)
    staves = [parse_staves(page) if isinstance(page, str) else [page] for page in several] or [[Tune()]]
    if len({len(page) for page in staves}) == 1:
        return [cut(part) for part in zip(*staves, strict=True)]
    return [cut([tune for page in staves for tune in page])]


def to_musicxml(pages: Pages, title: str = "") -> bytes:
    """MusicXML 4.0 (partwise, uncompressed, UTF-8) of one page or several."""
    return XmlWriter(parts(pages), title).write()


def to_midi(pages: Pages, tempo: float = 120, unfold: bool = False) -> bytes:
    """A standard MIDI file of one page or several.

    Args:
        pages: ABC texts or tunes, in order.
        tempo: quarters a minute.
        unfold: play repeats and endings; otherwise every measure once.
    """
    return write_midi(parts(pages), tempo, unfold)


@dataclass(frozen=True)
class NoteCount:
    """Noteheads of a piece.

    Attributes:
        noteheads: all, those of chords and grace notes included.
        tied: those that only continue the note before.
    """

    noteheads: int
    tied: int


def count_notes(pages: Pages) -> NoteCount:
    """Noteheads in the ABC: what MusicXML must hold, and less `tied` what MIDI must play."""
    heads = tied = 0
    for placed in (event for part in parts(pages) for measure in part.measures for event in measure.events):
        heads += len(placed.sounded.tones) + sum(len(chord) for chord in placed.sounded.graces)
        tied += sum(tone.tied for tone in placed.sounded.tones)
    return NoteCount(heads, tied)
