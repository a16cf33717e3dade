"""Makes a line canonical: gives each drawing its one spelling (see `runtime.abc.tune`)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from .tune import DECORATIONS, DURATIONS, Bar, Event, Item, LineBreak, Overlay, Tune


def tidy(tune: Tune) -> Tune:
    """Spaces only between flagged notes of one bar, slurs balanced, tuplets whole and inside their bar.

    A slur between two neighbouring notes of the same pitch looks like a tie and is written as one.

    Neighbouring bar lines are drawn as one, a longer rest alone in its bar is a bar of rest, `Z`, and slurs of a
    second voice stay in their bar.
    """
    items = bar_rests(whole_overlays(merge_bars(tune.items)))
    open_slurs: list[int] = []
    waiting: list[int] | None = None  # open slurs of the first voice while the second one sounds
    unclosed: list[int] = []
    tuplet_left, tuplet_at = 0, -1
    for index, item in enumerate(items):
        if not isinstance(item, Event):
            if isinstance(item, Bar | Overlay) and tuplet_left:
                items[tuplet_at] = replace(_event(items[tuplet_at]), tuplet=None)
                tuplet_left = 0
            if isinstance(item, Bar) and waiting is not None:
                unclosed += open_slurs
                open_slurs, waiting = waiting, None
            elif isinstance(item, Overlay):
                open_slurs, waiting = [], open_slurs
            continue
        if item.tuplet and tuplet_left:
            item = replace(item, tuplet=None)
        elif item.tuplet:
            tuplet_left, tuplet_at = item.tuplet[2], index
        tuplet_left = max(0, tuplet_left - 1)
        ends = min(item.slur_ends, len(open_slurs))
        open_slurs = open_slurs[: len(open_slurs) - ends] + [index] * item.slur_starts
        following = items[index + 1] if index + 1 < len(items) else None
        beamable = item.flagged and isinstance(following, Event) and following.flagged
        if item.slur_ends != ends or (item.space and not beamable):
            item = replace(item, slur_ends=ends, space=beamable and item.space)
        if len(item.decorations) > 1:
            item = replace(item, decorations=tuple(sorted(item.decorations, key=_decoration_order)))
        items[index] = item
    for index in [*unclosed, *open_slurs, *(waiting or [])]:
        event = _event(items[index])
        items[index] = replace(event, slur_starts=event.slur_starts - 1)
    if tuplet_left:
        items[tuplet_at] = replace(_event(items[tuplet_at]), tuplet=None)
    while items and isinstance(items[-1], LineBreak):
        items.pop()
    slurs_as_ties(items)
    return replace(tune, items=tuple(items))


PORTATO = {"staccato", "staccatissimo", "tenuto", "marcato", "accent"}  # under a slur: notes played again


def slurs_as_ties(items: list[Item]) -> None:
    """Turns slurs over just two notes or chords of the same pitches into ties, in place.

    A slur stays if the second note is clearly played again: it has an articulation, grace notes or an accidental.
    """
    before: int | None = None
    for index, item in enumerate(items):
        if isinstance(item, Overlay):
            before = None
        if not isinstance(item, Event):
            continue
        if before is not None and _looks_tied(first := _event(items[before]), item):
            items[before] = replace(first, slur_starts=first.slur_starts - 1, tie=True)
            items[index] = replace(item, slur_ends=item.slur_ends - 1)
        before = index


def _looks_tied(first: Event, second: Event) -> bool:
    if not (first.slur_starts and second.slur_ends and first.pitches) or first.tie:
        return False
    again = second.graces or PORTATO & {*first.decorations, *second.decorations}
    places = [pitch.step for pitch in first.pitches], [pitch.step for pitch in second.pitches]
    return places[0] == places[1] and not again and not any(pitch.accidental for pitch in second.pitches)


def merge_bars(items: tuple[Item, ...]) -> list[Item]:
    """Bar lines in a row as the one that is drawn: `:|` and `|:` make `::`, otherwise the plainer one goes."""
    out: list[Item] = []
    for item in items:
        last = out[-1] if out else None
        if isinstance(item, Bar) and isinstance(last, Bar) and not last.ending:
            if last.text in (":|", "::") and item.text in ("|:", "::"):
                out[-1] = replace(item, text="::")
            elif last.text in ("|", "||", "|]") or item.ending:
                text = last.text if item.text == "|" else item.text
                out[-1] = replace(item, text=text)
        else:
            out.append(item)
    return out


def _decoration_order(name: str) -> tuple[int, str]:
    return (DECORATIONS.index(name) if name in DECORATIONS else len(DECORATIONS), name)


def whole_overlays(items: list[Item]) -> list[Item]:
    """At most one `&` a bar, and none if one of the two voices has no notes or rests."""
    out: list[Item] = []
    for bar in _bars(items):
        parts: list[list[Item]] = [[]]
        for item in bar:
            if isinstance(item, Overlay):
                parts.append([])
            else:
                parts[-1].append(item)
        sounding = [part for part in parts if any(isinstance(item, Event) for item in part)]
        if len(parts) == 1 or len(sounding) < 2:
            out += [item for item in bar if not isinstance(item, Overlay)]
        else:
            first, second, *more = parts
            out += [*first, Overlay(), *second, *(item for part in more for item in part)]
    return out


def _bars(items: list[Item]) -> list[list[Item]]:
    """Items between bar lines, with the bar line before them."""
    out: list[list[Item]] = [[]]
    for item in items:
        if isinstance(item, Bar):
            out.append([])
        out[-1].append(item)
    return out


def bar_rests(items: list[Item]) -> list[Item]:
    """A rest of at least three eighths alone in its bar is drawn as a centred whole rest, whatever the meter: `Z`."""
    out = list(items)
    edges = [-1, *(i for i, item in enumerate(out) if isinstance(item, Bar)), len(out)]
    for start, end in zip(edges, edges[1:], strict=False):
        if any(isinstance(item, Overlay) for item in out[start + 1 : end]):
            continue
        events = [i for i in range(start + 1, end) if isinstance(out[i], Event)]
        if len(events) == 1:
            event = _event(out[events[0]])
            if event.rest == "z" and event.duration >= 3 and not event.tuplet:
                out[events[0]] = replace(event, rest="Z", duration=Fraction(1))
    return out


def _event(item: Item) -> Event:
    assert isinstance(item, Event)
    return item


def split_duration(duration: Fraction) -> list[Fraction]:
    """Lengths that can be drawn, longest first, whose sum is `duration`; empty where there are none."""
    out: list[Fraction] = []
    while duration > 0:
        fitting = [d for d in DURATIONS if d <= duration and d.numerator != 7]
        if not fitting or len(out) > 4:
            return []
        out.append(fitting[-1])
        duration -= fitting[-1]
    return out
