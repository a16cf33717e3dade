"""Writes a piece as a standard MIDI file, with `mido`.

Every notehead becomes a note-on, grace notes too, unless a tie only continues it. Grace notes take their time from the
note after them. Octave lines and dynamics are not played.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import mido

from ..abc.sounding_pitches import Tone
from ..abc.symbols import time_name
from ..abc.tune import Change, key_name
from .measures import Measure, Piece, Placed, play_order

TICKS = 960  # a quarter: divisible by the common tuplets and by 64ths
VELOCITY = 80
GRACE = Fraction(1, 32)  # of a whole note
Message = tuple[Fraction, int, mido.Message | mido.MetaMessage]  # time in whole notes, rank at equal time


class _Player:
    """Collects messages with absolute times, in whole notes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.open_ties: dict[int, int] = {}  # MIDI number -> index of the note-off that a tie may still move
        self.now = Fraction(0)

    def play(self, placed: Placed) -> None:
        """One event; the clock moves on by its length."""
        length = placed.sounded.length
        graces = placed.sounded.graces if placed.event.pitches else ()
        short = min(GRACE, length / (2 * len(graces))) if graces else Fraction(0)
        start = self.now
        for chord in graces:
            for tone in chord:
                self.sound(tone, start, start + short, tied=False)
            start += short
        end = self.now + length
        before = dict(self.open_ties)
        for tone in placed.sounded.tones:
            number = midi_number(tone)
            if tone.tied and number in before and self.messages[before[number]][0] == self.now:
                self.messages[before[number]] = (end, 0, self.messages[before[number]][2])
            else:
                self.sound(tone, start, end, tied=True)
        self.now = end

    def sound(self, tone: Tone, start: Fraction, end: Fraction, tied: bool) -> None:
        number = midi_number(tone)
        self.messages.append((start, 1, mido.Message("note_on", note=number, velocity=VELOCITY)))
        if tied:
            self.open_ties[number] = len(self.messages)
        self.messages.append((end, 0, mido.Message("note_off", note=number, velocity=0)))

    def meta(self, kind: str, **values: object) -> None:
        self.messages.append((self.now, -1, mido.MetaMessage(kind, **values)))


def write_midi(parts: Sequence[Piece], tempo: float = 120, unfold: bool = False) -> bytes:
    """The file's bytes.

    Args:
        parts: from `runtime.notation.measures.cut`, one for each staff; they sound together.
        tempo: quarters a minute.
        unfold: play repeats and endings; otherwise every measure once, in the order of the drawing.
    """
    messages: list[Message] = []
    for number, part in enumerate(parts):
        player = _Player()
        if number == 0:
            player.meta("set_tempo", tempo=mido.bpm2tempo(tempo))
            _signature(player, Change("key", str(part.key)))
            _signature(player, Change("meter", part.meter))
        measures = part.measures
        order: Sequence[int] = play_order(measures) if unfold else range(len(measures))
        for index in order:
            _play_measure(player, measures[index])
        messages += player.messages
    return _file(messages)


def midi_number(tone: Tone) -> int:
    """MIDI number, brought into 0..127 by octaves."""
    number = tone.midi
    return number if 0 <= number <= 127 else number % 12 + (0 if number < 0 else 108)


def _play_measure(player: _Player, measure: Measure) -> None:
    start = player.now
    for item in measure.content:
        if isinstance(item, Placed):
            player.now = start + item.start
            player.play(item)
        else:
            _signature(player, item)
    player.now = start + measure.length


def _signature(player: _Player, change: Change) -> None:
    if change.kind == "key":
        player.meta("key_signature", key=key_name(int(change.value)))
    elif change.kind == "meter":
        top, _, bottom = time_name(change.value).partition("/")
        player.meta("time_signature", numerator=min(int(top), 255), denominator=int(bottom))


def _file(messages: list[Message]) -> bytes:
    track = mido.MidiTrack()
    tick = 0
    for time, _, message in sorted(messages, key=lambda entry: (round(entry[0] * 4 * TICKS), entry[1])):
        at = round(time * 4 * TICKS)
        track.append(message.copy(time=at - tick))
        tick = at
    track.append(mido.MetaMessage("end_of_track", time=0))
    stream = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]).save(file=stream)
    return stream.getvalue()
