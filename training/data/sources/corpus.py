"""Reads real tunes in canonical form from the collections in the music21 package (`collections.py` lists them).

The files are read from the installed package (found without importing it) and never copied into the project. The result
is cached in the user's cache folder, because reading takes ten seconds.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from runtime.abc.reader import AbcError, parse
from runtime.abc.tune import Item, Tune
from training.data.cache import kept
from training.data.sources.collections import COLLECTIONS, SCORES, corpus_folder
from training.data.sources.scope import broaden, simplify
from training.data.sources.scores import scores
from training.data.sources.splits import Source, assign_splits, join_splits

SHORTEST = 16  # notes


def raw_tunes(collections: tuple[str, ...] = COLLECTIONS) -> Iterator[tuple[str, str]]:
    """(name, ABC text) of every tune of the collections, in a fixed order."""
    for collection in collections:
        files = sorted((corpus_folder() / collection).glob("*.abc"), key=lambda path: _natural(path.name))
        for path in files:
            parts = re.split(r"(?m)^(?=X:\s*\d+)", path.read_text(encoding="utf-8", errors="replace"))
            header = parts[0]  # fields before the first tune hold for all of the file
            for number, part in enumerate(p for p in parts[1:] if "K:" in p):
                yield f"{collection}/{path.stem}/{number}", header + part


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]


@functools.cache
def load_sources(collections: tuple[str, ...] = COLLECTIONS) -> tuple[list[Source], Counter[str]]:
    """All tunes that are in scope, split, and a count of what was left out and why."""
    return kept("-".join(("tunes", *collections)), lambda: read_sources(collections))


def read_sources(collections: tuple[str, ...]) -> tuple[list[Source], Counter[str]]:
    """`load_sources` from the files."""
    left_out: Counter[str] = Counter()
    simple: list[Source] = []
    wide: list[Source] = []
    for name, text in raw_tunes(tuple(c for c in collections if c not in SCORES)):
        title = re.search(r"(?m)^T:\s*(.*)$", text)
        try:
            source = in_scope(Source(name, title[1].strip() if title else "", parse(text, strict=True)))
            (simple if source.simple else wide).append(source)
        except AbcError as error:
            left_out[error.cause] += 1
    for collection in (c for c in collections if c in SCORES):
        for name, tune in scores(collection):
            try:
                source = Source(name, "", tune, piece=name.rsplit("/", 1)[0])
                wide.append(replace(in_scope(source), simple=None))  # simple lines stay those of the tunes
            except AbcError as error:
                left_out[error.cause] += 1
    return share_items(join_splits(assign_splits(simple), wide)), left_out


def in_scope(source: Source) -> Source:
    """A tune as far as it can be drawn and labelled.

    Raises:
        AbcError: it can't, or it is too short.
    """
    try:
        simple = simplify(source.tune)
    except AbcError:
        found = replace(source, tune=broaden(source.tune))
    else:
        try:
            found = replace(source, tune=broaden(source.tune), simple=simple)
        except AbcError:
            found = replace(source, tune=simple, simple=simple)
    if len(found.melody) < SHORTEST:
        raise AbcError("fewer than 16 notes")
    return found


def share_items(sources: list[Source]) -> list[Source]:
    """The same tunes with equal items shared: 2,000 objects instead of 430,000, and a twelfth of the size when
    pickled."""
    first: dict[Item, Item] = {}

    def shared(tune: Tune) -> Tune:
        return replace(tune, items=tuple(first.setdefault(i, i) for i in tune.items))

    return [replace(s, tune=shared(s.tune), simple=shared(s.simple) if s.simple else None) for s in sources]
