"""Reads ABC text into `runtime.abc.tune.Tune`: a tolerant scanner, strict on request.

Understands the ABC 2.1 that one voice needs: unit lengths, broken rhythm, tuplets, chords, graces, slurs, ties,
decorations and their one-letter forms, bar lines, endings, inline fields, modes, and the ends of systems (text lines,
or `$` after `I:linebreak $`). Source: abcnotation.com, standard 2.1.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from ..errors import OmrError
from .tidy import tidy
from .tune import (
    CLEF_BOTTOM,
    METERS,
    Bar,
    Change,
    Event,
    Grace,
    Item,
    LineBreak,
    Overlay,
    Tune,
    default_tuplet_time,
)
from .words import (
    CLEF,
    FIELD,
    PITCH,
    SHORT_DECORATIONS,
    SIGNS,
    TOKEN,
    read_bar,
    read_key,
    read_length,
    read_pitch,
)  # fmt: skip


class AbcError(OmrError):
    """ABC text that can't be read as one voice of printed music."""

    @property
    def cause(self) -> str:
        """The message without what is special to this text, so that causes can be counted."""
        return re.sub(r"[\d/]+|'.*?'", "*", str(self))


NOTHING = Event()


def parse(text: str, strict: bool = False) -> Tune:
    """Read one tune.

    Args:
        text: ABC, with or without a header.
        strict: raise on what isn't understood; otherwise it is skipped.

    Raises:
        AbcError: only when `strict`.
    """
    return _Scanner(strict).read(text)


class _Scanner:
    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.items: list[Item] = []
        self.unit: Fraction | None = None  # in whole notes
        self.header = {"clef": "treble", "key": "0", "meter": ""}
        self.state = dict(self.header)
        self.in_header = True
        self.pending = NOTHING  # what was read of the next note: graces, slurs, decorations, tuplet
        self.broken: Fraction | None = None
        self.open_slurs: list[int] = []  # indices of the events where open slurs start
        self.marked_breaks = False  # a system ends at `$`, not at the end of a text line

    def fail(self, message: str) -> None:
        if self.strict:
            raise AbcError(message)

    def read(self, text: str) -> Tune:
        lines = text.replace("\r", "").split("\n")
        for line in lines:
            line = line.split("%", 1)[0].rstrip() if not line.startswith("%%") else ""
            found = FIELD.match(line)
            if found:
                self.field(found[1], found[2].strip())
            elif line.strip():
                if not self.marked_breaks:
                    self.end_system()
                self.in_header = False
                for token in TOKEN.finditer(line):
                    getattr(self, "on_" + str(token.lastgroup))(token.group())
        meter = self.header["meter"] or None
        return tidy(Tune(self.header["clef"], int(self.header["key"]), meter, tuple(self.items)))

    def end_system(self) -> None:
        if self.items and not isinstance(self.items[-1], LineBreak):
            self.items.append(LineBreak())

    # -- fields

    def field(self, name: str, value: str) -> None:
        if name == "L" and re.fullmatch(r"\d+/\d+", value) and not value.endswith("/0"):
            self.unit = Fraction(value)
        elif name == "M":
            self.meter(value)
        elif name == "K":
            clef = self.clef(value)
            key = read_key(value)
            if key is not None:
                self.change("key", str(key))
            elif not clef:
                self.fail(f"key {value!r} is not a major, minor or modal key")
        elif name == "V" and value.split()[:1] not in ([], ["1"]):
            self.fail(f"voice {value!r}: only one voice can be read")
        elif name == "V":
            self.clef(re.sub(r'"[^"]*"', "", value))
        elif name == "I" and value == "linebreak $":
            self.marked_breaks = True
        elif name == "I" and value.startswith("staff"):
            self.fail(f"field {value!r}: a voice that changes its staff can't be read")

    def clef(self, value: str) -> bool:
        """Take up the clef that a field names; whether it names one."""
        found = CLEF.search(value)
        name = found[1] if found else ""
        if name in CLEF_BOTTOM:
            self.change("clef", name)
        elif name:
            self.fail(f"clef {name!r} is unknown")
        return bool(name)

    def meter(self, value: str) -> None:
        value = {"none": "", "": "", "C/": "C|"}.get(value, value)
        if value and value not in METERS:
            self.fail(f"meter {value!r} is not in use in printed music")
            return
        if self.unit is None and "/" in value:
            self.unit = Fraction(1, 16) if Fraction(value) < Fraction(3, 4) else Fraction(1, 8)
        self.change("meter", value)

    def change(self, kind: str, value: str) -> None:
        if self.in_header:
            self.header[kind] = self.state[kind] = value
        elif self.state[kind] != value:
            self.state[kind] = value
            if value:
                self.items.append(Change(kind, value))

    def on_inline(self, text: str) -> None:
        self.field(text[1], text[3:-1].strip())

    # -- notes

    def add(self, event: Event) -> None:
        pending = self.pending
        if self.broken is not None:
            event = replace(event, duration=event.duration * self.broken)
            self.broken = None
        if pending.slur_starts:
            self.open_slurs += [len(self.items)] * pending.slur_starts
        if pending is not NOTHING:
            event = replace(
                event, graces=pending.graces, slur_starts=pending.slur_starts, decorations=pending.decorations,
                tuplet=pending.tuplet,
            )  # fmt: skip
        self.items.append(event)
        self.pending = NOTHING

    def scale(self) -> Fraction:
        return (self.unit or Fraction(1, 8)) * 8

    def on_note(self, text: str) -> None:
        found = PITCH.match(text)
        if found is None or found[1] not in SIGNS:
            self.fail(f"accidental of {text!r} is not one of ^^ ^ = _ __")
            return
        self.add(Event((read_pitch(*found.group(1, 2, 3)),), self.scale()))

    def on_chord(self, text: str) -> None:
        notes = list(PITCH.finditer(text))
        pitches = {p.step: p for p in (read_pitch(*n.group(1, 2, 3)) for n in notes)}
        if not notes or any(n[1] not in SIGNS for n in notes):
            self.fail(f"chord {text!r} holds no notes")
            return
        tie = all(n[5] for n in notes)
        self.add(Event(tuple(pitches[s] for s in sorted(pitches)), self.scale() * read_length(notes[0][4]), tie=tie))

    def on_rest(self, text: str) -> None:
        self.add(Event((), Fraction(1) if text == "Z" else self.scale(), rest=text))

    def last(self) -> Event | None:
        item = self.items[-1] if self.items else None
        return item if isinstance(item, Event) else None

    def on_length(self, text: str) -> None:
        event = self.last()
        if event:
            self.items[-1] = replace(event, duration=event.duration * max(read_length(text), Fraction(1, 256)))
        else:
            self.fail(f"length {text!r} without a note")

    def on_broken(self, text: str) -> None:
        event = self.last()
        if event is None:
            return self.fail("broken rhythm without a note")
        short = Fraction(1, 2 ** len(text))
        long = 2 - short
        first, self.broken = (long, short) if text[0] == ">" else (short, long)
        self.items[-1] = replace(event, duration=event.duration * first, space=False)

    def on_tie(self, text: str) -> None:
        event = self.last()
        if event and not event.rest:
            self.items[-1] = replace(event, tie=True)

    def on_slur(self, text: str) -> None:
        if text == "(":
            self.pending = replace(self.pending, slur_starts=self.pending.slur_starts + 1)
            return
        event, here = self.last(), len(self.items) - 1
        if event is None or not self.open_slurs:
            return
        earlier = [place for place in self.open_slurs if place != here]  # `(cd(e)fg)`: one slur ends where one starts
        if earlier:
            self.open_slurs.remove(earlier[-1])
            self.items[-1] = replace(event, slur_ends=event.slur_ends + 1)
        else:  # a slur over one note is no slur
            self.open_slurs.pop()
            self.items[-1] = replace(event, slur_starts=event.slur_starts - 1)

    def on_tuplet(self, text: str) -> None:
        p, q, r = [*text[1:].split(":"), "", ""][:3]
        count = int(p)
        if count < 2:
            return self.fail(f"tuplet {text!r} is shorter than two notes")
        self.pending = replace(
            self.pending, tuplet=(count, int(q or 0) or default_tuplet_time(count), int(r or 0) or count)
        )

    def on_grace(self, text: str) -> None:
        graces: list[Grace] = []
        for found in re.finditer(r"\[([^\[\]]*)\]|([\^_=]*[A-Ga-g][,']*)", text):
            notes = [read_pitch(*n.group(1, 2, 3)) for n in PITCH.finditer(found[1] or found[2])]
            if notes and all(n.accidental in SIGNS for n in notes):
                pitches = tuple(sorted({n.step: n for n in notes}.values(), key=lambda n: n.step))
                graces.append(Grace(pitches, slash=not graces and text.startswith("{/")))
        self.pending = replace(self.pending, graces=tuple(graces))

    def on_mark(self, text: str) -> None:
        self.decorate(text[1:-1])

    def on_short(self, text: str) -> None:
        self.decorate(SHORT_DECORATIONS[text])

    def decorate(self, name: str) -> None:
        if name not in self.pending.decorations:
            self.pending = replace(self.pending, decorations=(*self.pending.decorations, name))

    def on_space(self, text: str) -> None:
        event = self.last()
        if event and self.broken is None:
            self.items[-1] = replace(event, space=True)

    # -- bar lines and the rest

    def on_bar(self, text: str) -> None:
        self.items.append(Bar(read_bar(text)))

    def on_overlay(self, _text: str) -> None:
        self.items.append(Overlay())

    def on_ending(self, text: str) -> None:
        last, number = self.items[-1] if self.items else None, text.lstrip("[")
        if isinstance(last, Bar):
            self.items[-1] = replace(last, ending=number)
        else:
            self.items.append(Bar("|", number))

    def on_text(self, text: str) -> None:
        """Text is not part of the canonical form."""

    def on_break(self, text: str) -> None:
        if self.marked_breaks:
            self.end_system()

    def on_skip(self, text: str) -> None:
        """Spacers and continuations draw nothing."""

    def on_bad(self, text: str) -> None:
        self.fail(f"character {text!r} is not understood")
