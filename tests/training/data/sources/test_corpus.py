"""Real tunes: all of them survive the canonical form, and no two versions of one stand in two splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

from runtime.abc.reader import parse
from runtime.abc.tune import Event, Item, Pitch, write
from training.data.sources.corpus import load_sources
from training.data.sources.splits import Source, assign_splits, join_splits, split_of


def test_nearly_all_tunes_of_the_collections_are_in_scope(sources: list[Source]) -> None:
    left_out = load_sources()[1]
    assert len(sources) > 3900
    assert sum(left_out.values()) < 250


def test_every_tune_round_trips_through_its_canonical_text(sources: list[Source]) -> None:
    for source in sources:
        assert parse(write(source.tune), strict=True) == source.tune, source.name
        assert source.simple is None or parse(write(source.simple), strict=True) == source.simple, source.name


def test_splits_have_their_shares_and_follow_the_cluster(sources: list[Source]) -> None:
    counts = Counter(source.split for source in sources)
    assert 0.85 < counts["train"] / len(sources) < 0.95 and min(counts.values()) > 100
    assert split_of("oneills1850/1-99/0") == split_of("oneills1850/1-99/0")


def test_no_run_of_24_intervals_and_lengths_stands_in_two_splits(sources: list[Source]) -> None:
    homes: dict[tuple[object, ...], str] = {}
    for source in sources:
        notes = source.melody
        pairs = [(b[0] - a[0], b[1]) for a, b in zip(notes, notes[1:], strict=False)]
        for start in range(len(pairs) - 23):
            run = tuple(pairs[start : start + 24])
            assert homes.setdefault(run, source.split) == source.split, source.name


def test_music_that_is_added_later_moves_nothing_and_follows_its_versions(sources: list[Source]) -> None:
    placed = assign_splits([source for source in sources if source.simple][:400])
    version = next(source for source in placed if source.split == "test")
    moved = replace(version.tune, items=tuple(raised(item) for item in version.tune.items))
    notes = tuple(Event((Pitch(34 + n * n % 11),), Fraction(1 + n % 3)) for n in range(40))
    lines = [Source(f"new/piece/{n}", "", replace(moved, items=notes), piece="new/piece") for n in range(2)]
    quoted = Source("new/version", "", moved)
    after = join_splits(placed, [quoted, *lines])
    assert after[: len(placed)] == placed
    found = {source.name: source.split for source in after[len(placed) :]}
    assert found["new/version"] == "test"
    assert found["new/piece/0"] == found["new/piece/1"] == split_of("new/piece")


def raised(item: Item) -> Item:
    """A third higher."""
    if not isinstance(item, Event):
        return item
    return replace(item, pitches=tuple(replace(pitch, step=pitch.step + 2) for pitch in item.pitches))
