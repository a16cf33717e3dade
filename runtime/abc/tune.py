"""Canonical ABC: one line of music as data (`Tune`), as atoms and as text.

A label depends only on the picture, so the canonical form has exactly one spelling for each drawing:

- `L:1/8` always; `K:` is the major key of the drawn signature and carries the clef; `M:` only where a meter is drawn;
- accidentals as printed; explicit durations; grace notes without durations;
- a space means that two neighbouring flagged notes are not beamed together; there are no other spaces;
- slurs are balanced; a tie is `-` after a note or chord and ties every pitch that the next one repeats; a slur between
  two notes of the same pitch looks like a tie and is written as one;
- before a note: tuplet, grace notes, slurs, decorations (in the order of DECORATIONS); after it: duration, tie, slur
  ends;
- `&` begins the second voice of a bar, on the same staff; the first voice is the upper one;
- text is left out.

`runtime.abc.reader` turns ABC text (canonical, from a collection, or from the model) into a `Tune`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

STEPS = "CDEFGAB"
MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")  # -7 .. 7 sharps
ACCIDENTALS = ("^^", "^", "=", "_", "__")
BARS = ("|", "||", "|]", "[|", "|:", ":|", "::", ".|")
# Diatonic number of the bottom staff line (C4 = 28, one a step).
CLEF_BOTTOM = {
    "treble": 30, "treble-8": 30, "treble+8": 30, "treble1": 32, "soprano": 28, "mezzosoprano": 26, "alto": 24,
    "tenor": 22, "baritone": 20, "bass": 18, "bass-8": 18, "bass+8": 18, "bass3": 20, "perc": 30, "none": 30,
}  # fmt: skip
METERS = (
    "C", "C|", "2/4", "3/4", "4/4", "5/4", "6/4", "7/4", "2/2", "3/2", "4/2", "3/8", "4/8", "5/8", "6/8", "7/8", "9/8",
    "12/8", "2/8", "6/16", "9/16", "12/16", "9/4", "1/4", "8/8", "11/8", "10/8", "2/1", "3/1", "6/2", "3/16", "5/2",
)  # fmt: skip
# In the order in which a note's decorations are written.
DYNAMICS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff", "sfz", "fp")
DECORATIONS = (
    "accent", "tenuto", "marcato", "staccato", "staccatissimo", "fermata", "invertedfermata", "breath", "trill", "turn",
    "invertedturn", "uppermordent", "lowermordent", "roll", "arpeggio", "upbow", "downbow", "open", "plus", "snap",
    "segno", "coda", "D.C.", "D.S.", "fine", "dacapo", "dacoda", "trill(", "trill)", "<(", "<)", ">(", ">)", "8va(",
    "8va)", "8vb(", "8vb)", *DYNAMICS, "/", "//", "///", "slide", "thumb", "wedge", "0", "1", "2", "3", "4", "5",
)  # fmt: skip
# Written lengths in eighths: 1/64 to a breve, with up to two dots.
DURATIONS = tuple(
    sorted(
        base * dots
        for base in (Fraction(2) ** n for n in range(-3, 5))
        for dots in (Fraction(1), Fraction(3, 2), Fraction(7, 4))
    )
)


@dataclass(frozen=True)
class Pitch:
    """A notehead as drawn: `step` is diatonic (C4 = 28), `accidental` one of ACCIDENTALS or empty."""

    step: int
    accidental: str = ""

    @property
    def letter(self) -> str:
        return STEPS[self.step % 7]

    @property
    def octave(self) -> int:
        """Scientific octave: C4 is middle C."""
        return self.step // 7


@dataclass(frozen=True)
class Grace:
    """One grace note or grace chord; `slash` on the first of a group is the stroke of an acciaccatura."""

    pitches: tuple[Pitch, ...]
    slash: bool = False


@dataclass(frozen=True)
class Event:
    """A note, chord or rest.

    Attributes:
        pitches: noteheads from the bottom up; empty for a rest.
        duration: as written, in eighths, tuplet not applied; for `Z` the number of bars.
        rest: "z", "x" (invisible), "Z" (bars of rest), or empty for notes.
        tuplet: (p, q, r) where one starts: p in the time of q for the next r events.
        space: a beam break follows.
    """

    pitches: tuple[Pitch, ...] = ()
    duration: Fraction = Fraction(1)
    rest: str = ""
    tie: bool = False
    graces: tuple[Grace, ...] = ()
    slur_starts: int = 0
    slur_ends: int = 0
    decorations: tuple[str, ...] = ()
    tuplet: tuple[int, int, int] | None = None
    space: bool = False

    @property
    def flagged(self) -> bool:
        """True for notes with flags or beams."""
        return not self.rest and self.duration < 2

    def tuplet_left(self, before: int) -> int:
        """How many events of a tuplet are left after this one, if `before` were left before it."""
        return max(0, (self.tuplet[2] if self.tuplet else before) - 1)

    @property
    def dots(self) -> int:
        """Augmentation dots: 0 to 2."""
        top = self.duration.numerator
        return {3: 1, 7: 2}.get(top // (top & -top), 0) if top else 0  # the numerator's odd part

    @property
    def base(self) -> Fraction:
        """Length without dots, in eighths."""
        return self.duration * Fraction(2**self.dots, 2 ** (self.dots + 1) - 1)


@dataclass(frozen=True)
class Bar:
    """A bar line, one of BARS, and the ending ("1", "2", ..) that starts after it."""

    text: str = "|"
    ending: str = ""


@dataclass(frozen=True)
class Change:
    """A clef, key or meter drawn inside the line: kind is "clef", "key" (value -7..7 as text) or "meter"."""

    kind: str
    value: str


@dataclass(frozen=True)
class Overlay:
    """The bar's second voice starts."""


@dataclass(frozen=True)
class LineBreak:
    """The end of a system."""


Item = Event | Bar | Change | Overlay | LineBreak


@dataclass(frozen=True)
class Tune:
    """One line or one page of one voice. `key` counts sharps (flats negative); `meter` None: none is drawn."""

    clef: str = "treble"
    key: int = 0
    meter: str | None = None
    items: tuple[Item, ...] = field(default=())

    @property
    def events(self) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event)]

    def bars(self) -> list[list[Item]]:
        """The items of each bar, its closing bar line included."""
        out: list[list[Item]] = [[]]
        for item in self.items:
            out[-1].append(item)
            if isinstance(item, Bar) and any(isinstance(other, Event) for other in out[-1]):
                out.append([])
        return out if out[-1] else out[:-1]


def voices(items: Sequence[Item]) -> dict[int, int]:
    """Voice (1, or 2 after a bar's `&`) of each event by its index."""
    out, voice = {}, 1
    for index, item in enumerate(items):
        if isinstance(item, Bar | Overlay):
            voice = 1 if isinstance(item, Bar) else 2
        elif isinstance(item, Event):
            out[index] = voice
    return out


def clefs_in_force(tune: Tune) -> list[str]:
    """The clef at each item of a line, a change included."""
    out: list[str] = []
    clef = tune.clef
    for item in tune.items:
        clef = item.value if isinstance(item, Change) and item.kind == "clef" else clef
        out.append(clef)
    return out


def pitch_text(pitch: Pitch) -> str:
    """`c'` for C6, `C,` for C3; without the accidental."""
    letter, octave = pitch.letter, pitch.octave
    return letter.lower() + "'" * (octave - 5) if octave >= 5 else letter + "," * (4 - octave)


def duration_text(duration: Fraction) -> str:
    """Length after a note, in eighths: empty for 1, `3/2`, `/2`."""
    if duration == 1:
        return ""
    top = "" if duration.numerator == 1 else str(duration.numerator)
    return top + (f"/{duration.denominator}" if duration.denominator > 1 else "")


def key_name(fifths: int) -> str:
    """Major key with that many sharps (flats negative), e.g. -2 -> Bb."""
    return MAJOR_KEYS[fifths + 7]


@dataclass(frozen=True)
class Atom:
    """A piece of a label: its text and where it belongs.

    `item` is the index in `Tune.items` (-1 in the header). `role` says what is drawn for it: clef, key, meter, bar,
    accidental, note, rest, duration, grace, tie, slur, tuplet, decoration, or "" for nothing of its own. `part` is
    the index of the pitch in its chord or of the grace note in its group.
    """

    text: str
    item: int = -1
    role: str = ""
    part: int = 0


def atoms(tune: Tune) -> Iterator[Atom]:
    """The label in the order of the drawing: clef, key, meter, then the music."""
    yield Atom(f"clef={tune.clef}", role="clef")
    yield Atom(f"K:{key_name(tune.key)}", role="key")
    if tune.meter is not None:
        yield Atom(f"M:{tune.meter}", role="meter")
    for index, item in enumerate(tune.items):
        if isinstance(item, Event):
            yield from _event_atoms(item, index)
        elif isinstance(item, Bar):
            yield Atom(item.text, index, "bar")
            if item.ending:
                yield Atom(f"[{item.ending}", index, "ending")
        elif isinstance(item, Change):
            name = {"clef": "clef=", "key": "K:", "meter": "M:"}[item.kind]
            value = key_name(int(item.value)) if item.kind == "key" else item.value
            yield Atom(name + value, index, item.kind)
        else:
            yield Atom("&" if isinstance(item, Overlay) else "\n", index)


def _pitch_atoms(pitch: Pitch, index: int, role: str, part: int) -> Iterator[Atom]:
    if pitch.accidental:
        yield Atom(pitch.accidental, index, "accidental" if role == "note" else role, part)
    yield Atom(pitch_text(pitch), index, role, part)


def _event_atoms(event: Event, index: int) -> Iterator[Atom]:
    if event.tuplet:
        p, q, r = event.tuplet
        yield Atom(f"({p}", index, "tuplet")
        if (q, r) != (default_tuplet_time(p), p) or p in (5, 7, 9):  # readers differ on q in compound meters
            yield Atom(f":{q}", index, "tuplet")
            yield Atom(f":{r}", index, "tuplet")
    if event.graces:
        yield Atom("{/" if event.graces[0].slash else "{", index, "grace")
        for part, grace in enumerate(event.graces):
            yield from _chord_atoms(grace.pitches, index, "grace", part)
        yield Atom("}", index, "grace", len(event.graces) - 1)
    for _ in range(event.slur_starts):
        yield Atom("(", index, "slur")
    for name in event.decorations:
        yield Atom("." if name == "staccato" else f"!{name}!", index, "decoration")
    if event.rest:
        yield Atom(event.rest, index, "rest")
        digits = str(int(event.duration)) if event.duration != 1 else ""
        lengths = list(digits) if event.rest == "Z" else [duration_text(event.duration)]
    else:
        yield from _chord_atoms(event.pitches, index, "note", None)
        lengths = [duration_text(event.duration)]
    for length in lengths:
        if length:
            yield Atom(length, index, "duration")
    if event.tie:
        yield Atom("-", index, "tie")
    for _ in range(event.slur_ends):
        yield Atom(")", index, "slur")
    if event.space:
        yield Atom(" ", index)


def _chord_atoms(pitches: tuple[Pitch, ...], index: int, role: str, group: int | None) -> Iterator[Atom]:
    """One pitch, or several in brackets; `part` counts the pitches, in a grace group (`group`) the grace notes."""
    several = len(pitches) > 1
    if several:
        yield Atom("[", index, role, group or 0)
    for number, pitch in enumerate(pitches):
        yield from _pitch_atoms(pitch, index, role, number if group is None else group)
    if several:
        yield Atom("]", index, role, group or 0)


def default_tuplet_time(p: int) -> int:
    """ABC's q for `(p` where none is written; compound meters aside, 5, 7 and 9 go in the time of 2."""
    return {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}.get(p, 2)


def join(texts: list[str]) -> str:
    """The ABC text of a list of atoms; never fails, whatever their order."""
    head = {"clef": "treble", "K": "C", "M": ""}
    body: list[str] = []
    for text in texts:
        name, sep, value = text.partition("=" if text.startswith("clef=") else ":")
        if sep and name in head:
            if body:
                body.append(f"[K:{text}]" if name == "clef" else f"[{text}]")
            else:
                head[name] = value
        else:
            body.append(text)
    meter = f"M:{head['M']}\n" if head["M"] else ""
    return f"X:1\nL:1/8\n{meter}K:{head['K']} clef={head['clef']}\n{''.join(body)}\n"


def write(tune: Tune) -> str:
    """Canonical ABC text of a tune."""
    return join([atom.text for atom in atoms(tune)])
