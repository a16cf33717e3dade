"""Joins measures of a staff into one line: pairs ties and slurs, keeps accidentals as printed, adds changes and bar
lines."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from runtime.abc.sounding_pitches import ALTERATION, Alterations
from runtime.abc.tidy import tidy
from runtime.abc.tune import Bar, Change, Event, Grace, Item, Overlay, Pitch, Tune
from training.data.sources.musicxml.measures import Measure
from training.data.sources.musicxml.notes import Head, Note
from training.data.sources.musicxml.voices import Voice

SIGN = {alter: sign for sign, alter in ALTERATION.items()}
Drawn = tuple[Measure, list[Voice]]


def line(head: Tune, bars: list[Drawn]) -> Tune:
    """The tune of measures in a row; `head` holds the signatures drawn before the first one."""
    for number in (0, 1):
        _tie([voices[number] if number < len(voices) else [] for _, voices in bars])
    _slur([note for _, voices in bars for note in voices[0]])
    for _, voices in bars:
        for voice in voices[1:]:
            _slur(voice)  # canonical slurs of a second voice stay in their bar
    writer = _Writer(head)
    index = 0
    while index < len(bars):
        measure, voices = bars[index]
        rests = _bars_of_rest(bars[index : index + measure.rest_bars])
        writer.bar_lines(measure, first=index == 0)
        if rests > 1:
            index += rests - 1
            voices[0][0].written = Fraction(rests)
        writer.measure(measure, voices)
        writer.items.append(Bar(bars[index][0].right))
        index += 1
    return tidy(replace(head, items=tuple(writer.items)))


def _bars_of_rest(bars: list[Drawn]) -> int:
    """How many bars of rest a multiple rest means; 0 if these bars aren't rests."""
    silent = all(len(voices) == 1 and voices[0][0].rest == "Z" for _, voices in bars)
    return len(bars) if silent and not any(measure.changes for measure, _ in bars[1:]) else 0


def _tie(bars: list[Voice]) -> None:
    """A tie is kept where the next note of the voice repeats the pitch at once."""
    for voice, following in zip(bars, [*bars, []][1:], strict=False):
        after = following[0] if following and following[0].start == 0 else None
        for note, repeated in zip(voice, [*voice, after][1:], strict=True):
            heard = {(head.step, head.alter) for head in repeated.heads} if repeated is not None else set()
            note.tied = any(head.tie and (head.step, head.alter) in heard for head in note.heads)


def _slur(notes: list[Note]) -> None:
    """Slurs whose two ends are notes of the voice."""
    opened: dict[str, Note] = {}
    for note in notes:
        for number, _ in (slur for slur in note.slurs if slur[1] == "stop"):
            start = opened.pop(number, None)
            if start is not None:
                start.slur_starts += 1
                note.slur_ends += 1
        opened |= {number: note for number, kind in note.slurs if kind == "start"}


class _Writer:
    """Collects the items of a line and knows which alterations hold where."""

    def __init__(self, head: Tune) -> None:
        self.items: list[Item] = []
        self.state = Alterations(head)
        self.drawn = {"clef": head.clef, "key": str(head.key), "meter": head.meter or ""}

    def bar_lines(self, measure: Measure, first: bool) -> None:
        """The bar line at the left of a measure. For the `first` measure only a bar line of its own counts."""
        if measure.left or (measure.ending and not first):
            self.items.append(Bar(measure.left or "|", "" if first else measure.ending))

    def measure(self, measure: Measure, voices: list[Voice]) -> None:
        changes = list(measure.changes)
        for number, voice in enumerate(voices):
            if number:
                self.items.append(Overlay())
                self.state.overlay()
            for note in voice:
                while changes and changes[0][0] <= note.start:
                    self.change(changes.pop(0)[1])
                self.items.append(self.event(note))
            while changes:
                self.change(changes.pop(0)[1])
        self.state.bar_line()

    def change(self, change: Change) -> None:
        if change.value and self.drawn[change.kind] != change.value:  # a meter without value is not printed
            self.drawn[change.kind] = change.value
            self.items.append(change)
            self.state.change(change)

    def event(self, note: Note) -> Event:
        graces = tuple(
            Grace(self.pitches(heads, tied=False), note.slash and index == 0) for index, heads in enumerate(note.graces)
        )
        pitches = self.pitches(note.heads, tied=True)
        if note.rest != "x":
            ends = {pitch.step: head.alter for pitch, head in zip(pitches, _from_below(note.heads), strict=True)}
            self.state.ties = ends if note.tied else {}
        if note.rest != "Z":
            p, q = note.ratio or (1, 1)
            self.state.now += note.written * q / p / 8
        return Event(
            pitches, note.written, note.rest, note.tied, graces, note.slur_starts, note.slur_ends,
            tuple(note.decorations), note.group, note.space,
        )  # fmt: skip

    def pitches(self, heads: list[Head], tied: bool) -> tuple[Pitch, ...]:
        """Noteheads as drawn, with the accidentals that are printed or, where the file prints none, needed."""
        out: list[Pitch] = []
        for head in _from_below(heads):
            pitch = Pitch(head.step - 7 * self.state.shift)
            if head.sign or self.state.tone(pitch, tied).alter != head.alter:
                pitch = replace(pitch, accidental=SIGN[head.alter])
                self.state.tone(pitch, tied)
            out.append(pitch)
        return tuple(out)


def _from_below(heads: list[Head]) -> list[Head]:
    """One head a staff step, from the bottom up."""
    return [head for _, head in sorted({head.step: head for head in heads}.items())]
