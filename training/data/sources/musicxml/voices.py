"""Splits a measure of one staff into its one or two voices, fills them up, and sets tuplets, beams and decorations."""

from __future__ import annotations

from fractions import Fraction

from runtime.abc.reader import AbcError
from runtime.abc.tidy import split_duration
from runtime.abc.tune import DYNAMICS
from training.data.sources.musicxml.measures import Measure
from training.data.sources.musicxml.notes import Note

Voice = list[Note]
UNDOTTED = frozenset(Fraction(2) ** power for power in range(-3, 5))
LARGEST_TUPLET, LARGEST_TIME = 9, 16  # what the vocabulary of labels holds


def voices_of(measure: Measure) -> list[Voice]:
    """The voices that are drawn, the upper one first; moments without a note or rest are invisible rests.

    Raises:
        AbcError: the measure can't be drawn as canonical ABC.
    """
    if measure.error:
        raise AbcError(measure.error)
    if not measure.length:
        raise AbcError("a measure without length")
    voices = [voice for voice in (_in_order(notes) for notes in measure.voices.values()) if voice]
    voices = _joined(sorted(voices, key=lambda voice: _number(voice[0].voice)))
    if len(voices) > 2:
        raise AbcError("more than two voices in a bar")
    if len(voices) == 2 and _all_stems(voices[0], "down") and _all_stems(voices[1], "up"):
        voices.reverse()
    silence = Note(Fraction(0), measure.length, Fraction(1), rest="Z")  # some files leave bars of rest empty
    full = [_filled(voice, measure.length) for voice in voices or [[silence]]]
    for voice in full:
        _check_unisons(voice)
        _group_tuplets(voice)
        _part_beams(voice, measure)
    _decorate(full, measure)
    return full


def _check_unisons(voice: Voice) -> None:
    for note in voice:
        for heads in (note.heads, *note.graces):
            if len({(head.step, head.alter) for head in heads}) > len({head.step for head in heads}):
                raise AbcError("two alterations of one step in a chord")


def _number(voice: str) -> tuple[int, str]:
    return (int(voice) if voice.isdigit() else 0, voice)


def _all_stems(voice: Voice, direction: str) -> bool:
    stems = [note.stem for note in voice if note.heads and note.stem in ("up", "down")]
    return bool(stems) and all(stem == direction for stem in stems)


def _in_order(notes: list[Note]) -> Voice:
    """Drawn notes and rests in order, grace notes with their note; a hidden rest stays where a tuplet counts it.

    Grace notes after the last note of a bar are left out, like all signs that canonical ABC has no place for.
    """
    out: Voice = []
    waiting: list[Note] = []
    for note in notes:
        if note.rest == "x" and not note.ratio:
            continue
        if note.is_grace:
            waiting.append(note)
        else:
            if waiting and note.rest:
                raise AbcError("grace notes before a rest")
            note.graces = [grace.heads for grace in waiting]
            note.slash = bool(waiting) and waiting[0].slash
            note.slurs = [slur for grace in waiting for slur in grace.slurs] + note.slurs
            waiting = []
            out.append(note)
    if not any(note.rest != "x" for note in out):
        return []
    out.sort(key=lambda note: note.start)
    if any(a.end > b.start for a, b in zip(out, out[1:], strict=False)):
        raise AbcError("notes of one voice overlap")
    return out


def _joined(voices: list[Voice]) -> list[Voice]:
    """Voices that never sound together are drawn as one."""
    out: list[Voice] = []
    for voice in voices:
        free = next((other for other in out if _apart(voice, other)), None)
        if free is None:
            out.append(list(voice))
        else:
            free += voice
            free.sort(key=lambda note: note.start)
    return out


def _apart(one: Voice, other: Voice) -> bool:
    return all(a.end <= b.start or b.end <= a.start for a in one for b in other)


def _filled(voice: Voice, length: Fraction) -> Voice:
    """The voice with invisible rests where it is silent, and a rest alone in it as a bar of rest."""
    first = voice[0]
    fills = first.whole or (first.written >= 3 and first.start == 0 and first.end == length)
    if len(voice) == 1 and first.rest == "z" and fills and not first.ratio:
        first.rest, first.written, first.start, first.end = "Z", Fraction(1), Fraction(0), length
    out: Voice = []
    now = Fraction(0)
    for note in voice:
        if not note.written:
            raise AbcError("a bar of rest beside notes")
        out += _gap(now, note.start)
        out.append(note)
        now = note.end
    return out + _gap(now, length)


def _gap(start: Fraction, end: Fraction) -> Voice:
    if start == end:
        return []
    lengths = split_duration(end - start)
    if not lengths or min(lengths) < Fraction(1, 4):
        raise AbcError(f"a gap of {end - start}")
    out: Voice = []
    for length in lengths:
        out.append(Note(start, start + length, length, rest="x"))
        start += length
    return out


def _group_tuplets(voice: Voice) -> None:
    index = 0
    while index < len(voice):
        ratio = voice[index].ratio
        if ratio is None:
            index += 1
            continue
        count = _tuplet_length(voice[index:])
        p, q = ratio
        if not (2 <= p <= LARGEST_TUPLET and 1 <= q <= LARGEST_TIME and count <= LARGEST_TIME):
            raise AbcError(f"a tuplet {p}:{q}")
        voice[index].group = (p, q, count)
        index += count


def _tuplet_length(voice: Voice) -> int:
    """Notes of the tuplet that begins a voice: up to its end where it is marked, else until it is full."""
    first = voice[0]
    assert first.ratio is not None
    marked = "start" in first.tuplet
    total, shortest = Fraction(0), first.written
    for count, note in enumerate(voice, 1):
        if note.ratio != first.ratio or (count > 1 and "start" in note.tuplet):
            break
        total, shortest = total + note.written, min(shortest, note.written)
        unit = total / first.ratio[0]
        full = unit in UNDOTTED and unit >= shortest
        if "stop" in note.tuplet or (full and not marked):
            return count
    raise AbcError("a tuplet that doesn't end in its bar")


def _part_beams(voice: Voice, measure: Measure) -> None:
    for note, following in zip(voice, [*voice[1:], None], strict=True):
        goes_on = note.beam in ("begin", "continue")
        if following is None or not (note.flagged and following.flagged):
            if goes_on and following is not None and following.rest == "x":
                raise AbcError("a beam that goes on in another voice or staff")
            continue
        if measure.beamed:
            note.space = not (goes_on and following.beam in ("continue", "end"))
        else:
            note.space = note.start // measure.beat != following.start // measure.beat


def _decorate(voices: list[Voice], measure: Measure) -> None:
    """Give every direction to the next note of its voice, of the first one where it names none.

    No note takes two dynamics: programs that place a second one by its offset alone write it before the same note.
    """
    for moment, name, mark in measure.marks:
        named = [voice for voice in voices if name and any(note.voice == name and note.heads for note in voice)]
        taken = set(DYNAMICS if mark in DYNAMICS else [mark])
        for note in (named or voices)[0]:
            if note.heads and note.start >= moment and not taken.intersection(note.decorations):
                note.decorations.append(mark)
                break
