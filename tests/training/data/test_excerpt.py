"""Excerpts: valid, varied, reproducible."""

from __future__ import annotations

from collections import Counter

import pytest

from runtime.abc import CLEF_BOTTOM, Bar, Tune, write
from runtime.abc_reader import parse
from training.data.corpus import Source
from training.data.excerpt import HIGHEST, LOWEST, Mix, excerpt, signature_alter

COUNT = 400


@pytest.fixture(scope="module")
def lines(sources: list[Source]) -> list[tuple[Tune, str]]:
    train = [source for source in sources if source.split == "train"]
    return [excerpt(train, seed=3, index=index) for index in range(COUNT)]


def test_an_excerpt_is_a_function_of_seed_and_index(sources: list[Source], lines: list[tuple[Tune, str]]) -> None:
    train = [source for source in sources if source.split == "train"]
    assert excerpt(train, 3, 17) == lines[17]
    assert excerpt(train, 4, 17) != lines[17]


def test_every_label_reads_back_as_what_is_drawn(lines: list[tuple[Tune, str]]) -> None:
    for tune, _ in lines:
        assert parse(write(tune), strict=True) == tune


def test_notes_stay_within_the_picture(lines: list[tuple[Tune, str]]) -> None:
    for tune, _ in lines:
        steps = [p.step - CLEF_BOTTOM[tune.clef] for e in tune.events for p in e.pitches]
        assert all(LOWEST <= step <= HIGHEST for step in steps)


def test_two_thirds_are_continuation_lines(lines: list[tuple[Tune, str]]) -> None:
    share = sum(tune.meter is None for tune, _ in lines) / COUNT
    assert 0.58 < share < 0.75


def test_ties_and_slurs_are_closed_at_the_cuts(lines: list[tuple[Tune, str]]) -> None:
    for tune, _ in lines:
        events = tune.events
        assert not events[-1].tie
        assert sum(e.slur_starts for e in events) == sum(e.slur_ends for e in events)
        for event, following in zip(events, events[1:], strict=False):
            if event.tie:
                assert {p.step for p in event.pitches} & {p.step for p in following.pitches}


def test_a_line_ends_with_a_bar_line_that_an_engraver_would_draw_there(lines: list[tuple[Tune, str]]) -> None:
    for tune, _ in lines:
        end = tune.items[-1]
        assert isinstance(end, Bar) and end.text not in ("::", "|:")


def test_all_keys_clefs_and_lengths_of_one_to_eight_bars_occur(lines: list[tuple[Tune, str]]) -> None:
    assert {tune.key for tune, _ in lines} == set(range(-7, 8))
    assert {tune.clef for tune, _ in lines} == {"treble", "bass", "alto"}
    bars = Counter(len(tune.bars()) for tune, _ in lines)
    assert set(range(1, 9)) <= set(bars)


def test_a_third_is_invented_and_the_rest_comes_from_the_given_tunes(lines: list[tuple[Tune, str]]) -> None:
    origins = [origin for _, origin in lines]
    assert 0.25 < origins.count("invented") / COUNT < 0.45
    assert len(set(origins)) > 200


def test_bars_can_be_limited(sources: list[Source]) -> None:
    assert all(len(excerpt(sources, 1, n, Mix(bars=(1, 2)))[0].bars()) <= 2 for n in range(40))


@pytest.mark.parametrize(
    ("key", "letter", "alter"), [(1, "F", 1), (1, "C", 0), (-2, "E", -1), (-2, "A", 0), (7, "B", 1), (-7, "F", -1)]
)
def test_signature_alters_the_right_steps(key: int, letter: str, alter: int) -> None:
    assert signature_alter("CDEFGAB".index(letter) + 35, key) == alter
