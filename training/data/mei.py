"""A tune as MEI, the engraver's own language, with an id on everything that the labels must find again in the picture.

MEI rather than MusicXML because Verovio keeps its ids in the SVG: notes are `n<item>_<pitch>`, accidentals
`a<item>_<pitch>`, grace notes `n<item>_g<number>`, rests `e<item>`, measures `m<item of the closing bar line>`. Source:
music-encoding.org, MEI 5.
"""

from __future__ import annotations

from runtime.abc import Bar, Event, Item, Pitch, Tune

CLEFS = {
    "treble": ("G", 2), "treble1": ("G", 1), "soprano": ("C", 1), "mezzosoprano": ("C", 2), "alto": ("C", 3),
    "tenor": ("C", 4), "baritone": ("C", 5), "bass": ("F", 4), "bass3": ("F", 3), "perc": ("perc", 3),
}  # fmt: skip
ACCIDENTALS = {"^^": "x", "^": "s", "=": "n", "_": "f", "__": "ff"}
BAR_STYLES = {
    "|": "single", "||": "dbl", "|]": "end", "[|": "heavy", "|:": "rptstart", ":|": "rptend", "::": "rptboth",
    ".|": "dashed",
}  # fmt: skip
HEAD = (
    '<?xml version="1.0"?><mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><music><body><mdiv><score>'
)
TAIL = "</section></score></mdiv></body></music></mei>"


def to_mei(tune: Tune) -> str:
    """MEI text of one line of music."""
    measures: list[str] = []
    content: list[tuple[int, Event]] = []
    left = ""
    for index, item in enumerate(tune.items):
        if isinstance(item, Event):
            content.append((index, item))
        elif isinstance(item, Bar) and not content:
            left = f' left="{BAR_STYLES[item.text]}"'
        elif isinstance(item, Bar):
            measures.append(
                _measure(tune, content, f'xml:id="m{index}" right="{BAR_STYLES[item.text]}"{left}', len(measures))
            )
            content, left = [], ""
    if content:
        measures.append(_measure(tune, content, f'xml:id="m{len(tune.items)}" right="invis"{left}', len(measures)))
    return HEAD + _score_def(tune) + "<section>" + "".join(measures) + TAIL


def _score_def(tune: Tune) -> str:
    shape, line = CLEFS[tune.clef]
    key = f"{abs(tune.key)}{'s' if tune.key > 0 else 'f'}" if tune.key else "0"
    if tune.meter in ("C", "C|"):
        meter = f'<meterSig sym="{"common" if tune.meter == "C" else "cut"}"/>'
    elif tune.meter:
        count, unit = tune.meter.split("/")
        meter = f'<meterSig count="{count}" unit="{unit}"/>'
    else:
        meter = ""
    return (
        f'<scoreDef><staffGrp><staffDef n="1" lines="5"><clef shape="{shape}" line="{line}"/>'
        f'<keySig sig="{key}"/>{meter}'
        "</staffDef></staffGrp></scoreDef>"
    )


def _measure(tune: Tune, content: list[tuple[int, Event]], attributes: str, number: int) -> str:
    layer = "".join(_tuplets(content))
    curves = "".join(_curves(tune.items, index, event) for index, event in content)
    return f'<measure n="{number + 1}" {attributes}><staff n="1"><layer n="1">{layer}</layer></staff>{curves}</measure>'


def _tuplets(content: list[tuple[int, Event]]) -> list[str]:
    """Tuplets and beams as nested elements: a tuplet inside its beam where the beam is longer, else a beam inside."""
    spans: list[list[tuple[int, Event]]] = []
    left = 0
    for index, event in content:
        if event.tuplet:
            left = event.tuplet[2]
            spans.append([])
        elif not left:
            spans.append([])
        spans[-1].append((index, event))
        left = max(0, left - 1)
    # A beam group is a run of spans whose borders carry no beam break.
    groups: list[list[list[tuple[int, Event]]]] = []
    for span in spans:
        joined = (
            groups
            and _beams_on(groups[-1][-1][-1][1], span[0][1])
            and all(_one_beam(s) for s in (groups[-1][-1], span))
        )
        if joined:
            groups[-1].append(span)
        else:
            groups.append([span])
    return [_group(group) for group in groups]


def _beams_on(event: Event, following: Event) -> bool:
    return event.flagged and following.flagged and not event.space


def _one_beam(span: list[tuple[int, Event]]) -> bool:
    return all(_beams_on(a[1], b[1]) for a, b in zip(span, span[1:], strict=False))


def _group(group: list[list[tuple[int, Event]]]) -> str:
    if len(group) == 1:
        return _span(group[0], beams=True)
    return "<beam>" + "".join(_span(span, beams=False) for span in group) + "</beam>"


def _span(span: list[tuple[int, Event]], beams: bool) -> str:
    runs: list[list[tuple[int, Event]]] = []
    for pair in span:
        if beams and runs and _beams_on(runs[-1][-1][1], pair[1]):
            runs[-1].append(pair)
        else:
            runs.append([pair])
    text = "".join(
        f"<beam>{''.join(_event(*p) for p in run)}</beam>" if len(run) > 1 else _event(*run[0]) for run in runs
    )
    tuplet = span[0][1].tuplet
    return f'<tuplet num="{tuplet[0]}" numbase="{tuplet[1]}">{text}</tuplet>' if tuplet else text


def _event(index: int, event: Event) -> str:
    if event.rest == "Z":
        return f'<mRest xml:id="e{index}"/>'
    length = f'dur="{_duration(event)}"' + (f' dots="{event.dots}"' if event.dots else "")
    if event.rest:
        return f'<{"space" if event.rest == "x" else "rest"} xml:id="e{index}" {length}/>'
    graces = _graces(index, event)
    if len(event.pitches) == 1:
        return graces + _note(event.pitches[0], f"{index}_0", length)
    notes = "".join(_note(pitch, f"{index}_{n}", "") for n, pitch in enumerate(event.pitches))
    return f'{graces}<chord xml:id="e{index}" {length}>{notes}</chord>'


def _note(pitch: Pitch, name: str, attributes: str) -> str:
    accidental = f'<accid xml:id="a{name}" accid="{ACCIDENTALS[pitch.accidental]}"/>' if pitch.accidental else ""
    return (
        f'<note xml:id="n{name}" pname="{pitch.letter.lower()}" oct="{pitch.octave}" {attributes}>{accidental}</note>'
    )


def _graces(index: int, event: Event) -> str:
    """One grace note is an eighth, several are beamed sixteenths, as engravers draw them."""
    if not event.graces:
        return ""
    kind = "unacc" if event.graces[0].slash else "acc"
    length = f'grace="{kind}" dur="{8 if len(event.graces) == 1 else 16}"'
    parts = []
    for number, grace in enumerate(event.graces):
        name = f"{index}_g{number}"
        if len(grace.pitches) == 1:
            parts.append(_note(grace.pitches[0], name, length))
        else:
            notes = "".join(_note(pitch, f"{name}_{n}", "") for n, pitch in enumerate(grace.pitches))
            parts.append(f'<chord xml:id="n{name}" {length}>{notes}</chord>')
    return f"<beam>{''.join(parts)}</beam>" if len(parts) > 1 else parts[0]


def _duration(event: Event) -> str:
    whole = event.base / 8
    return "breve" if whole == 2 else str(whole.denominator)


def _curves(items: tuple[Item, ...], index: int, event: Event) -> str:
    """Ties and slurs that start at an event; a slur's end is found by counting nested starts and ends."""
    out = []
    following = next((i for i in range(index + 1, len(items)) if isinstance(items[i], Event)), None)
    if event.tie and following is not None:
        after = items[following]
        assert isinstance(after, Event)
        steps = {p.step: n for n, p in enumerate(after.pitches)}
        out += [
            f'<tie startid="#n{index}_{n}" endid="#n{following}_{steps[p.step]}"/>'
            for n, p in enumerate(event.pitches)
            if p.step in steps
        ]
    for depth in range(event.slur_starts):
        end = slur_end(items, index, depth)
        if end is not None:
            out.append(f'<slur startid="{_anchor(items, index)}" endid="{_anchor(items, end)}"/>')
    return "".join(out)


def slur_end(items: tuple[Item, ...], index: int, depth: int) -> int | None:
    """Index of the event where the slur number `depth` (outermost first) that starts at `index` ends."""
    start = items[index]
    assert isinstance(start, Event)
    nested = start.slur_starts - depth
    for place in range(index + 1, len(items)):
        event = items[place]
        if isinstance(event, Event):
            for _ in range(event.slur_ends):
                nested -= 1
                if nested == 0:
                    return place
            nested += event.slur_starts
    return None


def _anchor(items: tuple[Item, ...], index: int) -> str:
    event = items[index]
    assert isinstance(event, Event)
    return f"#n{index}_0" if len(event.pitches) == 1 else f"#e{index}"
