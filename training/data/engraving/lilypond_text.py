"""Writes a line in LilyPond's own language (2.24).

We don't go through MusicXML, because musicxml2ly draws accidentals where it thinks they are needed, and ours must be
where the label has them. Only forced accidentals (`!`) are drawn, beams are written out, and every bar is as long as
its content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from runtime.abc.sounding_pitches import ALTERATION, Tone
from runtime.abc.tune import DYNAMICS, Change, Event, Pitch, Tune
from runtime.notation.measures import Measure, Placed, beam_count, cut
from training.data.engraving.engraver import EngraveError

CLEFS = {
    "treble": "treble", "treble-8": "treble_8", "treble+8": "treble^8", "treble1": "french", "soprano": "soprano",
    "mezzosoprano": "mezzosoprano", "alto": "alto", "tenor": "tenor", "baritone": "baritone", "bass": "bass",
    "bass-8": "bass_8", "bass+8": "bass^8", "bass3": "varbaritone",
}  # fmt: skip
BARS = {
    "|": "|", "||": "||", "|]": "|.", "[|": ".|", "|:": ".|:", ":|": ":|.", "::": ":|.|:", ".|": "!", "": "",
}  # fmt: skip
MARKS = {
    "accent": "->", "tenuto": "--", "marcato": "-^", "staccato": "-.", "staccatissimo": "-!", "fermata": "\\fermata",
    "trill": "\\trill", "turn": "\\turn", "invertedturn": "\\reverseturn", "uppermordent": "\\prall",
    "lowermordent": "\\mordent", "arpeggio": "\\arpeggio", "segno": "\\segno", "coda": "\\coda",
    **{name: f"\\{name}" for name in DYNAMICS},
}  # fmt: skip
TREMOLOS = {"/": 1, "//": 2, "///": 3}
MAJOR = ("ces", "ges", "des", "as", "es", "bes", "f", "c", "g", "d", "a", "e", "b", "fis", "cis")  # -7 .. 7 sharps
SUFFIX = {-2: "eses", -1: "es", 0: "", 1: "is", 2: "isis"}
OPEN_BARS = ("|", ".|", "")  # an ending continues after these


def to_lilypond(tune: Tune) -> str:
    """The music of a staff.

    Raises:
        EngraveError: it holds what LilyPond has no sign for, or what it would draw otherwise.
    """
    piece = cut([tune])
    out = [_clef(tune.clef), _key(tune.key), _meter(tune.meter)]
    if piece.measures[0].left not in ("", "|:"):
        raise EngraveError("before the music LilyPond draws no bar line but one that starts a repeat")
    if piece.measures[-1].right in ("|:", "::"):
        raise EngraveError("where a line ends LilyPond draws no start of a repeat")
    open_ending, index = False, 0
    while index < len(piece.measures):
        measure = piece.measures[index]
        if measure.left and (index == 0 or measure.left == "|:"):
            out.append(f'\\bar "{BARS[measure.left]}"')
        if measure.ending_starts:
            numbers = ", ".join(str(number) for number in measure.endings)
            out.append(f"\\set Score.repeatCommands = #'({'(volta #f) ' * open_ending}(volta \"{numbers}.\"))")
            open_ending = True
        out.append(_measure(measure))
        index += max(1, measure.rest_bars)  # the first measure holds all the bars of rest
        right = piece.measures[index - 1].right
        following = piece.measures[index] if index < len(piece.measures) else Measure()
        out.append(f'\\bar "{BARS["|:" if following.left == "|:" and right == "|" else right]}"')
        if open_ending and right not in OPEN_BARS and not following.ending_starts:
            out.append("\\set Score.repeatCommands = #'((volta #f))")
            open_ending = False
    return "\n".join(out)


def _clef(name: str) -> str:
    if name not in CLEFS:
        raise EngraveError(f"LilyPond draws no clef {name}")
    return f'\\clef "{CLEFS[name]}"'


def _key(fifths: int) -> str:
    return f"\\key {MAJOR[fifths + 7]} \\major"


def _meter(meter: str | None) -> str:
    if meter is None:
        return "\\omit Staff.TimeSignature"
    if meter.startswith("C"):
        return f"\\defaultTimeSignature \\time {'4/4' if meter == 'C' else '2/2'}"
    return f"\\undo \\omit Staff.TimeSignature \\numericTimeSignature \\time {meter}"


def _measure(measure: Measure) -> str:
    """A bar's voices; its length is set, so that nothing but our own bar lines is drawn."""
    rest = next((placed for placed in measure.events if placed.event.rest == "Z"), None)
    length = Fraction(1) if rest else measure.length
    out = [_change(item) for item in measure.content[:1] if isinstance(item, Change)]
    content = measure.content[len(out) :]
    while content and isinstance(content[0], Change):
        out.append(_change(content.pop(0)))
    out.append(f"\\set Timing.measureLength = #(ly:make-moment {length.numerator}/{length.denominator})")
    if rest:
        if len(measure.events) > 1:
            raise EngraveError("a bar of rest beside notes")
        return " ".join([*out, f"\\compressMMRests {{ R1*{int(rest.event.duration)}{_marks(rest.event)} }}"])
    upper = [item for item in content if isinstance(item, Change) or item.voice == 1]
    lower = [item for item in content if isinstance(item, Placed) and item.voice == 2]
    if lower:
        out.append(f"<< {{ \\voiceOne {_voice(upper)} }} \\new Voice {{ \\voiceTwo {_voice(lower)} }} >> \\oneVoice")
    else:
        out.append(_voice(upper))
    return " ".join(out)


def _change(change: Change) -> str:
    if change.kind == "clef":
        return _clef(change.value)
    return _key(int(change.value)) if change.kind == "key" else _meter(change.value)


def _voice(content: Iterable[Placed | Change]) -> str:
    out: list[str] = []
    for item in content:
        if isinstance(item, Change):
            out.append(_change(item))
            continue
        if "start" in item.tuplet_edges and item.tuplet:
            out.append(f"\\tuplet {item.tuplet[0]}/{item.tuplet[1]} {{")
        out += _graces(item)
        out.append(_event(item))
        if "stop" in item.tuplet_edges:
            out.append("}")
    return " ".join(out)


def _graces(placed: Placed) -> Iterator[str]:
    """One grace note is an eighth, several are beamed sixteenths."""
    graces = placed.event.graces
    if not graces:
        return
    several = len(graces) > 1
    notes = []
    for number, (grace, tones) in enumerate(zip(graces, placed.sounded.graces, strict=True)):
        beam = ("[" if number == 0 else "]" if number == len(graces) - 1 else "") if several else ""
        notes.append(f"{_chord(grace.pitches, tones)}{16 if several else 8}{beam}")
    yield f"\\{'slashedGrace' if graces[0].slash else 'grace'} {{ {' '.join(notes)} }}"


def _event(placed: Placed) -> str:
    event = placed.event
    if event.rest:
        return {"z": "r", "x": "s"}[event.rest] + _length(event) + _slurs(placed) + _marks(event)
    ties = placed.tie_starts if event.tie else frozenset()
    if event.tie and not ties:
        raise EngraveError("a tie between two pitches")
    head = _chord(event.pitches, placed.sounded.tones, ties if len(ties) < len(event.pitches) else frozenset())
    tie = "~" if ties and len(ties) == len(event.pitches) else ""
    beam = {"begin": "[", "end": "]"}.get(placed.beams[0] if placed.beams else "", "")
    return head + _length(event) + _tremolo(event) + tie + beam + _slurs(placed) + _marks(event)


def _chord(pitches: tuple[Pitch, ...], tones: tuple[Tone, ...], ties: frozenset[int] = frozenset()) -> str:
    notes = [_note(*pair) + "~" * (number in ties) for number, pair in enumerate(zip(pitches, tones, strict=True))]
    return notes[0] if len(notes) == 1 else f"<{' '.join(notes)}>"


def _note(pitch: Pitch, tone: Tone) -> str:
    alter = ALTERATION[pitch.accidental] if pitch.accidental else tone.alter
    octave = tone.step // 7 - 3  # c is C3
    letter = "cdefgab"[tone.step % 7]
    return letter + SUFFIX[alter] + ("'" * octave or "," * -octave) + ("!" if pitch.accidental else "")


def _length(event: Event) -> str:
    whole = event.base / 8
    return ("\\breve" if whole == 2 else str(whole.denominator)) + "." * event.dots


def _tremolo(event: Event) -> str:
    strokes = next((TREMOLOS[name] for name in event.decorations if name in TREMOLOS), 0)
    return f":{2 ** (2 + strokes + beam_count(event))}" if strokes else ""


def _slurs(placed: Placed) -> str:
    return "".join(f"\\={number}{'(' if kind == 'start' else ')'}" for number, kind in placed.slurs)


def _marks(event: Event) -> str:
    unknown = [name for name in event.decorations if name not in MARKS and name not in TREMOLOS]
    if unknown:
        raise EngraveError(f"no sign for {unknown[0]}")
    return "".join(MARKS[name] for name in event.decorations if name in MARKS)
