"""Makes excerpts: lines of 1 to 8 bars, cut from a real tune at bar lines, varied, and valid as notation.

A tie or slur that a cut goes through is left out, of the picture and of the label. A repeat that starts or ends at a
cut is drawn as at a line break (`::` becomes `:|` before the break and `|:` after it). Two thirds of the excerpts are
continuation lines, with clef and key but without a meter, in picture and label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtime.abc.sounding_pitches import sound
from runtime.abc.tidy import tidy
from runtime.abc.tune import ACCIDENTALS, CLEF_BOTTOM, Bar, Change, Event, Grace, Item, Pitch, Tune, voices
from training.data.lines.grand_staff import lower_staff
from training.data.lines.invent import invent
from training.data.lines.marks import mark
from training.data.lines.rework import change_clef, change_key, endings, long_rests, second_voice, splice, tuplets
from training.data.lines.transpose import fits_staff, move
from training.data.sources.splits import Source

SAME_METER = {"C": "4/4", "4/4": "C", "C|": "2/2", "2/2": "C|"}


@dataclass(frozen=True)
class Mix:
    """What excerpts are made of; shares are probabilities."""

    bars: tuple[int, int] = (1, 8)
    first_lines: float = 1 / 3
    invented: float = 0.35
    clefs: tuple[tuple[str, float], ...] = (("treble", 0.55), ("bass", 0.25), ("alto", 0.2))
    drilled: float = 0.0  # lines with more of what models get wrong
    wide: bool = False  # all of printed music; otherwise one simple voice, `scope.simplify`
    grand: bool = False  # two staves
    clutter: float = 0.0  # lines with lyrics, words, fingerings and the like, which are not labelled


def excerpt(sources: Sequence[Source], seed: int, index: int, mix: Mix = Mix()) -> tuple[Tune, str]:  # noqa: B008 - frozen
    """The excerpt number `index` of a seed, a pure function of its arguments.

    Args:
        sources: tunes to cut from; those that are simple, where the mix isn't wide.
        seed, index: of the excerpt.
        mix: what it is made of.

    Returns:
        The line as a tune and where it comes from (a tune's name, or "invented").
    """
    rng = np.random.default_rng((seed, index))
    for _ in range(100):
        bars = int(rng.integers(mix.bars[0], mix.bars[1] + 1))
        if rng.random() < mix.invented:
            line, origin = invent(bars, rng), "invented"
        else:
            source = sources[int(rng.integers(len(sources)))]
            tune = source.tune if mix.wide else source.simple
            assert tune is not None
            line, origin = enrich(cut(tune, bars, rng), rng), source.name
        drilled = mix.drilled > 0 and rng.random() < mix.drilled
        line = drill(line, rng) if drilled else line
        line = widen(line, rng) if mix.wide else line
        varied = vary(close_ties(line), rng, mix, low=drilled and rng.random() < 0.4)
        if varied is not None:
            return part_beams(tidy(finish(varied, rng) if mix.wide else varied)), origin
    raise AssertionError("no excerpt fits the staff in 100 tries")


def excerpt_staves(sources: Sequence[Source], seed: int, index: int, mix: Mix) -> tuple[list[Tune], str]:
    """The staves of an excerpt from top to bottom, none where no second staff fits under the first; its origin."""
    upper, origin = excerpt(sources, seed, index, mix)
    if not mix.grand:
        return [upper], origin
    lower = lower_staff(upper, np.random.default_rng((seed, index, 1)))
    return [upper, part_beams(tidy(lower))] if lower is not None else [], origin


def part_beams(tune: Tune) -> Tune:
    """Set a beam break at the edges of tuplets that aren't one beam themselves, because no engraver joins them to a
    neighbour."""
    items = list(tune.items)
    for start, item in enumerate(items):
        if not isinstance(item, Event) or not item.tuplet:
            continue
        members = [i for i in range(start, len(items)) if isinstance(items[i], Event)][: item.tuplet[2]]
        inside = [event for i in members if isinstance(event := items[i], Event)]
        whole = members[-1] - start == len(members) - 1 and all(e.flagged for e in inside)
        if not whole or any(event.space for event in inside[:-1]):
            for place in (start - 1, members[-1]):
                edge = items[place] if place >= 0 else None
                if isinstance(edge, Event):
                    items[place] = replace(edge, space=True)
    return tidy(replace(tune, items=tuple(items)))


def widen(line: Tune, rng: np.random.Generator) -> Tune:
    """Some lines with other tuplets, long rests, endings, a second meter: what doesn't depend on key and clef."""
    if rng.random() < 0.06:
        line = splice(line, invent(int(rng.integers(1, 4)), rng))
    if rng.random() < 0.14:
        line = tuplets(line, rng)
    if rng.random() < 0.12:
        line = long_rests(line, rng)
    if rng.random() < 0.12:
        line = endings(line, rng)
    return line


def finish(line: Tune, rng: np.random.Generator) -> Tune:
    """Some lines with changes of clef and key, a second voice, and signs on their notes."""
    if rng.random() < 0.1:
        line = change_clef(line, rng)
    elif rng.random() < 0.1:
        line = change_key(line, rng)
    if rng.random() < 0.22:  # of which a third doesn't fit the picture
        line = second_voice(line, rng, share=float(rng.choice([0.3, 0.7, 1.0])))
    return mark(line, rng) if rng.random() < 0.55 else line


def cut(tune: Tune, bars: int, rng: np.random.Generator) -> Tune:
    """`bars` bars in a row (fewer if the tune is shorter), with the key and meter in force there."""
    all_bars = tune.bars()
    start = int(rng.integers(max(1, len(all_bars) - bars + 1)))
    key, meter, last = tune.key, tune.meter, ""
    for bar in all_bars[:start]:
        for item in bar:
            if isinstance(item, Change):
                key = int(item.value) if item.kind == "key" else key
                meter = item.value if item.kind == "meter" else meter
            last = item.text if isinstance(item, Bar) else last
    items: list[Item] = [i for bar in all_bars[start : start + bars] for i in bar if not isinstance(i, Change)]
    if isinstance(items[-1], Bar):
        items[-1] = replace(items[-1], ending="")
    if last in ("::", "|:") and not isinstance(items[0], Bar):
        items.insert(0, Bar("|:"))
    end = items[-1]
    if not isinstance(end, Bar):
        items.append(Bar("|]"))
    elif end.text in ("::", "|:"):
        items[-1] = Bar(":|" if end.text == "::" else "|")
    return close_ties(replace(tune, key=key, meter=meter, items=tuple(items)))


def close_ties(tune: Tune) -> Tune:
    """Drop ties that the next note doesn't continue, such as those at a cut.

    A tie stays if every notehead that the next event of its voice repeats keeps sounding. `c-^c` would look like a
    slur, and `[ce]-[c^e]` partly so.
    """
    if not any(event.tie for event in tune.events):
        return tune
    heard = [sounded for _, sounded in sound(tune)]
    items, voice = list(tune.items), voices(tune.items)
    for here in voice:
        event = items[here]
        assert isinstance(event, Event)
        if not event.tie:
            continue
        after = next((i for i in voice if i > here and voice[i] == voice[here]), None)
        following = items[after] if after is not None else None
        steps = {pitch.step for pitch in event.pitches}
        goes_on: list[bool] = []
        if after is not None and isinstance(following, Event) and (sounded := heard[after]) is not None:
            tones = zip(following.pitches, sounded.tones, strict=True)
            goes_on = [tone.tied for pitch, tone in tones if pitch.step in steps]
        if not goes_on or not all(goes_on):
            items[here] = replace(event, tie=False)
    closed = replace(tune, items=tuple(items))
    return closed if closed == tune else close_ties(closed)  # an accidental that a tie carried on may be gone


def enrich(tune: Tune, rng: np.random.Generator) -> Tune:
    """Chords, accidentals and grace notes on some lines, since the collections hold few."""
    chords, accidentals, graces = (float(rng.choice([0, 0, 0, 0.1, 0.3])) for _ in range(3))
    items: list[Item] = []
    for item in tune.items:
        if isinstance(item, Event) and not item.rest:
            item = _enrich_event(item, rng, chords, accidentals, graces / 3)
        items.append(item)
    return replace(tune, items=tuple(items))


def _enrich_event(event: Event, rng: np.random.Generator, chords: float, accidentals: float, graces: float) -> Event:
    pitches = event.pitches
    if rng.random() < accidentals:
        sign = str(rng.choice(ACCIDENTALS, p=[0.06, 0.34, 0.26, 0.28, 0.06]))
        pitches = (*pitches[:-1], replace(pitches[-1], accidental=sign))
    if rng.random() < chords and len(pitches) == 1:
        below = pitches[0].step
        for _ in range(int(rng.integers(1, 4))):
            below -= int(
                rng.choice([1, 2, 2, 2, 3, 3, 4, 5, 7], p=[0.08, 0.17, 0.17, 0.16, 0.1, 0.1, 0.08, 0.07, 0.07])
            )
            sign = str(rng.choice(["", "^", "_", "="], p=[0.88, 0.04, 0.04, 0.04]))
            pitches = (Pitch(below, sign), *pitches)
    if rng.random() < graces and not event.graces:
        event = replace(event, graces=_graces(pitches[-1].step, rng))
    return replace(event, pitches=pitches)


def _graces(step: int, rng: np.random.Generator) -> tuple[Grace, ...]:
    steps = step + rng.integers(-3, 4, size=int(rng.choice([1, 1, 1, 2, 2, 3, 4])))
    slash = len(steps) == 1 and rng.random() < 0.4
    return tuple(Grace((Pitch(int(s)),), slash=slash and n == 0) for n, s in enumerate(steps))


def drill(tune: Tune, rng: np.random.Generator) -> Tune:
    """More of what models get wrong: ties, triplets, single grace notes with and without a stroke."""
    ties, triplets, graces = (float(rng.choice([0, 0.08, 0.25])) for _ in range(3))
    items: list[Item] = []
    left = 0  # of a tuplet
    for item in tune.items:
        previous = items[-1] if items else None
        if not isinstance(item, Event) or item.rest:
            items.append(item)
        elif rng.random() < ties and isinstance(previous, Event) and not previous.rest:
            items[-1] = replace(previous, tie=True)
            items.append(
                replace(item, pitches=tuple(replace(p, accidental="") for p in previous.pitches), graces=())
            )  # fmt: skip
        elif rng.random() < triplets and item.duration in (1, 2, 4) and not left:
            items += _triplet(item, rng)
            continue
        elif rng.random() < graces and not item.graces:
            step = item.pitches[-1].step + int(rng.integers(-3, 4))
            items.append(replace(item, graces=(Grace((Pitch(step),), slash=rng.random() < 0.5),)))
        else:
            items.append(item)
        left = item.tuplet_left(left) if isinstance(item, Event) else left
    return replace(tune, items=tuple(items))


def _triplet(event: Event, rng: np.random.Generator) -> list[Item]:
    """Three notes in the time of the event."""
    length, step = event.duration / 2, event.pitches[-1].step
    plain = Event((Pitch(step),), length)
    middle, last = (replace(plain, pitches=(Pitch(step + int(rng.integers(-3, 4))),)) for _ in range(2))
    return [
        replace(event, duration=length, tuplet=(3, 2, 3), tie=False, slur_ends=0, space=False),
        middle,
        replace(last, tie=False, slur_ends=event.slur_ends, space=True),
    ]


def vary(tune: Tune, rng: np.random.Generator, mix: Mix, low: bool = False) -> Tune | None:
    """Another key, clef and height on the staff; None where a note or accidental would not be drawable.

    Args:
        tune: the line.
        rng: draws the variation.
        mix: shares of clefs, and of lines with a meter.
        low: around and below the lowest staff line.
    """
    names, shares = zip(*mix.clefs, strict=True)
    clef = str(rng.choice(names, p=shares))
    key = int(rng.integers(-7, 8))
    steps = [p.step for e in tune.events for p in e.pitches] or [CLEF_BOTTOM[clef] + 4]
    middle = CLEF_BOTTOM[clef] + float(rng.normal(-0.5 if low else 4.5, 2.2))
    shift = round(middle - (min(steps) + max(steps)) / 2)
    meter = tune.meter if rng.random() < mix.first_lines else None
    if meter in SAME_METER and rng.random() < 0.5:
        meter = SAME_METER[meter]
    items: list[Item] = []
    for item in tune.items:
        if isinstance(item, Event):
            moved = move(item, shift, tune.key, key)
            if moved is None or not fits_staff(moved, clef):
                return None
            item = moved
        items.append(item)
    return replace(tune, clef=clef, key=key, meter=meter, items=tuple(items))
