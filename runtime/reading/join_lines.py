"""Joins the lines of a page into one tune.

Every line shows clef and key, but they count only where they change. A meter counts where it is drawn. If a line
announces a change at its end (a courtesy signature) and the next line begins with it, that is one change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..abc.reader import parse
from ..abc.tidy import tidy
from ..abc.tune import Change, Item, LineBreak, Tune, write


def join_lines(lines: Sequence[str]) -> str:
    """Canonical ABC of a page.

    Args:
        lines: canonical ABC of each system from top to bottom; lines without music are left out.
    """
    tunes = [tune for tune in map(parse, lines) if tune.items]
    if not tunes:
        return write(Tune())
    first = tunes[0]
    items: list[Item] = list(first.items)
    state = _state_after(first, {"clef": first.clef, "key": str(first.key), "meter": first.meter or ""})
    for tune in tunes[1:]:
        items += [LineBreak(), *_changes(tune, state), *tune.items]
        state |= {"clef": tune.clef, "key": str(tune.key), "meter": tune.meter or state["meter"]}
        state = _state_after(tune, state)
    return write(tidy(replace(first, items=tuple(items))))


def _changes(tune: Tune, state: dict[str, str]) -> list[Item]:
    """What the beginning of a line changes."""
    drawn = {"clef": tune.clef, "key": str(tune.key), "meter": tune.meter or state["meter"]}
    return [Change(kind, value) for kind, value in drawn.items() if value != state[kind]]


def _state_after(tune: Tune, state: dict[str, str]) -> dict[str, str]:
    changed = {item.kind: item.value for item in tune.items if isinstance(item, Change)}
    return state | changed


def numbered(tunes: Sequence[str], first: int = 1) -> str:
    """Several tunes as one ABC file: `X:` counts from `first`, blank lines part them."""
    renumbered = [tune.replace("X:1\n", f"X:{number}\n", 1) for number, tune in enumerate(tunes, first)]
    return "\n".join(renumbered)
