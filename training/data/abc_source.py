"""Canonical ABC as programs that draw ABC want it, and which column of the text stands for which symbol.

Such programs read spaces as beam breaks, beam over rests and changes where there is no space, and take 4/4 for granted
where no meter is named. Each has names of its own for a few clefs and decorations, and some that it draws wrongly or
not at all: its `Dialect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.abc import Change, Event, LineBreak, Tune, atoms
from training.data.engraver import EngraveError


@dataclass(frozen=True)
class Dialect:
    """How a program's ABC differs from the canonical one.

    Attributes:
        names: atoms that it spells otherwise.
        refused: atoms that it draws wrongly or not at all.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()


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
    for atom in atoms(tune):
        if atom.text in dialect.refused:
            raise EngraveError(f"{atom.text} would not be drawn as it should")
        text = dialect.names.get(atom.text, atom.text)
        if atom.item < 0:
            head[atom.role] = text
            continue
        if isinstance(tune.items[atom.item], LineBreak) or text == " ":
            continue
        if atom.item != last:
            body += "" if _beamed(tune, atom.item) else " "
            last = atom.item
        items[len(body)] = atom.item
        body += _changed(text) if isinstance(tune.items[atom.item], Change) else text
    header = ("L:1/8", head["meter"], f"{head['key']} {head['clef']}")
    return AbcSource(header, body, items)


def _beamed(tune: Tune, index: int) -> bool:
    """Whether an event hangs on the beam of the item before it."""
    item, before = tune.items[index], tune.items[index - 1] if index else None
    both = isinstance(item, Event) and isinstance(before, Event)
    return both and item.flagged and before.flagged and not before.space


def _changed(text: str) -> str:
    return f"[K:{text}]" if text.startswith("clef=") else f"[{text}]"
