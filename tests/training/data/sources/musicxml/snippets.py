"""Scores of one part written in a few characters a note, for tests of the MusicXML reader."""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree

from runtime.abc.tune import write
from runtime.notation.musicxml_signs import NOTE_TYPES
from training.data.sources.musicxml.staves import Staff, read_staves

DIVISIONS = 120  # ticks in a quarter
COMMON = "<attributes><divisions>120</divisions><time symbol='common'><beats>4</beats><beat-type>4</beat-type></time>"
HEAD = COMMON + "<clef><sign>G</sign><line>2</line></clef></attributes>"


def n(name: str, length: str | Fraction = "2", inside: str = "", marks: str = "", ratio: str = "", at: str = "") -> str:
    """A `<note>`: `F#4`, `z` or `+E4` (in a chord), `'E4` (grace); length written in eighths; ratio `3:2`."""
    written = Fraction(length)
    dots = next(d for d in range(3) if written / (2 - Fraction(1, 2**d)) in NOTE_TYPES)
    kind = NOTE_TYPES[written / (2 - Fraction(1, 2**dots))]
    p, _, q = (ratio or "1:1").partition(":")
    ticks = written * DIVISIONS / 2 * int(q) / int(p)
    bare = name.lstrip("+'")
    alter = {"#": 1, "b": -1}.get(bare[1:2], 0)
    what = f"<pitch><step>{bare[0]}</step><alter>{alter}</alter><octave>{bare[-1]}</octave></pitch>"
    parts = [
        "<chord/>" * name.startswith("+"),
        "<grace/>" * name.startswith("'"),
        "<rest/>" if name == "z" else what,
        "" if name.startswith("'") else f"<duration>{int(ticks)}</duration>",
        f"<type>{kind}</type>" + "<dot/>" * dots,
        f"<time-modification><actual-notes>{p}</actual-notes><normal-notes>{q}</normal-notes></time-modification>"
        if ratio
        else "",
        inside,
        f"<notations>{marks}</notations>" if marks else "",
    ]
    return f"<note {at}>{''.join(parts)}</note>"


def staves(*measures: str, head: str = HEAD) -> list[Staff]:
    """The staves of a score of one part with these measures."""
    bars = "".join(f"<measure>{head * (not i)}{measure}</measure>" for i, measure in enumerate(measures))
    return list(read_staves(ElementTree.fromstring(f"<score-partwise><part>{bars}</part></score-partwise>")))


def read(*measures: str, head: str = HEAD) -> str:
    """Canonical ABC of the only staff, without the header's lines before `K:`."""
    (staff,) = staves(*measures, head=head)
    assert not staff.lost
    return write(staff.tune).strip().split("K:", 1)[1].replace("C clef=treble\n", "")


def direction(sign: str, more: str = "") -> str:
    return f"<direction><direction-type>{sign}</direction-type>{more}</direction>"


def beam(state: str) -> str:
    return f"<beam number='1'>{state}</beam>"


def slur(kind: str, number: int = 1) -> str:
    return f"<slur type='{kind}' number='{number}'/>"


BACK = "<backup><duration>480</duration></backup>"
V2 = "<voice>2</voice>"
HIDDEN = "print-object='no'"
TIE, STOP = "<tied type='start'/>", "<tied type='stop'/>"
