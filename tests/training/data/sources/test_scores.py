"""MusicXML of our own is read back as it was, and real scores sound as their files say.

What our MusicXML can't say, so that it isn't read back: line breaks, ties that no note answers, slurs of no length,
`baritone` (its clef is F on line 3, read as `bass3`), and the decorations that training doesn't draw.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest

from runtime.abc.reader import AbcError, parse
from runtime.abc.sounding_pitches import sound
from runtime.abc.tune import STEPS, Event, Tune, write
from runtime.notation.score import to_musicxml
from tests.music import line
from tests.runtime.random_tunes import random_tune
from training.data.sources.musicxml.staves import Staff, read_score, read_staves
from training.data.sources.scores import EXCLUDED, FREE, TABLES, UNCLEAR, is_string_quartet, score_files, scores, terms


def every_file() -> list[tuple[str, Path]]:
    return [file for collection in TABLES for file in score_files(collection)]


def test_compressed_files_are_read_and_others_refused(tmp_path: Path) -> None:
    packed = tmp_path / "score.mxl"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "META-INF/container.xml",
            "<container xmlns='urn:x'><rootfiles><rootfile full-path='music.xml'/></rootfiles></container>",
        )
        archive.writestr("music.xml", to_musicxml(parse("K:C\nCDEF|")))
    assert len(next(read_staves(read_score(packed))).tune.events) == 4
    for name, content in {"a.xml": b"<score-timewise/>", "b.xml": b"no XML", "c.mxl": b"PK no archive"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AbcError):
            read_score(tmp_path / name)


def read_back(tune: Tune) -> Staff:
    return next(read_staves(ElementTree.fromstring(to_musicxml(tune))))


@pytest.mark.parametrize("number", range(12))
def test_invented_lines_are_read_back_as_they_were_written(number: int) -> None:
    tune = line(3, number, bars=4)
    assert write(read_back(tune).tune) == write(tune)


@pytest.mark.parametrize(
    "body",
    [
        "|:!p!C2(!accent!^D.E)- E2 F2&(.A,4G,4)|[1!trill!{/AB}c3/2d/2[K:clef=bass]C,4:|[2!fermata![K:Eb]Z||",
        "z2[M:3/4](3CDE F2[CEG]2-|[CEG]6&x4C2|Z3|{^c}!arpeggio![^CE]6|]",
        "!/!C!//!D !///!E!turn!F!upbow!G4|!ff!(5:4:5ABABA !sfz!!marcato!A2x2|",
    ],
)
def test_lines_with_everything_are_read_back_as_they_were_written(body: str) -> None:
    tune = parse(f"X:1\nL:1/8\nM:C\nK:G clef=treble-8\n{body}\n", strict=True)
    assert write(read_back(tune).tune) == write(tune)


def heard(tune: Tune) -> list[tuple[str, Fraction]]:
    """Every notehead's pitch and length."""
    pairs = [(item, sounded) for item, sounded in sound(tune) if isinstance(item, Event) and sounded]
    return [(tone.name, sounded.length) for _, sounded in pairs for tone in sounded.tones]


@pytest.mark.parametrize("seed", range(16))
def test_whatever_is_read_back_sounds_the_same_and_stays_as_it_is(seed: int) -> None:
    tune = random_tune(seed)
    first = read_back(tune)
    if not first.lost:
        assert heard(first.tune) == heard(tune)
        assert read_back(first.tune).tune == first.tune


def sounding_measures(score: ElementTree.Element) -> Iterator[tuple[str, list[Counter[tuple[str, int]]]]]:
    """(part.staff, pitches and alterations of every measure) read without any of our code."""
    for number, part in enumerate(score.iterfind("part"), 1):
        count = max((int(s.text or 1) for s in part.iter("staves")), default=1)
        for staff in range(1, count + 1):
            out: list[Counter[tuple[str, int]]] = []
            for measure in part.iterfind("measure"):
                out.append(Counter())
                for note in measure.iterfind("note"):
                    pitch = note.find("pitch")
                    if pitch is not None and int(note.findtext("staff", "1")) == staff:
                        name = f"{pitch.findtext('step')}{pitch.findtext('octave')}"
                        out[-1][name, int(pitch.findtext("alter", "0"))] += note.get("print-object") != "no"
            yield f"{number}.{staff}", out


def test_twenty_scores_sound_as_their_files_say_note_by_note() -> None:
    checked = 0
    files = list(every_file())
    for _, path in files[:: len(files) // 20]:
        score = read_score(path)
        expected = dict(sounding_measures(score))
        for staff in read_staves(score):
            if staff.lost or any(event.graces for event in staff.tune.events):
                continue  # grace notes after the last note are left out
            bars = [[item for item in bar if isinstance(item, Event)] for bar in staff.tune.bars()]
            tones = iter([sounded.tones for item, sounded in sound(staff.tune) if isinstance(item, Event) and sounded])
            for bar, wanted in zip(bars, expected[staff.name], strict=True):
                found = [tone for _ in bar for tone in next(tones)]
                assert Counter((f"{STEPS[t.step % 7]}{t.step // 7}", t.alter) for t in found) == +wanted, path
                checked += len(found)
    assert checked > 5000


def test_every_file_has_terms_or_is_left_out() -> None:
    every = dict(every_file())
    free = dict(score_files("scores"))
    assert free and free.keys() < every.keys()
    for name in every:
        assert not terms(name, EXCLUDED)
        assert bool(terms(name, FREE)) != bool(terms(name, UNCLEAR)), name
        assert (name in free) == bool(terms(name, FREE))


def test_no_string_quartet_is_among_the_lines() -> None:
    parts = "".join(
        f"<score-part><part-name>{name}</part-name></score-part>"
        for name in ("1st Violin", "Violin II.", "Viola", "Violoncello")
    )
    quartet = ElementTree.fromstring(f"<score-partwise><part-list>{parts}</part-list></score-partwise>")
    assert is_string_quartet(quartet)
    names = [name for name, _ in every_file()]
    assert len(names) > 550
    for composer in ("beethoven", "haydn", "mozart/k155", "mozart/k458", "schumann_robert/opus41"):
        assert not any(name.startswith(composer) for name in names)


def test_free_scores_are_canonical_lines_with_names_of_their_own() -> None:
    lost: Counter[str] = Counter()
    lines = list(scores("scores", lost=lost))
    assert len({name for name, _ in lines}) == len(lines) == 21
    assert ("scores/weber/concertino_clarinet/1.1") in dict(lines)
    for name, tune in lines:
        assert parse(write(tune), strict=True) == tune, name
    assert sum(lost.values()) < 0.07 * sum(len(tune.bars()) for _, tune in lines)
