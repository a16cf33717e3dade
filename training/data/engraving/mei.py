"""Writes a line as MEI, Verovio's own language, with an id on everything that has a place in the labels.

We use MEI instead of MusicXML because Verovio keeps its ids in the SVG: notes are `n<item>_<pitch>`, accidentals
`a<item>_<pitch>`, grace notes `n<item>_g<number>`, rests `e<item>`, clef changes `c<item>`, measures `m<item of the
closing bar line>`; in a second staff the item's number follows `b`. Source: music-encoding.org, MEI 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from runtime.abc.sounding_pitches import octave_shift
from runtime.abc.tune import Bar, Change, Event, LineBreak, Overlay, Pitch, Tune, clefs_in_force, voices
from training.data.engraving.clutter import Clutter
from training.data.engraving.mei_layer import LayerStyle, Pair, layer
from training.data.engraving.mei_marks import anchor, marks

CLEFS = {
    "treble": ("G", 2), "treble1": ("G", 1), "soprano": ("C", 1), "mezzosoprano": ("C", 2), "alto": ("C", 3),
    "tenor": ("C", 4), "baritone": ("C", 5), "bass": ("F", 4), "bass3": ("F", 3), "perc": ("perc", 3),
}  # fmt: skip
BAR_STYLES = {
    "|": "single", "||": "dbl", "|]": "end", "[|": "heavy", "|:": "rptstart", ":|": "rptend", "::": "rptboth",
    ".|": "dashed",
}  # fmt: skip
HEAD = (
    '<?xml version="1.0"?><mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><music><body><mdiv><score>'
)
TAIL = "</section></score></mdiv></body></music></mei>"


class CannotEncode(Exception):
    """A line that this encoding has no place for."""


@dataclass
class _Bar:
    """A bar of one staff: its voices, what changes before it and inside it."""

    voices: list[list[Pair]] = field(default_factory=lambda: [[]])
    clefs: list[tuple[int, int, str]] = field(default_factory=list)  # voice, events before it, element
    signatures: list[Change] = field(default_factory=list)
    left: str = ""
    right: str = "invis"
    ending: str = ""  # that begins here
    index: int = 0  # of the closing bar line


def to_mei(staves: Sequence[Tune], clutter: Clutter | None = None) -> str:
    """MEI text of one line of music.

    Args:
        staves: from top to bottom, with equal bar lines.
        clutter: what is drawn but not labelled, on the first staff.

    Raises:
        CannotEncode: a key or meter that changes inside a bar, or staves of different lengths.
    """
    staves = [_sounding(staff) for staff in staves]
    bars = [_bars(staff, "b" * number) for number, staff in enumerate(staves)]
    if len({len(staff) for staff in bars}) != 1:
        raise CannotEncode("staves with different numbers of bars")
    prefixes = ["b" * number for number in range(len(staves))]
    voice = [voices(staff.items) for staff in staves]
    clutter = clutter or Clutter()
    out: list[str] = []
    ending = ""
    for number, row in enumerate(zip(*bars, strict=True)):
        if row[0].ending:
            out.append(f'{"</ending>" if ending else ""}<ending n="{row[0].ending}" label="{row[0].ending}.">')
            ending = row[0].ending
        out.append(_changes(row))
        parts = []
        for n, (bar, prefix) in enumerate(zip(row, prefixes, strict=True), 1):
            style = LayerStyle(prefix, clutter.lyrics, clutter.bowings) if n == 1 else LayerStyle(prefix)
            following = bars[n - 1][number + 1] if number + 1 < len(bars[n - 1]) else None
            texts = enumerate(_layers(bar, following, style), 1)
            layers = "".join(f'<layer n="{v}">{text}</layer>' for v, text in texts)
            parts.append(f'<staff n="{n}">{layers}</staff>')
        for bar, staff, prefix, numbers in zip(row, staves, prefixes, voice, strict=True):
            parts.append(marks(staff.items, [i for v in bar.voices for i, _ in v], prefix, numbers))
        parts.append(_clutter_marks(staves[0], row[0], clutter))
        left = f' left="{row[0].left}"' if row[0].left else ""
        out.append(
            f'<measure n="{number + clutter.first_bar}" xml:id="m{row[0].index}" right="{row[0].right}"{left}>'
            f"{''.join(parts)}</measure>"
        )
        if ending and row[0].right not in ("single", "dashed", "invis"):
            out.append("</ending>")
            ending = ""
    out += ["</ending>"] if ending else []
    return HEAD + _score_def(staves, clutter) + "<section>" + "".join(out) + TAIL


def _sounding(tune: Tune) -> Tune:
    """Under an octave clef, MEI gives the octave in which a note sounds; our labels give the one in which it is
    written."""
    shifts = map(octave_shift, clefs_in_force(tune))
    pairs = zip(tune.items, shifts, strict=True)
    moved = (_octaves(item, shift) if isinstance(item, Event) and shift else item for item, shift in pairs)
    return replace(tune, items=tuple(moved))


def _octaves(event: Event, shift: int) -> Event:
    def moved(pitches: tuple[Pitch, ...]) -> tuple[Pitch, ...]:
        return tuple(replace(pitch, step=pitch.step + 7 * shift) for pitch in pitches)

    graces = tuple(replace(grace, pitches=moved(grace.pitches)) for grace in event.graces)
    return replace(event, pitches=moved(event.pitches), graces=graces)


def _bars(tune: Tune, prefix: str) -> list[_Bar]:
    out = [_Bar()]
    for index, item in enumerate(tune.items):
        bar = out[-1]
        if isinstance(item, Event):
            bar.voices[-1].append((index, item))
        elif isinstance(item, Overlay):
            bar.voices.append([])
        elif isinstance(item, Bar):
            if not bar.voices[0] and len(out) == 1:
                bar.left, bar.ending = BAR_STYLES[item.text], item.ending
                continue
            bar.right, bar.index = BAR_STYLES[item.text], index
            out.append(_Bar(ending=item.ending))
        elif isinstance(item, Change) and item.kind == "clef":
            bar.clefs.append((len(bar.voices), len(bar.voices[-1]), _clef(item.value, f' xml:id="c{prefix}{index}"')))
        elif isinstance(item, Change):
            if bar.voices[0]:
                raise CannotEncode(f"a {item.kind} that changes inside a bar")
            bar.signatures.append(item)
        elif isinstance(item, LineBreak):
            raise CannotEncode("several lines")
    if not out[-1].voices[0] and len(out) > 1:
        if out[-1].signatures or out[-1].clefs:
            raise CannotEncode("a signature after the last bar line")
        out.pop()
    out[-1].index = out[-1].index or len(tune.items)
    return out


def _layers(bar: _Bar, following: _Bar | None, style: LayerStyle) -> list[str]:
    """The bar's voices; a clef that changes at a bar line is drawn before it."""
    out = []
    for number, content in enumerate(bar.voices, 1):
        clefs = [(place, text) for voice, place, text in bar.clefs if voice == number and place > 0]
        text, start = "", 0
        for place, clef in clefs:
            text += layer(content[start:place], style) + clef
            start = place
        text += layer(content[start:], style)
        if number == 1 and following is not None:
            text += "".join(clef for voice, place, clef in following.clefs if voice == 1 and place == 0)
        out.append(text)
    return out


def _clef(name: str, attributes: str = "") -> str:
    octave = {"-8": ' dis="8" dis.place="below"', "+8": ' dis="8" dis.place="above"'}.get(name[-2:], "")
    shape, line = CLEFS[name.removesuffix("-8").removesuffix("+8")]
    return f'<clef{attributes} shape="{shape}" line="{line}"{octave}/>'


def _key(fifths: int) -> str:
    return f'<keySig sig="{f"{abs(fifths)}{chr(115) if fifths > 0 else chr(102)}" if fifths else "0"}"/>'


def _meter(meter: str | None) -> str:
    if meter in ("C", "C|"):
        return f'<meterSig sym="{"common" if meter == "C" else "cut"}"/>'
    if not meter:
        return ""
    count, unit = meter.split("/")
    return f'<meterSig count="{count}" unit="{unit}"/>'


def _score_def(staves: Sequence[Tune], clutter: Clutter) -> str:
    defs = [
        f'<staffDef n="{number}" lines="5">{_clef(staff.clef)}{_key(staff.key)}{_meter(staff.meter)}</staffDef>'
        for number, staff in enumerate(staves, 1)
    ]
    symbol = f' symbol="{clutter.bracket}" bar.thru="true"' if clutter.bracket else ""
    return f"<scoreDef><staffGrp{symbol}>{''.join(defs)}</staffGrp></scoreDef>"


def _changes(row: Sequence[_Bar]) -> str:
    """Key and meter that change before a bar."""
    if not any(bar.signatures for bar in row):
        return ""
    defs = []
    for number, bar in enumerate(row, 1):
        values = {change.kind: change.value for change in bar.signatures}
        key = _key(int(values["key"])) if "key" in values else ""
        defs.append(f'<staffDef n="{number}">{key}{_meter(values.get("meter"))}</staffDef>')
    return f"<scoreDef><staffGrp>{''.join(defs)}</staffGrp></scoreDef>"


def _clutter_marks(tune: Tune, bar: _Bar, clutter: Clutter) -> str:
    inside = {index for voice in bar.voices for index, _ in voice}
    out = []
    for index, kind, text in clutter.words:
        if index in inside:
            out.append(f'<{kind} startid="{anchor(tune.items, index, "")}">{text}</{kind.split(" ")[0]}>')
    for start, end, form in clutter.hairpins:
        if start in inside:
            ends = f'startid="{anchor(tune.items, start, "")}" endid="{anchor(tune.items, end, "")}"'
            out.append(f'<hairpin form="{form}" {ends}/>')
    return "".join(out)
