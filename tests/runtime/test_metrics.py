"""Scores: distances are right, equal music is equal, errors are counted where they are."""

from __future__ import annotations

import random
import time

import pytest

from runtime.abc.tune import write
from runtime.metrics import (
    NOTHING,
    align,
    cer,
    class_table,
    edit_distance,
    errors_by_class,
    note_accuracy,
    sequence_accuracy,
    ser,
    symbols,
)

from .random_tunes import random_reading, random_tune


def tune(body: str, head: str = "M:4/4\nK:C clef=treble") -> str:
    return f"X:1\nL:1/8\n{head}\n{body}\n"


def slow_distance(a: list[int], b: list[int]) -> int:
    """Wagner and Fischer's table, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(diagonal + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@pytest.mark.parametrize("seed", range(5))
def test_the_fast_distance_equals_the_slow_one(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        a, b = ([rng.randrange(4) for _ in range(rng.randrange(100))] for _ in range(2))
        assert edit_distance(a, b) == slow_distance(a, b) == edit_distance(b, a)


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_distances_known_by_heart(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == distance


def test_long_lines_are_compared_in_milliseconds() -> None:
    rng = random.Random(0)
    a, b = ([rng.randrange(200) for _ in range(2000)] for _ in range(2))
    start = time.process_time()  # its own, however busy the machine is
    edit_distance(a, b)
    assert time.process_time() - start < 1.0  # the table of 4,000,000 cells takes seconds


def test_rates_are_over_all_symbols_not_over_samples() -> None:
    references, readings = [[1] * 90, [1] * 10], [[1] * 90, [2] * 10]
    assert ser(references, readings) == pytest.approx(10.0)
    assert cer(["a" * 90, "b" * 10], ["a" * 90, ""]) == pytest.approx(10.0)
    assert ser([[1]], [[2, 3, 4]]) == pytest.approx(300.0)
    assert sequence_accuracy(references, readings) == 50.0


def test_a_missing_reading_is_an_error_not_a_shorter_list() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ser([[1], [2]], [[1]])


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        ("F2^f/2[CE]4z2|", "M:C|\nK:G clef=bass", "clef:F4 key:1 time:2/2 note:F#4:1/4 note:F#5:1/16 chord:C4+E4:1/2 "
         "rest:1/4 bar"),
        ("{/d}c2-c2 .G4|", "K:Bb clef=treble", "clef:G2 key:-2 grace:D5 note:C5:1/4 tie note:C5:1/4 note:G4:1/2 bar"),
        ("(3cdez|", "K:C clef=alto", "clef:C3 key:0 note:C5:1/12 note:D5:1/12 note:E5:1/12 rest:1/8 bar"),
        ("z8|Z2|Z|c|", "K:C clef=treble-8", "clef:G2-8 key:0 multirest:4 bar note:C4:1/8 bar"),
        ("c8|[K:C][M:3/4]d6|[K:clef=bass]", "M:4/4\nK:C clef=treble", "clef:G2 key:0 time:4/4 note:C5:1/1 bar time:3/4 "
         "note:D5:3/4 bar"),
        ("|:c8::d8:|", "K:C clef=treble", "clef:G2 key:0 note:C5:1/1 bar note:D5:1/1 bar"),
        ("^c8-|c4c4|", "K:C clef=treble", "clef:G2 key:0 note:C#5:1/1 tie bar note:C#5:1/2 note:C5:1/2 bar"),
        ("x4c4|", "K:C clef=treble", "clef:G2 key:0 note:C5:1/2 bar"),
        ("", "K:C clef=treble", ""),
    ],
)
def test_canonical_symbols(body: str, head: str, expected: str) -> None:
    assert symbols(tune(body, head)) == expected.split()


def test_ties_and_graces_can_be_left_out() -> None:
    assert symbols(tune("{d}c8-|c8|"), ignore=("tie", "grace"))[3:] == ["note:C5:1/1", "bar", "note:C5:1/1", "bar"]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_spelled_differently_but_means_the_same_is_equal(seed: int) -> None:
    """Bar lines of any kind, repeated signatures and line breaks cost nothing."""
    text = write(random_tune(seed))
    assert symbols(text.replace("||", "|").replace("|]", "|")) == symbols(text)
    head, _, body = text.rpartition("\nK:")
    key, _, music = body.partition("\n")
    assert symbols(f"{head}\nK:{key}\n[K:{key}]{music}") == symbols(text)


@pytest.mark.parametrize("seed", range(20))
def test_any_reading_has_symbols(seed: int) -> None:
    assert all(isinstance(symbol, str) for symbol in symbols(random_reading(seed)))


def test_note_accuracy_counts_pitch_and_length_of_noteheads() -> None:
    reference = tune("[CEG]4c2z2|")
    assert note_accuracy([reference], [reference]) == 100.0
    assert note_accuracy([reference], [tune("[CEG]4c4|")]) == pytest.approx(75.0)  # a length
    assert note_accuracy([reference], [tune("[C_EG]4c2z2|")]) == pytest.approx(75.0)  # a pitch
    assert note_accuracy([reference], [tune("{d}[CEG]4c2|")]) == 100.0  # graces and rests are no noteheads
    assert note_accuracy([reference], [""]) == 0.0
    assert note_accuracy([tune("c8|")], [tune("d8|e8|f8|")]) == 0.0


def test_an_alignment_has_as_many_differences_as_the_distance() -> None:
    rng = random.Random(1)
    for _ in range(50):
        a, b = ([rng.randrange(3) for _ in range(rng.randrange(20))] for _ in range(2))
        pairs = align(a, b)
        assert sum(x != y for x, y in pairs) == edit_distance(a, b)
        assert [x for x, _ in pairs if x is not NOTHING] == a
        assert [y for _, y in pairs if y is not NOTHING] == b


def test_errors_fall_on_the_class_that_was_misread() -> None:
    reference = symbols(tune("c2d2 e4|z4 f4|"))
    reading = symbols(tune("c2_d2 e4|f4|"))
    table = errors_by_class([reference], [reading])
    assert (table["note"].symbols, table["note"].substituted) == (4, 1)
    assert (table["rest"].symbols, table["rest"].missed, table["rest"].rate) == (1, 1, 100.0)
    assert table["bar"].edits == 0
    assert sum(row.edits for row in table.values()) == edit_distance(reference, reading)
    assert "| rest | 1 | 0 | 1 | 0 | 100.00 % |" in class_table(table)


def test_inventions_belong_to_what_was_invented() -> None:
    table = errors_by_class([["note:C4:1/4"]], [["time:4/4", "note:C4:1/4"]])
    assert (table["time"].symbols, table["time"].invented, table["time"].rate) == (0, 1, 100.0)
    assert table["note"].edits == 0
