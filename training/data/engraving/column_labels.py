"""Labels every column of a picture with symbol class, staff position and duration, from the engraver's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.abc.tune import Atom, Change, Event, Tune, atoms
from runtime.reading.column_head import SYMBOL_CLASSES, classes, on_staff

Row = tuple[int, int, int, int, int]  # atom index, x in pixels, symbol class, staff position class, duration class


@dataclass(frozen=True)
class Geometry:
    """Where an engraver drew things, in pixels of the final picture.

    Attributes:
        places: id (see `mei`) -> x of the symbol's centre; `clef`, `meter`, `left` (a bar line before the music) and
            `c<item>` (a clef or meter that changes) too.
        keys: item of a key change, -1 for the line's own key -> (x, staff position) of each accidental.
    """

    places: dict[str, float]
    keys: dict[int, list[tuple[float, int]]]

    @classmethod
    def of(
        cls,
        tune: Tune,
        places: dict[str, float],
        keys: Sequence[list[tuple[float, int]]],
        meters: Sequence[float],
    ) -> Geometry:
        """From key signatures and meters in the order in which they are drawn."""
        changes = {
            kind: [i for i, item in enumerate(tune.items) if isinstance(item, Change) and item.kind == kind]
            for kind in ("key", "meter")
        }
        key_items = [-1] * (len(keys) > len(changes["key"])) + changes["key"]
        out = dict(places)
        out |= {
            "meter" if item < 0 else f"c{item}": x
            for item, x in zip([-1] * (tune.meter is not None) + changes["meter"], meters, strict=False)
        }
        return cls(out, dict(zip(key_items, keys, strict=False)))


def rows(tune: Tune, geometry: Geometry) -> list[Row]:
    """One row for every atom that has a place; class 0 rows only say where to look."""
    out: list[Row] = []
    clef = tune.clef
    for number, atom in enumerate(atoms(tune)):
        if atom.role == "clef":
            clef = atom.text.removeprefix("clef=")
        if atom.role == "key":
            change = tune.items[atom.item] if atom.item >= 0 else None
            fifths = int(change.value) if isinstance(change, Change) else tune.key
            sign = SYMBOL_CLASSES.index("key_sharp" if fifths > 0 else "key_flat" if fifths else "=")
            accidentals = geometry.keys.get(atom.item, [])
            out += [(number, round(x), sign, on_staff(position), 0) for x, position in accidentals]
            continue
        place = _place(tune, atom, geometry)
        if place is not None:
            out.append((number, round(place), *classes(tune, atom, clef)))
    return out


def _place(tune: Tune, atom: Atom, geometry: Geometry) -> float | None:
    places = geometry.places
    if atom.item < 0:
        return places.get(atom.role)
    item = tune.items[atom.item]
    if isinstance(item, Change):
        return places.get(f"c{atom.item}")
    if not isinstance(item, Event):
        return places.get(f"m{atom.item}", places.get("left") if atom.item == 0 else None)
    if item.rest:
        return places.get(f"e{atom.item}")  # its decorations too
    if atom.role == "grace":
        return places.get(f"n{atom.item}_g{atom.part}", places.get(f"n{atom.item}_g{atom.part}_0"))
    if atom.role == "accidental":
        return places.get(f"a{atom.item}_{atom.part}")
    return places.get(f"n{atom.item}_{atom.part if atom.role == 'note' else 0}")
