"""MusicXML's ties, voices, bar lines and signatures as canonical ABC, and bars that canonical ABC can't say."""

from __future__ import annotations

import pytest

from runtime.abc.sounding_pitches import sound
from runtime.abc.tune import write

from .snippets import BACK, COMMON, HEAD, HIDDEN, STOP, TIE, V2, direction, n, read, slur, staves


def test_ties_bind_a_repeated_pitch_and_nothing_else() -> None:
    assert read(n("C4", 4, marks=TIE) + n("C4", 4, marks=TIE + STOP), n("C4", 8, marks=STOP)) == "C4-C4-|C8|"
    assert read(n("C4", 4, "<tie type='start'/>") + n("D4", 4)) == "C4D4|"
    assert read(n("C4", 8, marks=TIE), n("z", 4) + n("C4", 4)) == "C8|z4C4|"


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (n("C5", 4) + n("D5", 4) + BACK + n("E4", 8, V2), "c4d4&E8|"),
        (n("E4", 8, V2) + BACK + n("C5", 4) + n("D5", 4), "c4d4&E8|"),  # by the number, not by the order
        (n("E4", 8, "<stem>down</stem>") + BACK + n("C5", 8, "<voice>2</voice><stem>up</stem>"), "c8&E8|"),
        (n("C5", 8) + BACK + n("z", 4, V2, at=HIDDEN) + n("E4", 4, V2), "c8&x4E4|"),
        (n("C5", 8) + BACK + n("E4", 4, V2), "c8&E4x4|"),
        (n("C5", 8) + BACK + n("z", 8, V2, at=HIDDEN), "c8|"),
        (n("C5", 8) + BACK + "<forward><duration>240</duration></forward>" + n("z", 4, V2), "c8&x4z4|"),
        (n("C5", 8) + BACK + f"<note><rest measure='yes'/><duration>480</duration>{V2}</note>", "c8&Z|"),
        (n("C5", 4) + n("E4", 4, V2), "c4E4|"),  # never together: drawn as one
        (n("C5", 4, marks=slur("start")) + n("D5", 4, marks=slur("stop")) + BACK + n("E4", 4, V2, marks=slur("start"))
         + n("F4", 4, V2, marks=slur("stop")), "(c4d4)&(E4F4)|"),
    ],
)  # fmt: skip
def test_a_second_voice_is_an_overlay(measure: str, expected: str) -> None:
    assert read(measure) == expected


def test_ties_stay_in_their_voice() -> None:
    bar = n("C5", 8, marks="{0}") + BACK + n("E4", 8, V2, marks="{1}")
    assert read(bar.format(TIE, TIE), bar.format(STOP, STOP)) == "c8-&E8-|c8&E8|"
    assert read(bar.format("", TIE), n("E4", 8, marks=STOP)) == "c8&E8|E8|"


def bar_line(inside: str, location: str = "right") -> str:
    return f"<barline location='{location}'>{inside}</barline>"


FORWARD, BACKWARD = "<repeat direction='forward'/>", "<repeat direction='backward'/>"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (bar_line("<bar-style>light-light</bar-style>"), "", "||"),
        (bar_line("<bar-style>light-heavy</bar-style>"), "", "|]"),
        (bar_line("<bar-style>dashed</bar-style>"), "", ".|"),
        (bar_line("<bar-style>light-heavy</bar-style>" + BACKWARD), "", ":|"),
        ("", bar_line("<bar-style>heavy-light</bar-style>" + FORWARD, "left"), "|:"),
        (bar_line(BACKWARD), bar_line(FORWARD, "left"), "::"),
        ("", bar_line("<ending number='1' type='start'/>", "left"), "|[1"),
        (bar_line(BACKWARD), bar_line("<ending number='2' type='start'/>", "left"), ":|[2"),
        ("", bar_line("<ending number='1, 2' type='start'/>", "left"), "|[1,2"),
    ],
)
def test_bar_lines_repeats_and_endings(before: str, after: str, expected: str) -> None:
    assert read(n("C4", 8) + before, after + n("D4", 8)) == f"C8{expected}D8|"


CLEFS = {
    "treble": "G2", "treble-8": "G2-1", "treble+8": "G21", "treble1": "G1", "soprano": "C1", "mezzosoprano": "C2",
    "alto": "C3", "tenor": "C4", "baritone": "C5", "bass3": "F3", "bass": "F4", "bass-8": "F4-1",
}  # fmt: skip


@pytest.mark.parametrize("name", CLEFS)
def test_notes_stand_where_the_clef_puts_them(name: str) -> None:
    sign, line_, octave = CLEFS[name][0], CLEFS[name][1], CLEFS[name][2:] or "0"
    clef = f"<clef><sign>{sign}</sign><line>{line_}</line><clef-octave-change>{octave}</clef-octave-change></clef>"
    (staff,) = staves(n("C4", 8), head=COMMON + clef + "</attributes>")
    assert staff.tune.clef == name
    assert [tone.name for _, sounded in sound(staff.tune) if sounded for tone in sounded.tones] == ["C4"]
    assert staff.tune.events[0].pitches[0].step == 28 - 7 * int(octave)


def test_changes_stand_where_they_are_printed() -> None:
    bass = "<attributes><clef><sign>F</sign><line>4</line></clef></attributes>"
    key = "<attributes><key><fifths>2</fifths></key></attributes>"
    time = "<attributes><time symbol='cut'><beats>2</beats><beat-type>2</beat-type></time></attributes>"
    assert read(n("C4", 8), key + time + n("C4", 4) + bass + n("C4", 4)) == "C8|[K:D][M:C|]=C4[K:clef=bass]C4|"
    assert read(n("C4", 8) + bass, n("C4", 8)) == "C8[K:clef=bass]|C8|"
    hidden = time.replace("<time", f"<time {HIDDEN}")
    assert read(n("C4", 8), hidden + n("C4", 8)) == "C8|C8|"


@pytest.mark.parametrize(("symbol", "meter"), [("symbol='common'", "C"), ("symbol='cut'", "C|"), ("", "4/4")])
def test_the_meter_keeps_its_symbol(symbol: str, meter: str) -> None:
    assert staves(n("C4", 8), head=HEAD.replace("symbol='common'", symbol))[0].tune.meter == meter


def test_a_meter_that_is_not_printed_is_none() -> None:
    assert staves(n("C4", 8), head=HEAD.replace("<time", f"<time {HIDDEN}"))[0].tune.meter is None


def test_without_beams_in_the_file_the_beat_parts_them() -> None:
    assert read("".join(n(f"{step}4", 1) for step in "CDEFGABA")) == "CD EF GA BA|"
    meter = HEAD.replace("<beats>4</beats><beat-type>4", "<beats>6</beats><beat-type>8").replace("symbol='common'", "")
    assert read("".join(n(f"{step}4", 1) for step in "CDEFGA"), head=meter) == "CDE FGA|"


def test_a_multiple_rest_is_one_sign() -> None:
    rest = "<note><rest measure='yes'/><duration>480</duration></note>"
    several = "<attributes><measure-style><multiple-rest>3</multiple-rest></measure-style></attributes>"
    assert read(n("C4", 8), several + rest, rest, rest, n("D4", 8)) == "C8|Z3|D8|"
    assert read(rest, rest) == "Z|Z|"


def test_each_staff_of_a_part_is_a_line_of_its_own() -> None:
    two = "<attributes><staves>2</staves><clef number='1'><sign>G</sign></clef><clef number='2'><sign>F</sign></clef>"
    found = staves(
        two + "</attributes>" + n("C5", 8) + BACK + n("C3", 8, "<voice>5</voice><staff>2</staff>"), head=HEAD
    )
    assert [(staff.name, staff.tune.clef, write(staff.tune).split("\n")[-2]) for staff in found] == [
        ("1.1", "treble", "c8|"),
        ("1.2", "bass", "C,8|"),
    ]


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (n("C4", 8, "<cue/>"), "a cue note"),
        (n("C4", 8) + BACK + n("E4", 8, V2) + BACK + n("G4", 8, "<voice>3</voice>"), "more than two voices in a bar"),
        (n("C4", 8) + BACK + n("D4", 8), "notes of one voice overlap"),
        (n("C4", 8) + n("+C#4", 8), "two alterations of one step in a chord"),
        (n("C4", 8).replace("<alter>0", "<alter>0.5"), "alteration 0.5"),
        (n("C4", 8, "<notehead>x</notehead>"), "a notehead of another shape"),
        ("".join(n("C4", 1, ratio="11:8") for _ in range(11)), "a tuplet 11:8"),
        (n("C4", 2, ratio="3:2") + n("D4", 4), "a tuplet that doesn't end in its bar"),
        (n("C4", 8) + bar_line("<bar-style>none</bar-style>"),
         "a bar line that isn't drawn, or is drawn in another way"),
        (n("C4", 4, marks="<ornaments><tremolo type='start'>3</tremolo></ornaments>"), "a tremolo between notes"),
        (direction("<octave-shift type='down'/>") + n("C4", 8) + direction("<octave-shift type='stop'/>"),
         "an octave line"),
        ("<note><unpitched/><duration>480</duration><type>whole</type></note>", "a note without pitch"),
        (n("C4", 8).replace("whole", "long"), "length long with 0 dots"),
    ],
)  # fmt: skip
def test_a_bar_that_canonical_abc_cannot_say_cuts_the_line(bad: str, cause: str) -> None:
    (staff,) = staves(n("C4", 8), bad, n("D4", 8, marks=TIE), n("D4", 8, marks=STOP))
    assert write(staff.tune).split("\n")[-2] == "D8-|D8|"
    assert staff.lost == {cause: 1, "outside the longest run of usable bars": 1}


def test_a_line_that_starts_later_has_the_signatures_in_force_there() -> None:
    key = "<attributes><key><fifths>2</fifths></key></attributes>"
    (staff,) = staves(key + n("C4", 8, "<cue/>"), n("C#4", 8))
    assert write(staff.tune) == "X:1\nL:1/8\nM:C\nK:D clef=treble\nC8|\n"
