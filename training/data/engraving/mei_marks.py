"""Writes what MEI attaches to events from outside: ties, slurs, and the signs above and below a staff."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.abc.tune import DYNAMICS, Event, Item

SIGNS = {  # decoration -> element and its attributes
    "fermata": "fermata", "trill": "trill", "turn": "turn", "invertedturn": 'turn form="lower"',
    "uppermordent": 'mordent form="upper"', "lowermordent": 'mordent form="lower"', "arpeggio": "arpeg",
    "segno": 'repeatMark func="segno"', "coda": 'repeatMark func="coda"',
}  # fmt: skip


def marks(items: Sequence[Item], indices: Sequence[int], prefix: str, voice: dict[int, int]) -> str:
    """Control events of the bar that holds the events `indices`."""
    out = []
    for index in indices:
        event = items[index]
        assert isinstance(event, Event)
        order = [i for i in voice if voice[i] == voice[index]]
        out += _ties(items, index, event, order, prefix)
        for depth in range(event.slur_starts):
            end = slur_end(items, index, depth, order)
            if end is not None:
                out.append(f'<slur startid="{anchor(items, index, prefix)}" endid="{anchor(items, end, prefix)}"/>')
        for name in event.decorations:
            if name in SIGNS:
                out.append(f'<{SIGNS[name]} startid="{anchor(items, index, prefix)}"/>')
            elif name in DYNAMICS:
                out.append(f'<dynam startid="{anchor(items, index, prefix)}">{name}</dynam>')
    return "".join(out)


def _ties(items: Sequence[Item], index: int, event: Event, order: list[int], prefix: str) -> list[str]:
    following = next((i for i in order if i > index), None)
    if not event.tie or following is None:
        return []
    after = items[following]
    assert isinstance(after, Event)
    steps = {p.step: n for n, p in enumerate(after.pitches)}
    return [
        f'<tie startid="#n{prefix}{index}_{n}" endid="#n{prefix}{following}_{steps[p.step]}"/>'
        for n, p in enumerate(event.pitches)
        if p.step in steps
    ]


def slur_end(items: Sequence[Item], index: int, depth: int, order: Sequence[int]) -> int | None:
    """Index of the event where the slur number `depth` (outermost first) that starts at `index` ends.

    Args:
        items: of the tune.
        index: of the event where it starts.
        depth: 0 for the outermost slur that starts there.
        order: indices of the events of its voice.
    """
    start = items[index]
    assert isinstance(start, Event)
    nested = start.slur_starts - depth
    for place in (i for i in order if i > index):
        event = items[place]
        assert isinstance(event, Event)
        for _ in range(event.slur_ends):
            nested -= 1
            if nested == 0:
                return place
        nested += event.slur_starts
    return None


def anchor(items: Sequence[Item], index: int, prefix: str) -> str:
    """Reference to an event: a note's own id, a chord's or rest's."""
    event = items[index]
    assert isinstance(event, Event)
    return f"#n{prefix}{index}_0" if len(event.pitches) == 1 else f"#e{prefix}{index}"
