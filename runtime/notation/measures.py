"""Cuts a drawn line into measures and works out everything that spans several notes, for the MusicXML and MIDI writers.

Beams come from ABC's spaces, slurs and ties are paired, tuplets have a beginning and an end, bar lines become
repeats and endings of the measures beside them, and bars of rest get a length.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ..abc.sounding_pitches import Sounded, sound
from ..abc.tune import Bar, Change, Event, Item, LineBreak, Overlay, Tune, voices

MOST_BARS_OF_REST = 999  # a longer count is a misreading and would only fill the disk


@dataclass
class Placed:
    """An event at its place.

    Attributes:
        voice: 1, or 2 after a bar's `&`.
        start: from the beginning of its measure, in whole notes.
        beams: state of each beam level from the outermost: begin, continue, end, forward hook, backward hook.
        tie_starts: indices of the tones that the next note or chord continues.
        slurs: (number, "start" or "stop") from 1; stops first.
        tuplet: (p, q) inside a tuplet of p in the time of q.
        tuplet_edges: "start" and "stop" where it begins or ends here.
    """

    event: Event
    sounded: Sounded
    voice: int = 1
    start: Fraction = Fraction(0)
    beams: tuple[str, ...] = ()
    tie_starts: frozenset[int] = frozenset()
    slurs: list[tuple[int, str]] = field(default_factory=list)
    tuplet: tuple[int, int] | None = None
    tuplet_edges: tuple[str, ...] = ()


@dataclass
class Measure:
    """The music between two bar lines.

    Attributes:
        content: events and changes in order.
        left, right: text of the bar lines; empty if none is drawn, or (left) if it belongs to the measure before.
        endings: passes of the repeat that play this measure; empty for all.
        ending_starts, ending_stops: the bracket of the ending begins or ends here.
        new_system: it begins a line.
        rest_bars: of the first measure of `Z4` 4.
        pickup: shorter than the meter although nothing is missing: at the beginning or beside a repeat.
    """

    content: list[Placed | Change] = field(default_factory=list)
    left: str = ""
    right: str = ""
    endings: tuple[int, ...] = ()
    ending_starts: bool = False
    ending_stops: bool = False
    new_system: bool = False
    rest_bars: int = 0
    pickup: bool = False

    @property
    def events(self) -> list[Placed]:
        return [item for item in self.content if isinstance(item, Placed)]

    @property
    def length(self) -> Fraction:
        """Of its longer voice, in whole notes."""
        return max((placed.start + placed.sounded.length for placed in self.events), default=Fraction(0))

    @property
    def repeats_here(self) -> bool:
        """A repeat begins at its left."""
        return self.left in ("|:", "::")

    @property
    def repeats_back(self) -> bool:
        """A repeat ends at its right."""
        return self.right in (":|", "::")


@dataclass
class Piece:
    """One or more pages as measures. `meter` is the first one; `meter_drawn` False: worked out, not printed."""

    clef: str
    key: int
    meter: str
    meter_drawn: bool
    measures: list[Measure]


def join(tunes: Sequence[Tune]) -> Tune:
    """Pages as one tune: a page's clef and key are repeated from the page before, so only changes count."""
    first, items = tunes[0], list(tunes[0].items)
    state = {"clef": first.clef, "key": str(first.key)}
    for tune in tunes[1:]:
        state |= {item.kind: item.value for item in items if isinstance(item, Change)}
        items.append(LineBreak())
        signs = {"clef": tune.clef, "key": str(tune.key)}
        items += [Change(kind, value) for kind, value in signs.items() if state[kind] != value]
        items += [Change("meter", tune.meter)] if tune.meter else []
        items += tune.items
        state |= signs
    return replace(first, items=tuple(items))


def cut(tunes: Sequence[Tune]) -> Piece:
    """The measures of a piece of one or more pages."""
    tune = join(tunes)
    placed = _place(tune)
    measures = _split(tune, placed)
    meter = tune.meter or _likely_meter(measures)
    piece = Piece(tune.clef, tune.key, meter, tune.meter is not None, _fill_rests(measures, meter))
    _mark_endings(piece.measures)
    _mark_pickups(piece)
    return piece


def meter_length(meter: str) -> Fraction:
    """Length of a bar in whole notes."""
    return Fraction(1) if meter.startswith("C") else Fraction(meter)


# -- events


def _place(tune: Tune) -> dict[int, Placed]:
    """Every event by its index in the tune, with beams, ties, slurs and tuplets."""
    pairs = list(sound(tune))
    placed = {i: Placed(e, s) for i, (e, s) in enumerate(pairs) if isinstance(e, Event) and s is not None}
    for index, voice in voices(tune.items).items():
        placed[index].voice = voice
    for number in (1, 2):
        events = [event for event in placed.values() if event.voice == number]
        _pair_ties(events)
        _pair_slurs(events)
        _bracket_tuplets(events)
    for group in _beam_groups(tune.items):
        for index, beams in zip(group, beam_states([beam_count(placed[i].event) for i in group]), strict=True):
            placed[index].beams = beams
    return placed


def _pair_ties(events: list[Placed]) -> None:
    heard = [placed for placed in events if placed.event.rest != "x"]
    for placed, following in zip(heard, heard[1:], strict=False):
        if placed.event.tie:
            tones = zip(following.event.pitches, following.sounded.tones, strict=True)
            goes_on = {pitch.step for pitch, tone in tones if tone.tied}
            steps = enumerate(pitch.step for pitch in placed.event.pitches)
            placed.tie_starts = frozenset(index for index, step in steps if step in goes_on)


def _pair_slurs(events: list[Placed]) -> None:
    opened: list[int] = []
    for placed in events:
        for _ in range(min(placed.event.slur_ends, len(opened))):
            placed.slurs.append((opened.pop(), "stop"))
        for _ in range(placed.event.slur_starts):
            number = next(n for n in range(1, len(opened) + 2) if n not in opened)
            opened.append(number)
            placed.slurs.append((number, "start"))


def _bracket_tuplets(events: list[Placed]) -> None:
    for index, placed in enumerate(events):
        if placed.event.tuplet:
            p, q, count = placed.event.tuplet
            inside = events[index : index + count]
            for member in inside:
                member.tuplet = (p, q)
            inside[0].tuplet_edges += ("start",)
            inside[-1].tuplet_edges += ("stop",)


def beam_count(event: Event) -> int:
    """Flags or beams of a note: an eighth has one."""
    count, base = 0, event.base
    while base < 2 and count < 8:
        count, base = count + 1, base * 2
    return count


def _beam_groups(items: Sequence[Item]) -> list[list[int]]:
    """Indices of the notes under one beam, for groups of two and more."""
    groups: list[list[int]] = [[]]
    for index, item in enumerate(items):
        if isinstance(item, Event) and item.flagged:
            groups[-1].append(index)
            if item.space:
                groups.append([])
        else:
            groups.append([])
    return [group for group in groups if len(group) > 1]


def beam_states(counts: Sequence[int]) -> list[tuple[str, ...]]:
    """Beam states of each note of a group, from the number of beams each has."""
    out = []
    for index, count in enumerate(counts):
        before = counts[index - 1] if index else 0
        after = counts[index + 1] if index + 1 < len(counts) else 0
        states = []
        for level in range(1, count + 1):
            joins, goes_on = before >= level, after >= level
            if joins or goes_on:
                states.append("continue" if joins and goes_on else "end" if joins else "begin")
            else:
                states.append("backward hook" if index else "forward hook")
        out.append(tuple(states))
    return out


# -- measures


def _split(tune: Tune, placed: dict[int, Placed]) -> list[Measure]:
    measures = [Measure()]
    now = Fraction(0)
    for index, item in enumerate(tune.items):
        measure = measures[-1]
        if isinstance(item, Bar):
            now = Fraction(0)
            if measure.events:
                measure.right = item.text
                measures.append(measure := Measure())
            elif len(measures) > 1 and measures[-2].right == "|":  # a second bar line, after a line break
                measures[-2].right = item.text
            if item.text in ("|:", "::") or not measure.events and len(measures) == 1:
                measure.left = item.text
            if item.ending:
                measure.endings, measure.ending_starts = _passes(item.ending), True
        elif isinstance(item, LineBreak):
            measure.new_system = not measure.events
        elif isinstance(item, Change):
            measure.content.append(item)
        elif isinstance(item, Overlay):
            now = Fraction(0)
        else:
            placed[index].start = now
            now += placed[index].sounded.length
            measure.content.append(placed[index])
    # What follows the last bar line is a courtesy signature at most.
    return measures if measures[-1].events else measures[:-1] or measures


def _passes(ending: str) -> tuple[int, ...]:
    """`1`, `1,3` and `1-3` as numbers."""
    out: list[int] = []
    for part in ending.split(","):
        first, _, last = part.partition("-")
        if first:
            out += range(int(first), min(int(last or first), int(first) + 9) + 1)
    return tuple(turn for turn in out if turn > 0) or (1,)


def _likely_meter(measures: Sequence[Measure]) -> str:
    """A meter for the commonest length of a bar; the outer ones may be incomplete."""
    lengths = [m.length for m in (measures[1:-1] or measures) if m.length > 0]
    if not lengths:
        return "4/4"
    length = Counter(lengths).most_common(1)[0][0]
    unit = next((unit for unit in (4, 8, 16, 32, 64) if (length * unit).denominator == 1), 0)
    return f"{length * unit}/{unit}" if unit else "4/4"


def _fill_rests(measures: Sequence[Measure], meter: str) -> list[Measure]:
    """Bars of rest as that many measures, each as long as the meter in force."""
    out: list[Measure] = []
    for measure in measures:
        meter = next((c.value for c in measure.content if isinstance(c, Change) and c.kind == "meter"), meter)
        rests = [placed for placed in measure.events if placed.event.rest == "Z"]
        for placed in rests:
            placed.sounded = replace(placed.sounded, length=meter_length(meter))
        out.append(measure)
        if len(measure.events) == len(rests) == 1:
            measure.rest_bars = max(1, min(int(rests[0].event.duration), MOST_BARS_OF_REST))
            if measure.rest_bars > 1:
                silence = replace(rests[0].sounded, graces=())
                out += [Measure([Placed(Event(rest="Z"), silence)]) for _ in range(measure.rest_bars - 1)]
                out[-1].right, measure.right = measure.right, "|"
    return out


def _mark_endings(measures: list[Measure]) -> None:
    """Carry each ending on to the bar line that closes it."""
    current: tuple[int, ...] = ()
    for index, measure in enumerate(measures):
        current = measure.endings or current
        measure.endings = current
        following = measures[index + 1] if index + 1 < len(measures) else None
        closes = measure.right not in ("|", ".|") or following is None or following.ending_starts
        if current and (closes or (following is not None and following.repeats_here)):
            measure.ending_stops = True
            current = ()


def _mark_pickups(piece: Piece) -> None:
    meter = piece.meter
    parted = True  # the bar line before ends a section
    for measure in piece.measures:
        meter = next((c.value for c in measure.content if isinstance(c, Change) and c.kind == "meter"), meter)
        ends = measure.right not in ("|", ".|")
        measure.pickup = measure.length < meter_length(meter) and (parted or measure.repeats_here or ends)
        parted = ends


def play_order(measures: Sequence[Measure]) -> list[int]:
    """Indices of the measures as they are played, repeats and endings followed."""
    order: list[int] = []
    section, turn, index = 0, 1, 0
    while index < len(measures):
        measure = measures[index]
        if measure.repeats_here and index != section:
            section, turn = index, 1
        if measure.endings and turn not in measure.endings:
            index += 1
            continue
        order.append(index)
        again = turn == 1 or turn + 1 in measure.endings or _ending_follows(measures[index + 1 :], turn + 1)
        if measure.repeats_back and again:
            index, turn = section, turn + 1
        else:
            if measure.repeats_back or (measure.endings and measure.ending_stops):
                section, turn = index + 1, 1
            index += 1
    return order


def _ending_follows(later: Sequence[Measure], turn: int) -> bool:
    """True if this section still holds an ending for `turn`."""
    section = itertools.takewhile(lambda measure: not measure.repeats_here, later)
    return any(turn in measure.endings for measure in section)
