"""Reads a MusicXML part as measures of its staves: every note at its moment, every change and bar line at its place."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree.ElementTree import Element

from runtime.abc.reader import AbcError
from runtime.abc.tune import CLEF_BOTTOM, METERS, Change
from runtime.notation.musicxml_signs import BAR_STYLES
from training.data.sources.musicxml.notes import Note, add_head, dynamics, read_note, whole_number

CLEFS = {
    "G2": "treble", "G1": "treble1", "C1": "soprano", "C2": "mezzosoprano", "C3": "alto", "C4": "tenor",
    "C5": "baritone", "F3": "bass3", "F4": "bass", "percussion": "perc", "none": "none",
}  # fmt: skip
STYLES = {style: text for text, style in BAR_STYLES.items()} | {"regular": "|", "dashed": ".|"}
ENDINGS = {"1", "2", "3", "4", "1,2", "1,3", "1-3"}


@dataclass
class Measure:
    """One measure of one staff.

    Attributes:
        voices: notes by voice, in order; grace notes come before their note.
        changes: (moment in eighths, change).
        marks: (moment, voice or empty, decoration) of directions, which belong to the next note.
        left, right: bar lines; empty where none is drawn of its own (left) or at all (right).
        ending: the ending that begins here.
        rest_bars: of a multiple rest that begins here, else 0.
        beat: length of the beat that flagged notes are beamed by where the file holds no beams.
        error: why it can't be drawn as canonical ABC; empty where it can.
    """

    voices: dict[str, list[Note]] = field(default_factory=dict)
    changes: list[tuple[Fraction, Change]] = field(default_factory=list)
    marks: list[tuple[Fraction, str, str]] = field(default_factory=list)
    left: str = ""
    right: str = "|"
    ending: str = ""
    rest_bars: int = 0
    length: Fraction = Fraction(0)
    beat: Fraction = Fraction(2)
    beamed: bool = True
    error: str = ""


class PartReader:
    """Reads one `<part>`; `staves[n]` is the list of the measures of staff n."""

    def __init__(self, part: Element) -> None:
        count = max((int(e.text or 1) for e in part.iter("staves") if (e.text or "").strip().isdigit()), default=1)
        self.staves: list[list[Measure]] = [[] for _ in range(count)]
        self.divisions = Fraction(1, 2)  # ticks in an eighth
        self.beat = Fraction(2)
        self.standing: list[dict[str, str]] = [{} for _ in range(count)]  # errors that hold for later measures, too:
        # octave lines, staff lines
        self.beamed = part.find(".//beam") is not None
        self.now = self.reached = Fraction(0)
        self.last: Note | None = None
        for measure in part.iterfind("measure"):
            self.measure(measure)

    def measure(self, element: Element) -> None:
        """Read one measure of all staves."""
        self.now = self.reached = Fraction(0)
        self.here = [Measure(beamed=self.beamed) for _ in self.staves]
        readers = {"note": self.note, "attributes": self.attributes, "direction": self.direction}
        for child in element:
            if child.tag in readers:
                readers[child.tag](child)
            elif child.tag == "barline":
                self.bar_line(child)
            elif child.tag in ("backup", "forward"):
                self.move(self.ticks(child) * (1 if child.tag == "forward" else -1))
        for number, measure in enumerate(self.here):
            measure.length, measure.beat = self.reached, self.beat
            measure.error = measure.error or next(iter(self.standing[number].values()), "")
            self.staves[number].append(measure)

    def move(self, length: Fraction) -> None:
        """Go on to another moment of the measure."""
        if not length:
            return
        self.now = max(Fraction(0), self.now + length)
        self.reached = max(self.reached, self.now)

    def ticks(self, element: Element) -> Fraction:
        """`<duration>` in eighths."""
        return _ticks(element.findtext("duration", "0"), self.divisions)

    def staff(self, element: Element) -> int:
        """Index of the staff that an element names."""
        return min(max(1, whole_number(element, "staff", "1")), len(self.staves)) - 1

    def fail(self, staff: int, error: AbcError) -> None:
        """The measure can't be used on that staff; the first cause counts."""
        self.here[staff].error = self.here[staff].error or str(error)

    def note(self, element: Element) -> None:
        staff = self.staff(element)
        chord = element.find("chord") is not None
        length = Fraction(0) if chord or element.find("grace") is not None else self.ticks(element)
        try:
            if not chord:
                self.last = None
                self.last = read_note(element, self.now, length)
                self.here[staff].voices.setdefault(self.last.voice, []).append(self.last)
            elif self.last is not None:
                if not any(self.last is note for note in self.here[staff].voices.get(self.last.voice, ())):
                    raise AbcError("a chord over two staves")
                add_head(self.last, element)
        except AbcError as error:
            self.fail(staff, error)
        self.move(length)

    # -- signatures

    def attributes(self, element: Element) -> None:
        divisions = element.findtext("divisions")
        if divisions is not None:
            self.divisions = 1 / _ticks("2", _ticks(divisions, Fraction(1)))
        for child in element:
            for staff in self.numbered(child) if child.tag in ("key", "time", "clef") else ():
                try:
                    self.change(staff, child)
                    self.standing[staff].pop(child.tag, None)
                except AbcError as error:
                    self.fail(staff, error)
                    if child.tag != "time":  # a meter is only drawn; a clef or key stays in force
                        self.standing[staff][child.tag] = str(error)
        for child in element.iterfind("staff-details"):
            lines = child.findtext("staff-lines")
            for staff in self.numbered(child) if lines else ():
                self.standing[staff].pop("lines", None)
                if lines != "5":
                    self.standing[staff]["lines"] = "a staff without five lines"
        for child in element.iterfind("measure-style"):
            bars = child.findtext("multiple-rest")
            for staff in self.numbered(child) if bars else ():
                self.here[staff].rest_bars = int(bars or 0)

    def numbered(self, element: Element) -> list[int]:
        """The staves that a signature holds for."""
        number = element.get("number")
        return [min(int(number), len(self.staves)) - 1] if number else list(range(len(self.staves)))

    def change(self, staff: int, element: Element) -> None:
        """A clef, key or meter; of those that aren't printed only a meter ends the one before."""
        shown = element.get("print-object") != "no"
        if element.tag == "time":
            self.beat = _beat(element)
            meter = _meter(element) if shown else ""
            self.here[staff].changes.append((self.now, Change("meter", meter if meter in METERS else "")))
            if meter and meter not in METERS:
                raise AbcError(f"meter {meter}")
        elif shown:
            value = _key(element) if element.tag == "key" else _clef(element)
            self.here[staff].changes.append((self.now, Change(element.tag, value)))

    # -- directions and bar lines

    def direction(self, element: Element) -> None:
        staff, voice = self.staff(element), element.findtext("voice", "")
        for sign in element.iterfind("direction-type/*"):
            names = dynamics(sign) if sign.tag == "dynamics" else [sign.tag] if sign.tag in ("segno", "coda") else []
            self.here[staff].marks += [(self.now, voice, name) for name in names]
            if sign.tag == "octave-shift" and sign.get("type") != "continue":
                self.fail(staff, AbcError("an octave line"))
                self.standing[staff].pop("octave", None)
                if sign.get("type") != "stop":
                    self.standing[staff]["octave"] = "an octave line"

    def bar_line(self, element: Element) -> None:
        style = element.findtext("bar-style", "").strip()
        repeat, ending = element.find("repeat"), element.find("ending")
        text = STYLES.get(style, "" if style else "|")
        for staff, measure in enumerate(self.here):
            if element.get("location", "right") == "left":
                measure.left = "|:" if repeat is not None else text if text != "|" else measure.left
                if ending is not None and ending.get("print-object") != "no":
                    measure.ending = _ending(ending)
                    if measure.ending not in ENDINGS:
                        self.fail(staff, AbcError(f"ending {measure.ending!r}"))
            elif element.get("location") == "middle":
                self.fail(staff, AbcError("a bar line inside a measure"))
            else:
                measure.right = ":|" if repeat is not None else text
                if not measure.right:
                    self.fail(staff, AbcError("a bar line that isn't drawn, or is drawn in another way"))


@functools.cache
def _ticks(duration: str, divisions: Fraction) -> Fraction:
    try:
        return Fraction(duration.strip()) / divisions
    except (ValueError, ZeroDivisionError):
        raise AbcError(f"duration {duration!r} is no number") from None


def _ending(element: Element) -> str:
    number = element.get("number", "").replace(" ", "")
    return {"1,2,3": "1-3"}.get(number, number)


def _beat(element: Element) -> Fraction:
    """Length of the beat in eighths."""
    beats, unit = element.findtext("beats", "4"), element.findtext("beat-type", "4")
    if not (beats.isdigit() and unit.isdigit() and int(unit)):
        return Fraction(2)
    compound = int(unit) >= 8 and int(beats) % 3 == 0
    return Fraction(3 * 8, int(unit)) if compound else Fraction(2)


def _meter(element: Element) -> str:
    """The meter as drawn; empty where there is none."""
    symbol = {"common": "C", "cut": "C|"}.get(element.get("symbol", ""))
    text = symbol or "+".join(f"{b.text}" for b in element.iterfind("beats")) + f"/{element.findtext('beat-type')}"
    if element.find("senza-misura") is not None:
        return ""
    return text


def _key(element: Element) -> str:
    fifths = whole_number(element, "fifths")
    if not -7 <= fifths <= 7:
        raise AbcError(f"key of {fifths} fifths")
    return str(fifths)


def _clef(element: Element) -> str:
    sign, line = element.findtext("sign", "").strip(), element.findtext("line", "").strip()
    octave = {-1: "-8", 0: "", 1: "+8"}.get(whole_number(element, "clef-octave-change", "0"), "?")
    usual = {"G": "2", "F": "4", "C": "3"}.get(sign, "")
    name = CLEFS.get(sign if sign in CLEFS else sign + (line or usual), "?") + octave
    if name not in CLEF_BOTTOM:
        raise AbcError(f"clef {sign}{line}{octave}")
    return name
