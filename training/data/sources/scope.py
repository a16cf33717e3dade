"""Keeps what is in scope of a tune: `broaden` for the whole notation, `simplify` for one simple voice."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from runtime.abc.reader import AbcError
from runtime.abc.tidy import split_duration, tidy
from runtime.abc.tune import DURATIONS, DYNAMICS, Bar, Event, Grace, Item, LineBreak, Overlay, Tune, voices
from runtime.bundle.tokenizer import atom_vocabulary

DRAWABLE = frozenset(d for d in DURATIONS if d >= Fraction(1, 4))
ENDINGS = frozenset(text[1:] for text in atom_vocabulary() if text[0] == "[" and text[1:2].isdigit())
MOST_BARS_OF_REST = 99
USUAL_TIME = {2: 3, 3: 2, 4: 3, 5: 4, 6: 4, 7: 4}  # p notes in the time of q: only p is printed
ARTICULATIONS = ("staccato", "accent", "tenuto", "marcato", "staccatissimo")
ORNAMENTS = ("trill", "turn", "invertedturn", "uppermordent", "lowermordent")
TREMOLOS = ("/", "//", "///")
JUMPS = ("segno", "coda")
# The signs that a label tells. Others in a source (bowings, fingerings, words) are dropped from the label.
LABELLED = frozenset((*ARTICULATIONS, *ORNAMENTS, *TREMOLOS, *DYNAMICS, *JUMPS, "fermata", "arpeggio"))


def broaden(tune: Tune) -> Tune:
    """The whole notation: signs that labels tell of, endings, changes, two voices; undrawable lengths as tied notes.

    Raises:
        AbcError: a length, tuplet or ending that has no label.
    """
    voice = voices(tune.items)
    items: list[Item] = []
    for index, item in enumerate(tune.items):
        if isinstance(item, Event):
            items += _drawable(_broad(item, second=voice[index] == 2))
        elif isinstance(item, Bar) and item.ending and item.ending not in ENDINGS:
            raise AbcError(f"ending {item.ending!r} has no label")
        elif not isinstance(item, LineBreak):
            items.append(item)
    return tidy(replace(tune, items=tuple(items)))


def _broad(event: Event, second: bool) -> Event:
    if event.rest == "Z" and event.duration > MOST_BARS_OF_REST:
        raise AbcError("more than 99 bars of rest")
    if event.tuplet and event.tuplet[1] != USUAL_TIME.get(event.tuplet[0]):
        raise AbcError(f"tuplet {event.tuplet} has no label")
    kept = tuple(name for name in event.decorations if name in LABELLED)
    rest = "z" if event.rest == "x" and not second else event.rest
    return replace(event, decorations=kept, rest=rest)


def simplify(tune: Tune) -> Tune:
    """One simple voice: no decorations, endings, line breaks; undrawable lengths as tied notes.

    Raises:
        AbcError: a length or tuplet that can't be drawn simply, or a second voice.
    """
    items: list[Item] = []
    for item in tune.items:
        if isinstance(item, Overlay):
            raise AbcError("a second voice is out of scope")
        if isinstance(item, Bar):
            items.append(Bar(item.text))
        elif isinstance(item, Event):
            items += _drawable(_simple(item))
        elif not isinstance(item, LineBreak):
            items.append(item)
    return tidy(replace(tune, items=tuple(items)))


def _simple(event: Event) -> Event:
    if (event.rest == "Z" and event.duration > 1) or (event.tuplet and event.tuplet != (3, 2, 3)):
        raise AbcError(f"{event.rest or event.tuplet} is out of scope")
    graces = tuple(Grace(g.pitches, g.slash) for g in event.graces)
    rest = "z" if event.rest in ("z", "x") else event.rest
    return replace(event, decorations=(), graces=graces, rest=rest)


def _drawable(event: Event) -> list[Item]:
    """The event, or tied ones that can be drawn."""
    if event.duration in DRAWABLE or event.rest == "Z":
        return [event]
    lengths = split_duration(event.duration)
    if not lengths or min(lengths) < Fraction(1, 4):
        raise AbcError(f"length {event.duration} can't be drawn")
    out: list[Item] = []
    for number, length in enumerate(lengths):
        first, last = number == 0, number == len(lengths) - 1
        pitches = event.pitches if first else tuple(replace(p, accidental="") for p in event.pitches)
        out.append(
            replace(
                event,
                duration=length,
                pitches=pitches,
                graces=event.graces if first else (),
                tuplet=event.tuplet if first else None,
                decorations=event.decorations if first else (),
                slur_starts=event.slur_starts if first else 0,
                slur_ends=event.slur_ends if last else 0,
                tie=(not event.rest) if not last else event.tie,
                space=event.space if last else False,
            )  # fmt: skip
        )
    return out
