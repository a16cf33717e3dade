"""MusicXML's notes, decorations and accidentals as canonical ABC, a snippet for each notation."""

from __future__ import annotations

import pytest

from .snippets import BACK, HIDDEN, STOP, TIE, V2, beam, direction, n, read, slur


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (n("C4") + n("E4", 4) + n("G4"), "C2E4G2|"),
        (n("C4", "3") + n("D4", "1") + n("E4", "7/2") + n("F4", "1/2"), "C3DE7/2F/2|"),
        (n("C4", 8) + n("+E4", 8) + n("+B4", 8), "[CEB]8|"),
        (n("G4", 8) + n("+C4", 8), "[CG]8|"),
        (n("z", 4) + n("C5", 4), "z4c4|"),
        (n("z", 8), "Z|"),
        ("<note><rest measure='yes'/><duration>480</duration></note>", "Z|"),
        ("<forward><duration>480</duration></forward>", "Z|"),
        ("<note><rest/><duration>360</duration></note>", "Z|"),
        (n("C4", 4) + n("z", 4, at=HIDDEN), "C4x4|"),
        (n("C4", 4) + n("D4", 4, at=HIDDEN), "C4x4|"),
        ("<forward><duration>240</duration></forward>" + n("C4", 4), "x4C4|"),
        (n("'B4") + n("C5", 8), "{B}c8|"),
        (n("'B4").replace("<grace/>", "<grace slash='yes'/>") + n("'A4") + n("C5", 8), "{/BA}c8|"),
        (n("'B4") + n("+'D5").replace("<grace/>", "") + n("C5", 8), "{[Bd]}c8|"),
        (n("C5", 8) + n("'B4"), "c8|"),  # a grace note after the last note has no place in canonical ABC
        (n("C4", 1, beam("begin")) + n("D4", 1, beam("end")) + n("E4", 1) + n("F4", 1) + n("G4", 4), "CD E FG4|"),
        (n("C4", 4, marks=slur("start")) + n("D4", marks=slur("stop")) + n("E4"), "(C4D2)E2|"),
        (
            n("C4", marks=slur("start") + slur("start", 2))
            + n("D4", marks=slur("stop", 2))
            + n("E4", marks=slur("stop") + slur("start"))
            + n("F4", marks=slur("stop")),
            "((C2D2)(E2)F2)|",
        ),
        (n("C4", 4, marks=slur("start")) + n("D4", 4), "C4D4|"),  # a slur without an end
        (n("'B4", marks=slur("start")) + n("C5", 8, marks=slur("stop")), "{B}c8|"),
        ("".join(n("C4", 2, ratio="3:2") for _ in range(6)), "(3C2C2C2(3C2C2C2|"),
        (n("C4", 2, ratio="3:2") + n("D4", 4, ratio="3:2") + n("E4", 4), "(3:2:2C2D4E4|"),
        (n("C4", 2, ratio="2:3") + n("D4", 2, ratio="2:3") + n("E4", 2), "(2C2D2E2|"),
        (
            n("C4", 1, ratio="3:2", marks="<tuplet type='start'/>")
            + n("D4", 2, ratio="3:2")
            + n("E4", 2, ratio="3:2")
            + n("F4", 1, ratio="3:2", marks="<tuplet type='stop'/>")
            + n("G4", 4),
            "(3:2:4CD2E2FG4|",
        ),
        ("".join(n("C4", 1, ratio="5:4") for _ in range(5)) + n("D4", 4), "(5:4:5CCC CCD4|"),
        (n("C4", 2, ratio="3:2") + n("z", 2, ratio="3:2", at=HIDDEN) + n("C4", 2, ratio="3:2") + n("D4", 4),
         "(3C2x2C2D4|"),
    ],
)  # fmt: skip
def test_notes_rests_and_what_groups_them(measure: str, expected: str) -> None:
    assert read(measure) == expected


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("<articulations><staccato/><accent/></articulations>", "!accent!."),
        ("<articulations><tenuto/></articulations>", "!tenuto!"),
        ("<articulations><strong-accent/></articulations>", "!marcato!"),
        ("<articulations><staccatissimo/></articulations>", "!staccatissimo!"),
        ("<articulations><detached-legato/></articulations>", "!tenuto!."),
        ("<fermata/>", "!fermata!"),
        ("<ornaments><trill-mark/><wavy-line type='start'/></ornaments>", "!trill!"),
        ("<ornaments><turn/></ornaments>", "!turn!"),
        ("<ornaments><inverted-turn/></ornaments>", "!invertedturn!"),
        ("<ornaments><inverted-mordent/></ornaments>", "!uppermordent!"),
        ("<ornaments><mordent/></ornaments>", "!lowermordent!"),
        ("<ornaments><tremolo type='single'>1</tremolo></ornaments>", "!/!"),
        ("<ornaments><tremolo>3</tremolo></ornaments>", "!///!"),
        ("<technical><up-bow/></technical>", "!upbow!"),
        ("<technical><down-bow/><fingering>2</fingering></technical>", "!downbow!"),
        ("<arpeggiate/>", "!arpeggio!"),
        ("<dynamics><sfz/></dynamics>", "!sfz!"),
        ("<technical><fingering>3</fingering></technical><glissando type='start'/>", ""),
    ],
)
def test_decorations_of_a_note(marks: str, expected: str) -> None:
    assert read(n("C4", 8, marks=marks)) == f"{expected}C8|"


def test_a_decoration_of_any_note_belongs_to_the_chord() -> None:
    assert read(n("C4", 8) + n("+E4", 8, marks="<fermata/>")) == "!fermata![CE]8|"


@pytest.mark.parametrize(
    ("sign", "expected"),
    [(f"<dynamics><{name}/></dynamics>", f"!{name}!") for name in ("ppp", "p", "mf", "f", "fff", "sfz", "fp")]
    + [("<segno/>", "!segno!"), ("<coda/>", "!coda!"), ("<words>dolce</words>", ""), ("<wedge type='stop'/>", "")],
)
def test_a_direction_belongs_to_the_next_note(sign: str, expected: str) -> None:
    assert read(n("C4", 4) + direction(sign) + n("z", 2) + n("D4", 2)) == f"C4z2{expected}D2|"


def test_a_second_dynamic_before_one_note_goes_to_the_next() -> None:
    marks = direction("<dynamics><p/></dynamics>") + direction("<dynamics><f/></dynamics>")
    assert read(marks + n("C4", 4) + n("D4", 4)) == "!p!C4!f!D4|"


def test_a_direction_belongs_to_the_voice_that_it_names() -> None:
    mark = direction("<dynamics><p/></dynamics>", V2)
    assert read(n("C5", 8) + BACK + mark + n("E4", 4, V2) + n("F4", 4, V2)) == "c8&!p!E4F4|"


FLAT, SHARP, NATURAL = (f"<accidental>{name}</accidental>" for name in ("flat", "sharp", "natural"))


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ([n("F#4", 4, SHARP) + n("F#4", 4)], "^F4F4|"),
        ([n("F#4", 4) + n("F#4", 4), n("F#4", 8)], "^F4F4|^F8|"),  # derived: it holds up to the bar line
        ([n("F#4", 4) + n("F#5", 4)], "^F4^f4|"),  # and for its octave
        ([n("F#4", 4) + n("F4", 4)], "^F4=F4|"),
        ([n("F4", 4, NATURAL) + n("F4", 4)], "=F4F4|"),  # a courtesy accidental is kept
        ([n("F#4", 8, marks=TIE), n("F#4", 4, marks=STOP) + n("F#4", 4)], "^F8-|F4^F4|"),  # a tie doesn't renew it
        ([n("'F#4") + n("F#4", 8)], "{^F}F8|"),
        ([n("Bb4", 4) + n("+C5", 4) + n("B4", 4)], "[_Bc]4=B4|"),
        ([n("F#5", 8) + BACK + n("A4", 4, V2) + n("F#5", 4, V2)], "^f8&A4f4|"),
        ([n("C5", 4) + n("F#5", 4) + BACK + n("F5", 4, V2) + n("F#5", 4, V2)], "c4^f4&f4f4|"),
        ([n("F#4", 4, FLAT) + n("F4", 4, NATURAL)], "^F4=F4|"),  # what the file says of the sound counts
    ],
)  # fmt: skip
def test_accidentals_are_those_printed_and_those_needed(measures: list[str], expected: str) -> None:
    assert read(*measures) == expected


def test_the_key_signature_spares_accidentals() -> None:
    key = "<attributes><key><fifths>-2</fifths></key></attributes>"
    assert read(key + n("Bb4", 4) + n("B4", 4)) == "Bb clef=treble\nB4=B4|"
