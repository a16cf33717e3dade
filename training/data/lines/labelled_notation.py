"""The table of notation: what a label tells, and what is drawn but never labelled.

A test draws every example with and without the notation in question. docs/data.md prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notation:
    """A kind of notation.

    Attributes:
        name: in words.
        example: music in canonical ABC that holds it; if it isn't labelled, music that it is drawn beside.
        plain: the same line without it.
        labelled: whether the label tells it; if not, `training.data.engraving.clutter` or a degradation draws it.
        source: what puts it into lines: `tunes`, `scores`, `made` (`marks`, `rework`, `invent`, `grand`), `clutter` or
            `degradation`.
    """

    name: str
    example: str
    plain: str
    labelled: bool = True
    source: str = "tunes, made"


NOTATIONS = (
    Notation("notes, rests, dots, accidentals", "^c3/2=d/2z2_e2|", "c3/2d/2z2e2|"),
    Notation("beams", "cd ef|", "cdef|"),
    Notation("ties (a slur between two notes of one pitch looks the same and counts as a tie)", "c2-c2|", "c2c2|"),
    Notation("slurs", "(c2e2)|", "c2e2|"),
    Notation("chords", "[ceg]4|", "g4|"),
    Notation("grace notes, with a stroke or without", "{/d}c4|", "{d}c4|"),
    Notation("triplets and other tuplets, also with mixed lengths", "(5:4:5c/2d/2e/2d/2c/2|", "c/2d/2e/2d/2c/2|"),
    Notation("bar lines and repeats", "c4:|", "c4|"),
    Notation("first and second endings", "c4|[1d4:|[2e4|]", "c4|d4:|e4|]"),
    Notation("bars of rest, one or several", "Z12|", "Z|"),
    Notation("clef changes", "c4|[K:clef=bass]C4|", "c4|c4|"),
    Notation("key changes", "c4|[K:D]c4|", "c4|c4|"),
    Notation("meter changes", "c4|[M:3/4]c6|", "c4|c6|", source="scores, made"),
    Notation("articulations: staccato, accent, tenuto, marcato, staccatissimo", "!accent!.c4|", "c4|", source="made"),
    Notation("ornaments: trill, turns, mordents", "!trill!c4|", "c4|"),
    Notation("fermatas", "!fermata!c4|", "c4|"),
    Notation("dynamics as letters, ppp to fff, sfz, fp", "!mf!c4|", "c4|", source="scores, made"),
    Notation("tremolo on one note", "!//!c4|", "c4|", source="scores, made"),
    Notation("arpeggio", "!arpeggio![ceg]4|", "[ceg]4|", source="scores, made"),
    Notation("segno and coda", "!segno!c4|", "c4|", source="made"),
    Notation("two voices on a staff", "c4&E2F2|", "c4|", source="scores, made"),
    Notation("hairpins", "c4d4e4|", "c4d4e4|", labelled=False, source="clutter"),
    Notation("lyrics", "c4d4e4|", "c4d4e4|", labelled=False, source="clutter"),
    Notation("chord symbols", "c4d4e4|", "c4d4e4|", labelled=False, source="clutter"),
    Notation("tempo marks and other words", "c4d4e4|", "c4d4e4|", labelled=False, source="clutter"),
    Notation("fingerings and bowings", "c4d4e4|", "c4d4e4|", labelled=False, source="clutter"),
    Notation("bar numbers", "c4|d4|e4|", "c4|d4|e4|", labelled=False, source="clutter, degradation"),
    Notation("titles, stray text, neighbouring staves, brackets", "c4|", "c4|", labelled=False, source="degradation"),
)
# Never drawn, and dropped where a source has them: octave lines, pedal marks, tremolo between two notes, glissandi,
# breath marks, D.C. and the like, more than two voices on a staff.
