"""Writes a piece as MusicXML 4.0, with the `musicxml` package (its typed elements check names, values and attributes).

Every notehead becomes one `note`, in the order of the drawing. Pitches are as they sound; `accidental` is what is
printed. If no meter is drawn, one is worked out and marked `print-object="no"`, so that programs set the bars right.
Octave lines (8va) are left out: the canonical form doesn't say whether it writes drawn or sounding octaves there.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from musicxml.xmlelement import xmlelement

from ..abc.sounding_pitches import Tone
from ..abc.symbols import clef_name, time_name
from ..abc.tune import DYNAMICS, STEPS, Change, Event
from .measures import Measure, Piece, Placed, beam_states
from .musicxml_signs import (
    ACCIDENTAL_NAMES,
    ARTICULATIONS,
    BAR_STYLES,
    CLEF_SIGNS,
    FERMATAS,
    FINGERS,
    NOTE_TYPES,
    ORNAMENTS,
    ROLL,
    TECHNICAL,
    TREMOLOS,
    WAVY_LINES,
    WEDGES,
    WORDS,
)

HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)
Element = Any  # musicxml ships no types


class XmlWriter:
    """Writes one piece.

    Args:
        parts: from `runtime.notation.measures.cut`, one for each staff.
        title: of the work; none if empty.
        check: test the order and number of all children against the schema, at twice the time. What the
            elements may hold is tested in any case.
    """

    def __init__(self, parts: Sequence[Piece], title: str = "", check: bool = False) -> None:
        self.parts = parts
        self.title = "".join(c for c in title if c.isprintable())  # a file's name may hold what XML can't
        self.check = check
        self.meter_drawn = True
        lengths = [placed.sounded.length for part in parts for m in part.measures for placed in m.events]
        self.made: dict[tuple[Hashable, ...], Element] = {}
        self.divisions = math.lcm(*(int((4 * length).denominator) for length in lengths), 1)

    def make(self, name: str, *children: Element, value: Hashable = None, **attributes: Hashable) -> Element:
        """An element by its MusicXML name.

        Making an element takes 0.3 to 3 ms, and a page repeats most of its notes. So equal elements are made once and
        shared. The package allows that as long as it doesn't check children.
        """
        key = (name, value, *sorted(attributes.items()), *map(id, children))
        if key in self.made and not self.check:
            return self.made[key]
        element = self.made[key] = self.new(name, children, value, attributes)
        return element

    def new(self, name: str, children: Sequence[Element], value: Hashable, attributes: dict[str, Hashable]) -> Element:
        kind = getattr(xmlelement, "XML" + "".join(part[:1].upper() + part[1:] for part in name.split("-")))
        text = {} if value is None else {"value_": value}
        element = kind(**text, xsd_check=self.check, **attributes)
        for child in children:
            element.add_child(child)
        return element

    def leaf(self, name: str, value: Hashable) -> Element:
        """An element that holds a value and nothing else."""
        return self.make(name, value=value)

    def write(self) -> bytes:
        """The file's bytes, UTF-8."""
        make, leaf = self.make, self.leaf
        software = make("identification", make("encoding", leaf("software", "OMR in a phone")))
        numbered = list(enumerate(self.parts, 1))
        names = [make("score-part", leaf("part-name", "Music"), id=f"P{number}") for number, _ in numbered]
        parts = [make("part", *self.measures(part), id=f"P{number}") for number, part in numbered]
        work = [make("work", leaf("work-title", self.title))] if self.title else []
        score = make("score-partwise", *work, software, make("part-list", *names), *parts, version="4.0")
        return (HEADER + str(score.to_string())).encode()

    # -- measures

    def measures(self, part: Piece) -> Iterator[Element]:
        number, split = 0, 0
        before: Measure | None = None
        for measure in part.measures or [Measure()]:
            if measure.pickup and before is not None and before.pickup:
                split += 1
                name = f"X{split}"  # the second half of a bar that a repeat splits
            else:
                number += not (measure.pickup and before is None)
                name = str(number)
            hidden = {"implicit": "yes"} if measure.pickup else {}
            yield self.make("measure", *self.content(part, measure, before is None), number=name, **hidden)
            before = measure

    def content(self, part: Piece, measure: Measure, first: bool) -> Iterator[Element]:
        """Everything inside a measure in order."""
        if measure.new_system and not first:
            yield self.make("print", new_system="yes")
        yield from self.left_barline(measure)
        voice, reached = 1, Fraction(0)
        changes: list[Change] = []
        if first:
            changes = [Change("key", str(part.key)), Change("meter", part.meter), Change("clef", part.clef)]
            self.meter_drawn = part.meter_drawn
        for item in measure.content:
            if isinstance(item, Change):
                changes = [c for c in changes if c.kind != item.kind or first] + [item]
                continue
            yield from self.attributes(changes, first, measure.rest_bars)
            changes, first = [], False
            if item.voice > voice:
                voice = item.voice
                yield self.make("backup", self.leaf("duration", self.ticks(reached)))
            reached = item.start + item.sounded.length
            yield from self.event(item)
        yield from self.attributes(changes, first, 0)
        yield from self.right_barline(measure)

    def left_barline(self, measure: Measure) -> Iterator[Element]:
        style = "heavy-light" if measure.repeats_here else BAR_STYLES.get(measure.left)
        parts = [self.leaf("bar-style", style)] if style else []
        if measure.ending_starts:
            parts.append(self.make("ending", number=_numbers(measure.endings), type="start"))
        if measure.repeats_here:
            parts.append(self.make("repeat", direction="forward"))
        if parts:
            yield self.make("barline", *parts, location="left")

    def right_barline(self, measure: Measure) -> Iterator[Element]:
        style = "light-heavy" if measure.repeats_back else BAR_STYLES.get(measure.right)
        parts = [self.leaf("bar-style", style)] if style else []
        if measure.ending_stops:
            kind = "stop" if measure.right in (":|", "::", "|]") else "discontinue"
            parts.append(self.make("ending", number=_numbers(measure.endings), type=kind))
        if measure.repeats_back:
            parts.append(self.make("repeat", direction="backward"))
        if parts:
            yield self.make("barline", *parts, location="right")

    def attributes(self, changes: list[Change], first: bool, rest_bars: int) -> Iterator[Element]:
        """Signatures that change here; with `first` the divisions too."""
        last = {change.kind: change.value for change in changes}
        hidden = first and not self.meter_drawn and sum(c.kind == "meter" for c in changes) == 1
        parts = [self.leaf("divisions", self.divisions)] if first else []
        if "key" in last:
            parts.append(self.make("key", self.leaf("fifths", int(last["key"]))))
        if "meter" in last:
            parts.append(self.time(last["meter"], hidden))
        if "clef" in last:
            parts.append(self.clef(last["clef"]))
        if rest_bars > 1:
            parts.append(self.make("measure-style", self.leaf("multiple-rest", rest_bars)))
        if parts:
            yield self.make("attributes", *parts)

    def time(self, meter: str, hidden: bool) -> Element:
        beats, _, unit = time_name(meter).partition("/")
        symbol = {"C": {"symbol": "common"}, "C|": {"symbol": "cut"}}.get(meter, {})
        shown = {"print_object": "no"} if hidden else {}
        return self.make("time", self.leaf("beats", beats), self.leaf("beat-type", unit), **symbol, **shown)

    def clef(self, clef: str) -> Element:
        sign, octave = clef_name(clef), 0
        if sign.endswith(("-8", "+8")):
            sign, octave = sign[:-2], int(sign[-2:]) // 8
        parts = [self.leaf("sign", CLEF_SIGNS.get(sign, sign[:1]))]
        if sign not in CLEF_SIGNS:
            parts.append(self.leaf("line", int(sign[1])))
        return self.make("clef", *parts, *([self.leaf("clef-octave-change", octave)] if octave else []))

    # -- notes

    def event(self, placed: Placed) -> Iterator[Element]:
        """Directions, grace notes and the notes of one event."""
        marks = placed.event.decorations
        yield from self.directions(name for name in marks if WEDGES.get(name) != "stop")
        yield from self.graces(placed)
        if placed.event.rest:
            yield self.rest(placed)
        for index in range(len(placed.event.pitches)):
            yield self.note(placed, index)
        yield from self.directions(name for name in marks if WEDGES.get(name) == "stop")

    def directions(self, names: Iterable[str]) -> Iterator[Element]:
        for name in names:
            if name in DYNAMICS:
                what, place = self.make("dynamics", self.make(name)), "below"
            elif name in WEDGES:
                what, place = self.make("wedge", type=WEDGES[name]), "below"
            elif name in WORDS:
                what, place = self.leaf("words", WORDS[name]), "above"
            elif name in ("segno", "coda"):
                what, place = self.make(name), "above"
            else:
                continue
            yield self.make("direction", self.make("direction-type", what), placement=place)

    def graces(self, placed: Placed) -> Iterator[Element]:
        """One grace note is an eighth, several are beamed sixteenths."""
        several = len(placed.event.graces) > 1
        beams = beam_states([2] * len(placed.event.graces)) if several else [()]
        for grace, tones, states in zip(placed.event.graces, placed.sounded.graces, beams, strict=False):
            for index, (pitch, tone) in enumerate(zip(grace.pitches, tones, strict=True)):
                parts = [self.make("grace", slash="yes" if grace.slash else "no")]
                parts += [self.make("chord")] if index else []
                kind = "16th" if several else "eighth"
                parts += [self.pitch(tone), self.leaf("voice", str(placed.voice)), self.leaf("type", kind)]
                parts += self.accidental(pitch.accidental)
                yield self.make("note", *parts, *([] if index else self.beams(states)))

    def rest(self, placed: Placed) -> Element:
        whole = placed.event.rest == "Z"
        parts = [self.make("rest", **({"measure": "yes"} if whole else {})), self.duration(placed)]
        parts.append(self.leaf("voice", str(placed.voice)))
        parts += [] if whole else self.length(placed)
        hidden = {"print_object": "no"} if placed.event.rest == "x" else {}
        return self.make("note", *parts, *self.notations(placed, None), **hidden)

    def note(self, placed: Placed, index: int) -> Element:
        tone = placed.sounded.tones[index]
        parts = [self.make("chord")] if index else []
        parts += [self.pitch(tone), self.duration(placed)]
        parts += [self.make("tie", type=kind) for kind in _ties(placed, index)]
        parts += [self.leaf("voice", str(placed.voice)), *self.length(placed)[:-1 if placed.tuplet else None]]
        parts += self.accidental(placed.event.pitches[index].accidental)
        parts += self.length(placed)[-1:] if placed.tuplet else []
        parts += [] if index else self.beams(placed.beams)
        return self.make("note", *parts, *self.notations(placed, index))

    def pitch(self, tone: Tone) -> Element:
        alter = [self.leaf("alter", tone.alter)] if tone.alter else []
        octave = max(0, min(9, tone.step // 7))
        return self.make("pitch", self.leaf("step", STEPS[tone.step % 7]), *alter, self.leaf("octave", octave))

    def duration(self, placed: Placed) -> Element:
        return self.leaf("duration", self.ticks(placed.sounded.length))

    def ticks(self, length: Fraction) -> int:
        """Whole notes as MusicXML's divisions."""
        return int(length * 4 * self.divisions)

    def length(self, placed: Placed) -> list[Element]:
        """Type, dots and tuplet ratio; a length that can't be drawn has no type."""
        event: Event = placed.event
        parts = []
        if event.base in NOTE_TYPES:
            parts = [self.leaf("type", NOTE_TYPES[event.base]), *(self.make("dot") for _ in range(event.dots))]
        if placed.tuplet:
            p, q = placed.tuplet
            parts.append(self.make("time-modification", self.leaf("actual-notes", p), self.leaf("normal-notes", q)))
        return parts

    def accidental(self, sign: str) -> list[Element]:
        return [self.leaf("accidental", ACCIDENTAL_NAMES[sign])] if sign else []

    def beams(self, states: tuple[str, ...]) -> list[Element]:
        return [self.make("beam", value=state, number=level) for level, state in enumerate(states, 1)]

    def notations(self, placed: Placed, index: int | None) -> list[Element]:
        """`index` of the note in its chord, None for a rest; what belongs to the whole chord is written at its first
        note."""
        parts = [self.make("tied", type=kind) for kind in (_ties(placed, index) if index is not None else [])]
        names = placed.event.decorations
        if not index:
            parts += [self.make("slur", number=number, type=kind) for number, kind in placed.slurs if number <= 16]
            parts += [self.make("tuplet", type=kind) for kind in placed.tuplet_edges]
            parts += self.marks(names)
        if "arpeggio" in names and index is not None:
            parts.append(self.make("arpeggiate"))
        return [self.make("notations", *parts)] if parts else []

    def marks(self, names: tuple[str, ...]) -> list[Element]:
        """Ornaments, technical signs, articulations and fermatas."""
        make = self.make
        ornaments = [make(ORNAMENTS[n]) for n in names if n in ORNAMENTS]
        ornaments += [make("wavy-line", type=WAVY_LINES[n]) for n in names if n in WAVY_LINES]
        ornaments += [make("tremolo", value=int(TREMOLOS[n]), type="single") for n in names if n in TREMOLOS]
        ornaments += [self.leaf("other-ornament", n) for n in names if n == ROLL]
        technical = [make(TECHNICAL[n]) for n in names if n in TECHNICAL]
        technical += [self.leaf("fingering", n) for n in names if n in FINGERS]
        articulations = [make(ARTICULATIONS[n]) for n in names if n in ARTICULATIONS]
        groups = {"ornaments": ornaments, "technical": technical, "articulations": articulations}
        fermatas = [make("fermata", type=FERMATAS[n]) for n in names if n in FERMATAS]
        return [make(name, *group) for name, group in groups.items() if group] + fermatas


def _ties(placed: Placed, index: int) -> list[str]:
    stop = ["stop"] if placed.sounded.tones[index].tied else []
    return stop + (["start"] if index in placed.tie_starts else [])


def _numbers(endings: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in endings)
