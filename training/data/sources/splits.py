"""Decides which split each tune is in: versions of one tune share a split, and no split quotes another.

Near-duplicates, transposed or not, are clustered by the interval 8-grams they share. A tune's split follows from the
hash of its cluster's name. `join_splits` adds tunes later without moving the first ones, so that weights trained on the
first ones can be trained further.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from runtime.abc.tune import Tune

SPLITS = (("train", 90), ("val", 5), ("test", 5))  # percent of clusters
QUOTED = 24  # notes in a row that make a quotation
SHARED = 0.3  # share of the shorter tune's 8-grams that makes two tunes versions of one


@dataclass(frozen=True)
class Source:
    """One tune.

    Attributes:
        name: collection/file/number.
        title: where it has one.
        tune: the whole notation.
        simple: the same as one simple voice; None where it can't be.
        split: follows its cluster.
        piece: names of lines of one piece begin so; they share a split.
    """

    name: str
    title: str
    tune: Tune
    simple: Tune | None = None
    split: str = ""
    piece: str = ""

    @property
    def melody(self) -> list[tuple[int, Fraction]]:
        """(diatonic step of the top note, duration) of every note: what transpositions share are its differences."""
        return [(e.pitches[-1].step, e.duration) for e in (self.simple or self.tune).events if not e.rest]

    def steps(self) -> list[int]:
        """Intervals between the notes."""
        notes = self.melody
        return [b[0] - a[0] for a, b in zip(notes, notes[1:], strict=False)]

    def grams(self) -> set[tuple[int, ...]]:
        """Runs of 8 intervals."""
        steps = self.steps()
        return {tuple(steps[i : i + 8]) for i in range(len(steps) - 7)}


def assign_splits(sources: list[Source]) -> list[Source]:
    """Cluster near-duplicates, drop exact repeats (also transposed ones), give each cluster one split."""
    parent = list(range(len(sources)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    seen: dict[tuple[object, ...], int] = {}
    keep: list[int] = []
    grams: list[set[tuple[int, ...]]] = []
    holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, source in enumerate(sources):
        whole = (*source.steps(), *(d for _, d in source.melody))
        grams.append(source.grams())
        if whole in seen:
            continue
        seen[whole] = index
        keep.append(index)
        shared = Counter(other for gram in grams[index] for other in holders[gram])
        for other, count in shared.items():
            if count >= SHARED * min(len(grams[index]), len(grams[other])):
                parent[root(index)] = root(other)
        for gram in grams[index]:
            holders[gram].append(index)
    names: dict[int, str] = {}
    for index in keep:
        names[root(index)] = min(names.get(root(index), "~"), sources[index].name)
    return without_quotations([replace(sources[i], split=split_of(names[root(i)])) for i in keep])


class _Quotations:
    """Remembers the split of each run of 24 (interval, length) pairs."""

    def __init__(self) -> None:
        self.homes: dict[tuple[int, ...], str] = {}
        self.numbers: dict[tuple[int, Fraction], int] = {}  # of pairs: runs of fractions take ten times as long to hash

    def admits(self, source: Source) -> bool:
        """Whether no run of the tune is in another split. If so, its runs are added to its own split."""
        lengths = [duration for _, duration in source.melody[1:]]
        pairs = [
            self.numbers.setdefault(step, len(self.numbers)) for step in zip(source.steps(), lengths, strict=True)
        ]
        runs = {tuple(pairs[i : i + QUOTED]) for i in range(len(pairs) - QUOTED + 1)}
        if any(self.homes.get(run, source.split) != source.split for run in runs):
            return False
        self.homes.update(dict.fromkeys(runs, source.split))
        return True


def without_quotations(sources: list[Source]) -> list[Source]:
    """Leave out tunes of val and test that share a run of 24 (interval, length) pairs with a tune of another split."""
    quotations = _Quotations()
    kept = {s.name for split, _ in SPLITS for s in sources if s.split == split and quotations.admits(s)}
    return [source for source in sources if source.name in kept]


def join_splits(placed: list[Source], added: Iterable[Source]) -> list[Source]:
    """Add tunes to those that have their split.

    All lines of a piece go to the split that has a version of one of them. A piece is left out if it has versions in
    two splits, or quotes another split.
    """
    holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
    sizes, out = [], list(placed)
    for index, source in enumerate(placed):
        grams = source.grams()
        sizes.append(len(grams))
        for gram in grams:
            holders[gram].append(index)
    quotations = _Quotations()
    assert all(quotations.admits(source) for source in placed)
    pieces: dict[str, list[Source]] = defaultdict(list)
    for source in added:
        pieces[source.piece or source.name].append(source)
    for name, lines in pieces.items():
        found = {out[other].split for line in lines for other in _versions(line, holders, sizes)}
        if len(found) > 1:
            continue
        split = found.pop() if found else split_of(name)
        for line in lines:
            here = replace(line, split=split)
            if quotations.admits(here):
                grams = here.grams()
                for gram in grams:
                    holders[gram].append(len(out))
                sizes.append(len(grams))
                out.append(here)
    return out


def _versions(line: Source, holders: dict[tuple[int, ...], list[int]], sizes: list[int]) -> list[int]:
    """Indices of tunes that are versions of a line."""
    grams = line.grams()
    shared = Counter(other for gram in grams for other in holders.get(gram, ()))
    return [other for other, count in shared.items() if count >= SHARED * min(len(grams), sizes[other])]


def split_of(cluster: str) -> str:
    """The split of a cluster, by the hash of its name."""
    percent = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:4], "big") % 100
    for split, share in SPLITS:
        if percent < share:
            return split
        percent -= share
    raise AssertionError("shares of SPLITS don't sum to 100")
