"""Writes one voice of one bar as MEI: events nested in tuplets and beams, with an id on everything that has a place."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from runtime.abc.tune import Event, Pitch

ACCIDENTALS = {"^^": "x", "^": "s", "=": "n", "_": "f", "__": "ff"}
ARTICULATIONS = {
    "accent": "acc", "tenuto": "ten", "marcato": "marc", "staccato": "stacc", "staccatissimo": "stacciss",
    "upbow": "upbow", "downbow": "dnbow",
}  # fmt: skip
TREMOLOS = {"/": "1slash", "//": "2slash", "///": "3slash"}


@dataclass(frozen=True)
class LayerStyle:
    """What is drawn with the notes but not labelled.

    Attributes:
        prefix: of all ids, so that the staves of a score don't share any.
        lyrics: syllable under the event of that index.
        bowings: "upbow" or "downbow" over it.
    """

    prefix: str = ""
    lyrics: dict[int, str] = field(default_factory=dict)
    bowings: dict[int, str] = field(default_factory=dict)


Pair = tuple[int, Event]  # index in the tune's items, event


def layer(content: Sequence[Pair], style: LayerStyle) -> str:
    """Events as nested elements: a tuplet inside its beam where the beam is longer, else a beam inside."""
    spans: list[list[Pair]] = []
    left = 0
    for index, event in content:
        if event.tuplet:
            left = event.tuplet[2]
            spans.append([])
        elif not left:
            spans.append([])
        spans[-1].append((index, event))
        left = max(0, left - 1)
    # A beam group is a run of spans whose borders carry no beam break.
    groups: list[list[list[Pair]]] = []
    for span in spans:
        joined = (
            groups
            and _beams_on(groups[-1][-1][-1], span[0])
            and all(_one_beam(s) for s in (groups[-1][-1], span))
        )
        if joined:
            groups[-1].append(span)
        else:
            groups.append([span])
    return "".join(_group(group, style) for group in groups)


def _beams_on(pair: Pair, following: Pair) -> bool:
    """Neighbours under one beam; a clef change between them breaks it."""
    (index, event), (next_index, after) = pair, following
    return event.flagged and after.flagged and not event.space and next_index == index + 1


def _one_beam(span: list[Pair]) -> bool:
    return all(_beams_on(a, b) for a, b in zip(span, span[1:], strict=False))


def _group(group: list[list[Pair]], style: LayerStyle) -> str:
    if len(group) == 1:
        return _span(group[0], style, beams=True)
    spans = [_span(span, style, beams=False, graces=number > 0) for number, span in enumerate(group)]
    return _graces_of(group[0][0], style) + "<beam>" + "".join(spans) + "</beam>"


def _span(span: list[Pair], style: LayerStyle, beams: bool, graces: bool = True) -> str:
    """A tuplet or a run of plain notes. Without `graces`, the grace notes of its first note were written before."""
    runs: list[list[Pair]] = []
    for pair in span:
        if beams and runs and _beams_on(runs[-1][-1], pair):
            runs[-1].append(pair)
        else:
            runs.append([pair])
    text = ""
    for number, run in enumerate(runs):
        notes = [_event(*pair, style, graces=place > 0) for place, pair in enumerate(run)]
        text += _graces_of(run[0], style) if graces or number else ""
        text += f"<beam>{''.join(notes)}</beam>" if len(run) > 1 else notes[0]
    tuplet = span[0][1].tuplet
    return f'<tuplet num="{tuplet[0]}" numbase="{tuplet[1]}">{text}</tuplet>' if tuplet else text


def _event(index: int, event: Event, style: LayerStyle, graces: bool) -> str:
    name = f"{style.prefix}{index}"
    if event.rest == "Z" and event.duration > 1:
        return f'<multiRest xml:id="e{name}" num="{int(event.duration)}"/>'
    if event.rest == "Z":
        return f'<mRest xml:id="e{name}"/>'
    length = _length(event.duration)
    if event.rest:
        return f'<{"space" if event.rest == "x" else "rest"} xml:id="e{name}" {length}/>'
    length += "".join(f' stem.mod="{TREMOLOS[mark]}"' for mark in event.decorations if mark in TREMOLOS)
    marks = [ARTICULATIONS[mark] for mark in event.decorations if mark in ARTICULATIONS]
    marks += [ARTICULATIONS[style.bowings[index]]] if index in style.bowings else []
    inside = "".join(f'<artic artic="{mark}"/>' for mark in marks)
    inside += f'<verse n="1"><syl>{style.lyrics[index]}</syl></verse>' if index in style.lyrics else ""
    before = _graces(name, event) if graces else ""
    if len(event.pitches) == 1:
        return before + _note(event.pitches[0], f"{name}_0", length, inside)
    notes = "".join(_note(pitch, f"{name}_{n}", "") for n, pitch in enumerate(event.pitches))
    return f'{before}<chord xml:id="e{name}" {length}>{notes}{inside}</chord>'


def _note(pitch: Pitch, name: str, attributes: str, inside: str = "") -> str:
    accidental = f'<accid xml:id="a{name}" accid="{ACCIDENTALS[pitch.accidental]}"/>' if pitch.accidental else ""
    head = f'<note xml:id="n{name}" pname="{pitch.letter.lower()}" oct="{pitch.octave}" {attributes}>'
    return f"{head}{accidental}{inside}</note>"


def _graces_of(pair: Pair, style: LayerStyle) -> str:
    """Grace notes of an event that begins a beam, written before the beam.

    Inside the beam, Verovio 6.4 draws a single grace note without its flag.
    """
    index, event = pair
    return "" if event.rest else _graces(f"{style.prefix}{index}", event)


def _graces(owner: str, event: Event) -> str:
    """One grace note is an eighth, several are beamed sixteenths, as engravers draw them."""
    if not event.graces:
        return ""
    kind = "unacc" if event.graces[0].slash else "acc"
    length = f'grace="{kind}" dur="{8 if len(event.graces) == 1 else 16}"'
    parts = []
    for number, grace in enumerate(event.graces):
        name = f"{owner}_g{number}"
        if len(grace.pitches) == 1:
            parts.append(_note(grace.pitches[0], name, length))
        else:
            notes = "".join(_note(pitch, f"{name}_{n}", "") for n, pitch in enumerate(grace.pitches))
            parts.append(f'<chord xml:id="n{name}" {length}>{notes}</chord>')
    return f"<beam>{''.join(parts)}</beam>" if len(parts) > 1 else parts[0]


@functools.cache
def _length(duration: Fraction) -> str:
    """Attributes of a written length in eighths."""
    event = Event(duration=duration)
    whole = event.base / 8
    dots = f' dots="{event.dots}"' if event.dots else ""
    return f'dur="{"breve" if whole == 2 else whole.denominator}"{dots}'
