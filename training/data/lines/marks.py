"""Adds signs to notes of lines that have few: articulations, ornaments, dynamics, fermatas, tremolos, arpeggios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from runtime.abc.tune import DYNAMICS, Bar, Event, Item, Overlay, Tune
from training.data.sources.scope import ARTICULATIONS, JUMPS, ORNAMENTS, TREMOLOS

Marker = Callable[[Event, np.random.Generator], str]  # a sign for this event, or nothing


def mark(tune: Tune, rng: np.random.Generator) -> Tune:
    """Add signs of one to three kinds to a line."""
    kinds = list(MARKERS)
    weights = np.array([MARKERS[kind][0] for kind in kinds])
    count = int(rng.choice([1, 1, 2, 2, 3]))
    chosen = [str(kind) for kind in rng.choice(kinds, size=count, replace=False, p=weights / weights.sum())]
    items = list(tune.items)
    second = False
    for index, item in enumerate(items):
        second = isinstance(item, Overlay) or (second and not isinstance(item, Bar))
        if not isinstance(item, Event) or item.rest in ("x", "Z"):
            continue
        for kind in chosen:
            name = MARKERS[kind][1](item, rng)
            if name and not (second and kind in ("dynamics", "jump")) and fits(item, name):
                item = replace(item, decorations=(*item.decorations, name))
        items[index] = item
    return replace(tune, items=tuple(_some_fermata(items, rng)))


def fits(event: Event, name: str) -> bool:
    """At most one sign of each group on an event."""
    groups = (ARTICULATIONS, (*ORNAMENTS, "fermata"), TREMOLOS, DYNAMICS, JUMPS)
    taken = {group for group in groups for other in event.decorations if other in group}
    return name not in event.decorations and not any(name in group for group in taken)


def _some_fermata(items: list[Item], rng: np.random.Generator) -> list[Item]:
    events = [i for i, item in enumerate(items) if isinstance(item, Event) and item.rest not in ("x", "Z")]
    if events and rng.random() < 0.12:
        place = events[-1] if rng.random() < 0.6 else events[int(rng.integers(len(events)))]
        event = items[place]
        assert isinstance(event, Event)
        if fits(event, "fermata"):
            items[place] = replace(event, decorations=(*event.decorations, "fermata"))
    return items


def _articulation(event: Event, rng: np.random.Generator) -> str:
    if event.rest or rng.random() > 0.35:
        return ""
    return str(rng.choice(ARTICULATIONS, p=[0.45, 0.25, 0.14, 0.1, 0.06]))


def _all_staccato(event: Event, rng: np.random.Generator) -> str:
    return "staccato" if not event.rest and event.duration <= 2 and rng.random() < 0.85 else ""


def _ornament(event: Event, rng: np.random.Generator) -> str:
    if event.rest or rng.random() > 0.16:
        return ""
    return str(rng.choice(ORNAMENTS, p=[0.45, 0.2, 0.07, 0.15, 0.13]))


def _dynamic(event: Event, rng: np.random.Generator) -> str:
    if event.rest or rng.random() > 0.1:
        return ""
    return str(rng.choice(DYNAMICS, p=[0.05, 0.12, 0.22, 0.11, 0.11, 0.2, 0.09, 0.04, 0.03, 0.03]))


def _tremolo(event: Event, rng: np.random.Generator) -> str:
    """On notes with a stem, no flag and no grace notes."""
    if event.rest or event.base not in (2, 4) or event.tuplet or rng.random() > 0.4:
        return ""
    return str(rng.choice(TREMOLOS, p=[0.3, 0.4, 0.3]))


def _arpeggio(event: Event, rng: np.random.Generator) -> str:
    return "arpeggio" if len(event.pitches) > 1 and rng.random() < 0.5 else ""


def _jump(event: Event, rng: np.random.Generator) -> str:
    return str(rng.choice(JUMPS)) if not event.rest and rng.random() < 0.05 else ""


MARKERS: dict[str, tuple[float, Marker]] = {
    "articulation": (4, _articulation), "staccato": (2, _all_staccato), "ornament": (2.5, _ornament),
    "dynamics": (4, _dynamic), "tremolo": (1, _tremolo), "arpeggio": (0.7, _arpeggio), "jump": (0.7, _jump),
}  # fmt: skip
