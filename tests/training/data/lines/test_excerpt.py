"""Excerpts: valid, varied, reproducible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from runtime.abc.reader import parse
from runtime.abc.staves import parse_staves, write_staves
from runtime.abc.tune import CLEF_BOTTOM, Bar, Change, Event, Overlay, Tune, atoms, write
from tests.source import ROOT
from training.data.dataset.build import MIXES
from training.data.lines.excerpt import Mix, close_ties, excerpt, excerpt_staves
from training.data.lines.rework import bar_lengths
from training.data.lines.transpose import HIGHEST, LOWEST, signature_alter
from training.data.sources.scope import LABELLED
from training.data.sources.splits import Source

COUNT = 400


@pytest.fixture(scope="module")
def lines(sources: list[Source]) -> list[tuple[Tune, str]]:
    train = simple_ones(sources)
    return [excerpt(train, seed=3, index=index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def wide(sources: list[Source]) -> list[Tune]:
    return [excerpt(sources, seed=4, index=index, mix=MIXES["train"])[0] for index in range(COUNT)]


def simple_ones(sources: list[Source]) -> list[Source]:
    return [source for source in sources if source.split == "train" and source.simple]


def test_an_excerpt_is_a_function_of_seed_and_index(sources: list[Source], lines: list[tuple[Tune, str]]) -> None:
    train = simple_ones(sources)
    assert excerpt(train, 3, 17) == lines[17]
    assert excerpt(train, 4, 17) != lines[17]


def test_every_label_reads_back_as_what_is_drawn(lines: list[tuple[Tune, str]], wide: list[Tune]) -> None:
    for tune in [*(tune for tune, _ in lines), *wide]:
        assert parse(write(tune), strict=True) == tune


def test_notes_stay_within_the_picture(lines: list[tuple[Tune, str]], wide: list[Tune]) -> None:
    for tune in [*(tune for tune, _ in lines), *wide]:
        clef = tune.clef
        for item in tune.items:
            if isinstance(item, Change) and item.kind == "clef":
                clef = item.value
            if isinstance(item, Event):
                assert all(LOWEST <= p.step - CLEF_BOTTOM[clef] <= HIGHEST for p in item.pitches), write(tune)


def test_the_whole_notation_occurs(wide: list[Tune]) -> None:
    texts = Counter(atom.text for tune in wide for atom in set(atoms(tune)))
    marks = Counter(mark for tune in wide for event in tune.events for mark in event.decorations)
    assert LABELLED - set(marks) <= {"ppp", "fff", "sfz", "fp", "coda", "segno"}  # rare: missing now and then
    assert all(texts[text] for text in ("&", "[1", "[2", "(5", "(6", "Z", "{/", "::"))
    kinds = Counter(item.kind for tune in wide for item in tune.items if isinstance(item, Change))
    assert min(kinds[kind] for kind in ("clef", "key", "meter")) > 3
    assert len({tune.clef for tune in wide}) >= 6


def test_two_voices_fill_their_bar_alike(wide: list[Tune]) -> None:
    checked = 0
    for tune in wide:
        for bar, both in zip(tune.bars(), bar_lengths(tune), strict=True):
            at = next((i for i, item in enumerate(bar) if isinstance(item, Overlay)), None)
            if at is not None and all(event.tuplet is None for event in bar if isinstance(event, Event)):
                second = sum(item.duration for item in bar[at:] if isinstance(item, Event))
                assert both == 2 * second, write(tune)
                checked += 1
    assert checked > 20


def test_a_grand_staff_has_equal_bar_lines(sources: list[Source]) -> None:
    train = simple_ones(sources)
    drawn = [staves for n in range(60) if (staves := excerpt_staves(train, 1, n, MIXES["grand"])[0])]
    assert len(drawn) > 30
    for upper, lower in drawn:
        bars = [[i.text for i in staff.items if isinstance(i, Bar)] for staff in (upper, lower)]
        assert bars[0] == bars[1]
        assert parse_staves(write_staves([upper, lower]), strict=True) == [upper, lower]


def test_two_thirds_are_continuation_lines(lines: list[tuple[Tune, str]]) -> None:
    share = sum(tune.meter is None for tune, _ in lines) / COUNT
    assert 0.58 < share < 0.75


@pytest.mark.parametrize(
    "text, closed",
    [
        ("c-c|", "c-c|"), ("^c-|c|", "^c-|c|"), ("^c-|^c|", "^c-|^c|"), ("[ce]-[cg]|", "[ce]-[cg]|"),
        ("c-^c|", "c^c|"), ("^c-|=c|", "^c|=c|"), ("[ce]-[c^e]|", "[ce][c^e]|"), ("c-d|", "cd|"), ("c-z|", "cz|"),
        ("c-|", "c|"), ("[^ca]-|[c_a]-|[^ca]|", "[^ca]|[c_a]|[^ca]|"), ("c2-&A2|c2&A2-|c2&A2|", "c2-&A2|c2&A2-|c2&A2|"),
    ],
)  # fmt: skip
def test_a_tie_goes_on_in_every_notehead_that_is_repeated(text: str, closed: str) -> None:
    """`c-^c` would be drawn as a slur is."""
    assert close_ties(parse(f"L:1/8\nK:C\n{text}")) == parse(f"L:1/8\nK:C\n{closed}")


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
    assert all(len(excerpt(simple_ones(sources), 1, n, Mix(bars=(1, 2)))[0].bars()) <= 2 for n in range(40))


@pytest.mark.parametrize(
    ("key", "letter", "alter"), [(1, "F", 1), (1, "C", 0), (-2, "E", -1), (-2, "A", 0), (7, "B", 1), (-7, "F", -1)]
)
def test_signature_alters_the_right_steps(key: int, letter: str, alter: int) -> None:
    assert signature_alter("CDEFGAB".index(letter) + 35, key) == alter


def test_the_benchmark_counts_different_labels() -> None:
    command = [sys.executable, "benchmarks/distinct_labels.py", "--labels", "150", "--mix", "invented"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    labels = Counter(write(excerpt([], 0, index, MIXES["invented"])[0]) for index in range(found["draws"]))
    assert found["labels"] == 150 == len(labels)
