"""Real tunes: all of them survive the canonical form, and no two versions of one stand in two splits."""

from __future__ import annotations

from collections import Counter

from runtime.abc import write
from runtime.abc_reader import parse
from training.data.corpus import Source, load_sources, melody, split_of


def test_nearly_all_tunes_of_the_collections_are_in_scope(sources: list[Source]) -> None:
    left_out = load_sources()[1]
    assert len(sources) > 3900
    assert sum(left_out.values()) < 250


def test_every_tune_round_trips_through_its_canonical_text(sources: list[Source]) -> None:
    for source in sources:
        assert parse(write(source.tune), strict=True) == source.tune, source.name


def test_splits_have_their_shares_and_follow_the_cluster(sources: list[Source]) -> None:
    counts = Counter(source.split for source in sources)
    assert 0.85 < counts["train"] / len(sources) < 0.95 and min(counts.values()) > 100
    assert split_of("oneills1850/1-99/0") == split_of("oneills1850/1-99/0")


def test_no_run_of_24_intervals_and_lengths_stands_in_two_splits(sources: list[Source]) -> None:
    homes: dict[tuple[object, ...], str] = {}
    for source in sources:
        notes = melody(source.tune)
        pairs = [(b[0] - a[0], b[1]) for a, b in zip(notes, notes[1:], strict=False)]
        for start in range(len(pairs) - 23):
            run = tuple(pairs[start : start + 24])
            assert homes.setdefault(run, source.split) == source.split, source.name
