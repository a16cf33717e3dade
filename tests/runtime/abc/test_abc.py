"""Canonical ABC: one spelling for each drawing."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.abc.reader import AbcError, parse
from runtime.abc.tidy import split_duration
from runtime.abc.tune import DURATIONS, Event, atoms, duration_text, write
from runtime.abc.words import read_length


def canonicalise(text: str) -> str:
    """Canonical text of any ABC text of one voice."""
    return write(parse(text))


def body(text: str, header: str = "L:1/8\nK:C\n") -> str:
    """The canonical music of a text, without its header."""
    return canonicalise(header + text).split("\n", 3)[-1].rstrip("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A  B c2 d |", "A Bc2d|"),  # a space only between flagged notes
        ("A>B c<d|", "A3/2B/2 c/2d3/2|"),  # broken rhythm is written out
        ("(A B) c|", "(A B) c|"),
        ("(A) B2|", "AB2|"),  # a slur over one note is no slur
        ("(AB|", "AB|"),  # nor is one that never ends
        ("(AB(c)de)|", "(AB(c)de)|"),  # one slur ends on the note where the next one starts
        ("(c2c2)(c2|c2) ([ce]2[ce]2)|", "c2-c2c2-|c2[ce]2-[ce]2|"),  # what looks like a tie is one
        ("(c(c)c2)(d{e}d) (.e.e) (f=f)|", "c-c-c2(d{e}d) (.e.e) (f=f)|"),  # unless the note is played again
        ("(ccc)|", "(ccc)|"),
        ("(3ABc (3A|B|", "(3ABc A|B|"),  # a tuplet is whole
        ("[EC]2 [GEC]|", "[CE]2[CEG]|"),  # chords from the bottom up
        ('"Am"A "text"B|', "A B|"),  # text is no part of it
        ("A:||:B|", "A::B|"),
        ("A|||B|]", "A||B|]"),
        ("A,,B,, {g}c'd''|", "A,,B,, {g}c'd''|"),
        ("z4|z2|", "Z|z2|"),  # a rest alone in its bar
        ("!trill!A .B|", "!trill!A .B|"),
        ("A//B/4 c3/2|", "A/4B/4 c3/2|"),
        ("^^A__B =c|", "^^A__B =c|"),
        ("A-|A2-A|", "A-|A2-A|"),
        ("A|[M:3/4]A[K:G]B[K:clef=bass]c|", "A|[M:3/4]A[K:G]B[K:clef=bass]c|"),
    ],
)
def test_each_drawing_has_one_spelling(text: str, expected: str) -> None:
    assert body(text) == expected
    assert body(expected) == expected


def test_unit_length_comes_from_the_meter_where_no_length_is_given() -> None:
    assert body("A2B|", "M:2/4\nK:C\n").endswith("AB/2|")
    assert body("A2B|", "M:4/4\nK:C\n").endswith("A2B|")


@pytest.mark.parametrize(
    ("key", "expected"), [("Em", "G"), ("Ddor", "C"), ("Bbmix", "Eb"), ("F#m bass", "A"), ("Gm clef=alto", "Bb")]
)
def test_modes_become_the_major_key_of_the_signature(key: str, expected: str) -> None:
    assert f"K:{expected} clef=" in canonicalise(f"L:1/8\nK:{key}\nA|")


def test_a_meter_is_written_only_where_one_is_drawn() -> None:
    assert "M:" not in canonicalise("L:1/8\nM:none\nK:C\nA|")
    assert "M:C|\n" in canonicalise("L:1/8\nM:C|\nK:C\nA|")


@pytest.mark.parametrize(
    ("field", "clef"),
    [
        ("V:1 bass nm=\"treble\"", "bass"), ("V:1 name=\"a\" clef=tenor", "tenor"), ("V:1", "treble"),
        ("V:1 treble-8", "treble-8"), ("K:none", "treble"), ("K:C clef=none", "none"),
    ],
)  # fmt: skip
def test_a_voice_or_a_key_says_the_clef(field: str, clef: str) -> None:
    assert parse(f"K:C\n{field}\nA|", strict=True).clef == clef


def test_a_system_ends_with_its_line_or_where_dollars_are_declared_with_one() -> None:
    music = "A|B|$ %2\nc|\nd|]\n"
    assert body(music) == "A|B|\nc|\nd|]"
    assert body(music, "L:1/8\nI:linebreak $\nK:C\n") == "A|B|\nc|d|]"


@pytest.mark.parametrize(
    "text",
    [
        "K:C\nA § B|", "K:H\nA|", "M:13/7\nK:C\nA|", "K:C\nV:2\nA|", "K:C\n(1A|", "K:C\n3A|", "K:C\nV:1 alto7\nA|",
        "K:C\nA[K:treble-15]B|", "K:C\nA[I:staff +1]B|",
    ],
)  # fmt: skip
def test_strict_reading_refuses_what_it_does_not_understand(text: str) -> None:
    with pytest.raises(AbcError):
        parse(text, strict=True)
    parse(text)


@given(st.text(alphabet="ABcd,'^_=[](){}|:-/2346 <>!z\n%KML", max_size=80))
def test_lenient_reading_never_fails_and_its_text_is_stable(text: str) -> None:
    once = canonicalise("L:1/8\nK:C\n" + text)
    assert canonicalise(once) == once


@pytest.mark.parametrize("duration", DURATIONS)
def test_a_length_is_its_base_and_its_dots(duration: Fraction) -> None:
    event = Event(duration=duration)
    assert event.base * Fraction(2 ** (event.dots + 1) - 1, 2**event.dots) == duration
    assert event.base.numerator & (event.base.numerator - 1) == 0
    assert read_length(duration_text(duration)) == duration


@pytest.mark.parametrize("eighths", range(1, 24))
def test_undrawable_lengths_split_into_drawable_ones(eighths: int) -> None:
    parts = split_duration(Fraction(eighths))
    assert sum(parts) == eighths and all(part in DURATIONS for part in parts)


def test_atoms_joined_are_the_text() -> None:
    text = "X:1\nL:1/8\nM:6/8\nK:D clef=bass\n|:{gf}(e3/2f/2) (3gab[CE]2-[CE]|z2:|\n"
    assert write(parse(text)) == text
    assert [a.text for a in atoms(parse(text))][:4] == ["clef=bass", "K:D", "M:6/8", "|:"]
