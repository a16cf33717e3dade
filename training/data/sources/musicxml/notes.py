"""Reads MusicXML's `<note>` as a note, chord or rest with its place in the measure."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree.ElementTree import Element

from runtime.abc.reader import AbcError
from runtime.abc.tune import DURATIONS, DYNAMICS, STEPS
from runtime.notation.musicxml_signs import (
    ACCIDENTAL_NAMES,
    ARTICULATIONS,
    NOTE_TYPES,
    ORNAMENTS,
    TECHNICAL,
    TREMOLOS,
)

SIGNS = {name: sign for sign, name in ACCIDENTAL_NAMES.items()} | {"sharp-sharp": "^^"}
BASES = {name: base for base, name in NOTE_TYPES.items()}
# The decorations that training draws, by the MusicXML elements that hold them; all others are left out.
DRAWN = ("staccato", "accent", "tenuto", "marcato", "staccatissimo", "trill", "turn", "invertedturn", "uppermordent",
         "lowermordent", "upbow", "downbow")  # fmt: skip
DECORATIONS = {
    element: (name,) for name, element in (ARTICULATIONS | ORNAMENTS | TECHNICAL).items() if name in DRAWN
} | {"detached-legato": ("tenuto", "staccato"), "delayed-turn": ("turn",), "delayed-inverted-turn": ("invertedturn",)}
TREMOLO_NAMES = {value: name for name, value in TREMOLOS.items()}


@dataclass
class Head:
    """A notehead: sounding `step` (C4 = 28) and alteration, the accidental printed at it, whether a tie starts."""

    step: int
    alter: int
    sign: str
    tie: bool


@dataclass
class Note:
    """A note, chord or rest.

    Attributes:
        start, end: from the beginning of its measure, in eighths as they sound.
        written: the length as drawn, in eighths; 0 for a bar of rest.
        rest: "z", "x" where nothing is drawn, or empty.
        whole: a rest that is drawn as a bar of rest if it is alone.
        ratio: (p, q) inside a tuplet of p in the time of q.
        beam: the outermost beam: begin, continue, end or empty.
        slurs: (number, "start" or "stop").
        graces: noteheads of each grace note before it; `slash` is the stroke through the first one.
        group: (p, q, r) where a tuplet of r notes starts.
        tied, slur_starts, slur_ends: ties and slurs that are whole in the line.
    """

    start: Fraction
    end: Fraction
    written: Fraction
    rest: str = ""
    whole: bool = False
    voice: str = "1"
    stem: str = ""
    beam: str = ""
    space: bool = False
    heads: list[Head] = field(default_factory=list)
    ratio: tuple[int, int] | None = None
    tuplet: list[str] = field(default_factory=list)
    group: tuple[int, int, int] | None = None
    slurs: list[tuple[str, str]] = field(default_factory=list)
    tied: bool = False
    slur_starts: int = 0
    slur_ends: int = 0
    decorations: list[str] = field(default_factory=list)
    is_grace: bool = False
    slash: bool = False
    graces: list[list[Head]] = field(default_factory=list)

    @property
    def flagged(self) -> bool:
        """True for notes with flags or beams."""
        return not self.rest and self.written < 2


def whole_number(element: Element, tag: str, default: str | None = None) -> int:
    """The integer inside a child.

    Raises:
        AbcError: there is none, or it is something else.
    """
    text = element.findtext(tag, default)
    try:
        return int(str(text))
    except ValueError:
        raise AbcError(f"<{tag}> is no whole number") from None


def read_note(element: Element, start: Fraction, length: Fraction) -> Note:
    """A note or rest that begins a chord.

    Raises:
        AbcError: it can't be drawn as canonical ABC.
    """
    if element.find("cue") is not None:
        raise AbcError("a cue note")
    rest, grace = element.find("rest"), element.find("grace")
    kind, voice, stem = (element.findtext(tag) for tag in ("type", "voice", "stem"))
    note = Note(start, start + length, Fraction(0), voice=voice or "1", stem=stem or "")
    if rest is not None:
        hidden = element.get("print-object") == "no"
        note.rest = "x" if hidden else "z"
        note.whole = rest.get("measure") == "yes" or kind is None
    if grace is not None:
        note.is_grace, note.slash = True, grace.get("slash") == "yes"
    elif not (note.whole and kind is None):
        note.written = _written(kind, len(element.findall("dot"))) if kind or length not in DURATIONS else length
    elif length in DURATIONS:
        note.written = length
    note.tuplet = [mark.get("type", "") for mark in element.iterfind("notations/tuplet")]
    if note.tuplet.count("start") > 1:
        raise AbcError("a tuplet inside a tuplet")
    ratio = element.find("time-modification")
    if ratio is not None:
        note.ratio = whole_number(ratio, "actual-notes"), whole_number(ratio, "normal-notes")
    beam = next((b for b in element.iterfind("beam") if b.get("number", "1") == "1"), None)
    note.beam = (beam.text or "").strip() if beam is not None else ""
    add_head(note, element)
    if not note.rest and not note.heads:
        note.rest = "x"
    if note.rest == "x":
        note.decorations, note.slurs = [], []
    return note


def add_head(note: Note, element: Element) -> None:
    """Add the notehead, slurs and decorations of an element to the note or chord that it belongs to."""
    pitch = element.find("pitch")
    if pitch is not None and element.get("print-object") != "no":
        note.heads.append(_head(element, pitch))
    elif element.find("unpitched") is not None:
        raise AbcError("a note without pitch")
    if element.findtext("notehead", "normal") != "normal":
        raise AbcError("a notehead of another shape")
    for notations in element.iterfind("notations"):
        _add_notations(note, notations)


@functools.cache
def _written(kind: str | None, dots: int) -> Fraction:
    """The length as drawn."""
    base = BASES.get(kind or "")
    written = base * (2 - Fraction(1, 2**dots)) if base else None
    if written not in DURATIONS:
        raise AbcError(f"length {kind} with {dots} dots")
    assert written is not None
    return written


def _head(element: Element, pitch: Element) -> Head:
    alter, sign = pitch.findtext("alter", "0"), SIGNS.get(element.findtext("accidental", "").strip(), "")
    if alter.strip() not in ("-2", "-1", "0", "1", "2"):
        raise AbcError(f"alteration {alter}")
    step = pitch.findtext("step", "").strip()
    if step not in STEPS or not step:
        raise AbcError(f"step {step!r}")
    tie = any(t.get("type") == "start" for t in element.iterfind("tie"))
    tie = tie or any(t.get("type") == "start" for t in element.iterfind("notations/tied"))
    return Head(7 * whole_number(pitch, "octave") + STEPS.index(step), int(alter), sign, tie)


def _add_notations(note: Note, notations: Element) -> None:
    names: list[str] = []
    for mark in notations:
        if mark.tag == "slur":
            slur = (mark.get("number", "1"), mark.get("type", ""))
            note.slurs += [slur] if slur not in note.slurs else []  # some programs repeat it at each head of a chord
        elif mark.tag == "fermata":
            names.append("fermata")
        elif mark.tag == "arpeggiate":
            names.append("arpeggio")
        elif mark.tag == "dynamics":
            names += dynamics(mark)
        elif mark.tag in ("articulations", "ornaments", "technical"):
            for sign in mark:
                names += _tremolo(sign) if sign.tag == "tremolo" else DECORATIONS.get(sign.tag, ())
    note.decorations += [name for name in dict.fromkeys(names) if name not in note.decorations]


def _tremolo(sign: Element) -> tuple[str, ...]:
    if sign.get("type", "single") != "single":
        raise AbcError("a tremolo between notes")
    name = TREMOLO_NAMES.get((sign.text or "").strip())
    return (name,) if name else ()


def dynamics(element: Element) -> list[str]:
    """Names of a `<dynamics>` element that canonical ABC has."""
    return [sign.tag for sign in element if sign.tag in DYNAMICS]
