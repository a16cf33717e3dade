"""Works out what a drawn line sounds like: alterations, ties and lengths.

By the rules of engraving an accidental holds for its staff position (its octave) up to the bar line, from its own
moment on, in both voices of the staff. A tie carries the alteration over the bar line but doesn't renew it there. An
octave clef moves every pitch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from .tune import STEPS, Bar, Change, Event, Item, Overlay, Pitch, Tune

ALTERATION = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
SHARP_ORDER = "FCGDAEB"
SEMITONES = (0, 2, 4, 5, 7, 9, 11)  # of the natural steps above C


@dataclass(frozen=True)
class Tone:
    """A notehead that sounds: `step` is diatonic (C4 = 28, octave clef applied), `alter` in semitones.

    `tied` is True if the notehead only continues the one before it.
    """

    step: int
    alter: int
    tied: bool = False

    @property
    def name(self) -> str:
        """Spelled pitch, e.g. F#4, Bb3; C4 is middle C."""
        sign = "#" * self.alter if self.alter > 0 else "b" * -self.alter
        return f"{STEPS[self.step % 7]}{sign}{self.step // 7}"

    @property
    def midi(self) -> int:
        """MIDI note number; 60 is C4."""
        return 12 * (self.step // 7 + 1) + SEMITONES[self.step % 7] + self.alter

    @property
    def height(self) -> tuple[int, int]:
        """Sort key: semitones, then staff step."""
        return self.midi, self.step


@dataclass(frozen=True)
class Sounded:
    """What an event sounds like.

    Attributes:
        tones: in the order of the event's pitches (from the bottom of the staff up); empty for a rest.
        graces: the same of each grace note or grace chord.
        length: in whole notes, tuplet applied; of `Z` 0, because a bar's length needs a meter.
        ratio: what the tuplet multiplies written lengths by; 1 outside tuplets.
    """

    tones: tuple[Tone, ...]
    graces: tuple[tuple[Tone, ...], ...]
    length: Fraction
    ratio: Fraction


def key_alterations(fifths: int) -> dict[str, int]:
    """Alteration of each letter under a signature of `fifths` sharps (flats negative)."""
    sharps = dict.fromkeys(SHARP_ORDER[: max(0, fifths)], 1)
    return sharps | dict.fromkeys(SHARP_ORDER[7 + min(0, fifths) :], -1)


def octave_shift(clef: str) -> int:
    """Octaves that a clef moves what is written: -1 for `treble-8`."""
    return {"-8": -1, "+8": 1}.get(clef[-2:], 0)


class Alterations:
    """Signature, accidentals of the bar and open ties of the voices of a staff."""

    def __init__(self, tune: Tune) -> None:
        self.key = key_alterations(tune.key)
        self.shift = octave_shift(tune.clef)
        self.bar: dict[int, list[tuple[Fraction, int]]] = {}  # staff step -> moments and alterations
        self.ties: dict[int, int] = {}  # staff step -> alteration of the note that is tied on
        self.other_ties: dict[int, int] = {}  # of the voice that is not sounding
        self.second = False  # which voice is
        self.now = Fraction(0)  # since the bar line, in whole notes

    def tone(self, pitch: Pitch, tied: bool) -> Tone:
        """Resolve one notehead; `tied` False for grace notes, which never continue a tie."""
        tied_alteration = self.ties.get(pitch.step) if tied else None
        if pitch.accidental:
            alter = ALTERATION[pitch.accidental]
            self.bar.setdefault(pitch.step, []).append((self.now, alter))
        elif tied_alteration is not None:
            alter = tied_alteration
        else:
            before = [entry for entry in self.bar.get(pitch.step, ()) if entry[0] <= self.now]
            alter = max(reversed(before), key=lambda entry: entry[0])[1] if before else self.key.get(pitch.letter, 0)
        return Tone(pitch.step + 7 * self.shift, alter, tied_alteration == alter)

    def overlay(self) -> None:
        """The second voice begins at the bar line."""
        self.ties, self.other_ties = self.other_ties, self.ties
        self.second, self.now = True, Fraction(0)

    def bar_line(self) -> None:
        """A new bar; ties of a second voice that is not there any more are over."""
        self.bar.clear()
        if self.second:
            self.ties, self.other_ties = self.other_ties, self.ties
        else:
            self.other_ties = {}
        self.second, self.now = False, Fraction(0)

    def change(self, change: Change) -> None:
        if change.kind == "key":
            self.key = key_alterations(int(change.value))
        elif change.kind == "clef":
            self.shift = octave_shift(change.value)


def sound(tune: Tune) -> Iterator[tuple[Item, Sounded | None]]:
    """Each item with what it sounds like; None for items that aren't events."""
    state = Alterations(tune)
    ratio, left = Fraction(1), 0
    for item in tune.items:
        if isinstance(item, Bar):
            state.bar_line()
            left = 0
        elif isinstance(item, Overlay):
            state.overlay()
            left = 0
        elif isinstance(item, Change):
            state.change(item)
        if not isinstance(item, Event):
            yield item, None
            continue
        if item.tuplet:
            p, q, left = item.tuplet
            ratio = Fraction(q, p)
        now = ratio if left else Fraction(1)
        left = max(0, left - (item.rest != "Z"))
        graces = tuple(tuple(state.tone(p, tied=False) for p in grace.pitches) for grace in item.graces)
        tones = tuple(state.tone(p, tied=True) for p in item.pitches)
        if item.rest != "x":  # an invisible rest is nothing drawn, so it can't break a tie
            sounding = zip(item.pitches, tones, strict=True)
            state.ties = {p.step: tone.alter for p, tone in sounding} if item.tie else {}
        length = Fraction(0) if item.rest == "Z" else item.duration * now / 8
        state.now += length
        yield item, Sounded(tones, graces, length, now)
