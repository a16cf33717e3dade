"""Real tunes in canonical form, from the public-domain ABC collections that the music21 package ships.

The files are read from the installed package (found without importing it) and never copied into the project; what is
read is kept in the user's cache folder, since reading takes ten seconds.
Near-duplicates are clustered by the interval 8-grams they share, and a tune's split follows the hash of its cluster, so
that no two versions of one tune stand in two splits.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from runtime.abc import DURATIONS, Bar, Change, Event, Grace, Item, LineBreak, Tune
from runtime.abc_reader import AbcError, parse
from runtime.abc_tidy import split_duration, tidy
from runtime.errors import MissingExtraError
from training.data.cache import kept
from training.data.collections import COLLECTIONS

SPLITS = (("train", 90), ("val", 5), ("test", 5))  # percent of clusters
DRAWABLE = frozenset(d for d in DURATIONS if d >= Fraction(1, 4))
QUOTED = 24  # notes in a row that make a quotation
SHARED = 0.3  # share of the shorter tune's 8-grams that makes two tunes versions of one


@dataclass(frozen=True)
class Source:
    """One tune: `name` is collection/number, `split` follows its cluster."""

    name: str
    title: str
    tune: Tune
    split: str = ""


def corpus_folder() -> Path:
    """The corpus folder of the installed music21 package, without importing music21."""
    spec = importlib.util.find_spec("music21")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the tunes come from the package music21: pip install -e '.[train]'")
    return Path(next(iter(spec.submodule_search_locations))) / "corpus"


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


def simplify(tune: Tune) -> Tune:
    """What is in scope of one simple staff: no decorations, endings, line breaks; undrawable lengths as tied notes.

    Raises:
        AbcError: a length or tuplet that can't be drawn simply.
    """
    items: list[Item] = []
    for item in tune.items:
        if isinstance(item, Bar):
            items.append(Bar(item.text))
        elif isinstance(item, Event):
            items += _simple_event(item)
        elif isinstance(item, Change):
            items.append(item)
    return tidy(replace(tune, items=tuple(i for i in items if not isinstance(i, LineBreak))))


def _simple_event(event: Event) -> list[Item]:
    if (event.rest == "Z" and event.duration > 1) or (event.tuplet and event.tuplet != (3, 2, 3)):
        raise AbcError(f"{event.rest or event.tuplet} is out of scope")
    graces = tuple(Grace(g.pitches, g.slash) for g in event.graces)
    rest = "z" if event.rest in ("z", "x") else event.rest
    if event.decorations or graces or rest != event.rest:
        event = replace(event, decorations=(), graces=graces, rest=rest)
    if event.duration in DRAWABLE:
        return [event]
    lengths = split_duration(event.duration)
    if not lengths or min(lengths) < Fraction(1, 4):
        raise AbcError(f"length {event.duration} can't be drawn")
    out: list[Item] = []
    for number, length in enumerate(lengths):
        first, last = number == 0, number == len(lengths) - 1
        pitches = event.pitches if first else tuple(replace(p, accidental="") for p in event.pitches)
        out.append(
            replace(
                event,
                duration=length,
                pitches=pitches,
                graces=event.graces if first else (),
                tuplet=event.tuplet if first else None,
                slur_starts=event.slur_starts if first else 0,
                slur_ends=event.slur_ends if last else 0,
                tie=(not event.rest) if not last else event.tie,
                space=event.space if last else False,
            )  # fmt: skip
        )
    return out


def melody(tune: Tune) -> list[tuple[int, Fraction]]:
    """(diatonic step of the top note, duration) of every note: what transpositions share are its differences."""
    return [(e.pitches[-1].step, e.duration) for e in tune.events if not e.rest]


@functools.cache
def load_sources(collections: tuple[str, ...] = COLLECTIONS) -> tuple[list[Source], Counter[str]]:
    """All tunes that are in scope, split, and a count of what was left out and why."""
    return kept("-".join(("tunes", *collections)), lambda: read_sources(collections))


def read_sources(collections: tuple[str, ...]) -> tuple[list[Source], Counter[str]]:
    """`load_sources` from the files."""
    left_out: Counter[str] = Counter()
    sources: list[Source] = []
    for name, text in raw_tunes(collections):
        title = re.search(r"(?m)^T:\s*(.*)$", text)
        try:
            tune = simplify(parse(text, strict=True))
            if len(melody(tune)) < 16:
                raise AbcError("fewer than 16 notes")
            sources.append(Source(name, title[1].strip() if title else "", tune))
        except AbcError as error:
            left_out[re.sub(r"[\d/]+|'.*?'", "*", str(error))] += 1
    return share_items(assign_splits(sources)), left_out


def share_items(sources: list[Source]) -> list[Source]:
    """The same tunes, equal items one object: 2,000 instead of 430,000, and a twelfth of the size when pickled."""
    first: dict[Item, Item] = {}
    return [
        replace(source, tune=replace(source.tune, items=tuple(first.setdefault(i, i) for i in source.tune.items)))
        for source in sources
    ]


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
        notes = melody(source.tune)
        intervals = [b[0] - a[0] for a, b in zip(notes, notes[1:], strict=False)]
        whole = (*intervals, *(d for _, d in notes))
        grams.append({tuple(intervals[i : i + 8]) for i in range(len(intervals) - 7)})
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


def without_quotations(sources: list[Source]) -> list[Source]:
    """Leave out tunes of val and test that share a run of 24 (interval, length) pairs with a tune of another split."""
    homes: dict[tuple[int, ...], str] = {}
    numbers: dict[tuple[int, Fraction], int] = {}  # of pairs: runs of fractions would take ten times as long to hash
    out: list[Source] = []
    for split, _ in SPLITS:
        for source in (s for s in sources if s.split == split):
            notes = melody(source.tune)
            steps = [(b[0] - a[0], b[1]) for a, b in zip(notes, notes[1:], strict=False)]
            pairs = [numbers.setdefault(step, len(numbers)) for step in steps]
            runs = {tuple(pairs[i : i + QUOTED]) for i in range(len(pairs) - QUOTED + 1)}
            if all(homes.get(run, split) == split for run in runs):
                homes.update(dict.fromkeys(runs, split))
                out.append(source)
    kept = {source.name for source in out}
    return [source for source in sources if source.name in kept]


def split_of(cluster: str) -> str:
    """The split of a cluster, by the hash of its name."""
    percent = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:4], "big") % 100
    for split, share in SPLITS:
        if percent < share:
            return split
        percent -= share
    raise AssertionError("shares of SPLITS don't sum to 100")
