"""Writes canonical ABC in the dialect of a drawing program, and remembers which column of the text is which symbol.

Such programs read spaces as beam breaks, set beams over rests and changes where there is no space, and assume 4/4 where
no meter is named. Each has its own names for a few clefs and decorations, and draws some wrongly or not at all: its
`Dialect` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.abc.tune import Bar, Change, Event, LineBreak, Tune, atoms, voices
from training.data.engraving.engraver import EngraveError


@dataclass(frozen=True)
class Dialect:
    """How a program's ABC differs from the canonical one.

    Attributes:
        names: atoms that it spells differently.
        refused: atoms that it draws wrongly or not at all.
        bar_rest: how it spells `Z`, a single bar of rest.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    bar_rest: str = "Z"


@dataclass(frozen=True)
class AbcSource:
    """A tune for a drawing program.

    Attributes:
        header: the lines after `X:`, without a number or style.
        body: the music, one line of text.
        items: column of the body -> index of the item that the symbol there belongs to.
    """

    header: tuple[str, ...]
    body: str
    items: dict[int, int]

    def item_at(self, column: int) -> int:
        """The item of the symbol that starts at a column."""
        return self.items.get(column, -1)


def abc_source(tune: Tune, dialect: Dialect) -> AbcSource:
    """The tune in a dialect.

    Raises:
        EngraveError: the dialect can't say it.
    """
    head = {"clef": "", "key": "", "meter": "M:none"}
    body = ""
    items: dict[int, int] = {}
    last = -1
    ties = partial_ties(tune)
    for atom in atoms(tune):
        if atom.text in dialect.refused:
            raise EngraveError(f"{atom.text} would not be drawn as it should")
        text = dialect.names.get(atom.text, atom.text)
        if atom.item < 0:
            head[atom.role] = text
            continue
        item = tune.items[atom.item]
        if isinstance(item, LineBreak) or text == " " or (atom.role == "tie" and atom.item in ties):
            continue
        if atom.item != last:
            body += "" if _beamed(tune, atom.item) else " "
            last = atom.item
        items[len(body)] = atom.item
        if isinstance(item, Change):
            text = f"[K:{text}]" if item.kind == "clef" else f"[{text}]"
        elif text == "Z" and isinstance(item, Event) and item.duration == 1:
            text = dialect.bar_rest
        body += text
        if atom.role == "note" and atom.text[0].isalpha() and atom.part in ties.get(atom.item, ()):
            body += "-"
    header = ("L:1/8", head["meter"], f"{head['key']} {head['clef']}")
    return AbcSource(header, body, items)


def _beamed(tune: Tune, index: int) -> bool:
    """Whether an event shares a beam with the item before it."""
    item, before = tune.items[index], tune.items[index - 1] if index else None
    both = isinstance(item, Event) and isinstance(before, Event)
    return both and item.flagged and before.flagged and not before.space


def partial_ties(tune: Tune) -> dict[int, set[int]]:
    """Chords of which some notes are tied and others not: item -> numbers of those that are.

    Programs read a tie after a chord as a tie of every note.
    """
    voice = voices(tune.items)
    out: dict[int, set[int]] = {}
    for index, number in voice.items():
        event = tune.items[index]
        following = next((tune.items[i] for i in voice if i > index and voice[i] == number), None)
        if isinstance(event, Event) and event.tie and isinstance(following, Event):
            steps = {pitch.step for pitch in following.pitches}
            tied = {part for part, pitch in enumerate(event.pitches) if pitch.step in steps}
            if len(tied) < len(event.pitches):
                out[index] = tied
    return out


def natural_width(tune: Tune) -> float:
    """About how wide abcm2ps draws a line of its own accord, in sixths of a staff space (9 of 10 within 15 %)."""
    events = sum(4 + 21 * float(e.duration if e.rest != "Z" else min(e.duration, 2) * 6) ** 0.5 for e in tune.events)
    return 30 + 7 * abs(tune.key) + 17 * sum(isinstance(item, Bar) for item in tune.items) + events
