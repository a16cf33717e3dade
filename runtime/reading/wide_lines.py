"""Reads strips that are wider than the network: cuts them where the column head sees bar lines, and joins the readings.

If a strip were scaled down until it fits, its staff would be too small to read. Instead each further piece gets the
picture of the strip's clef and key in front, so that it looks like a line of its own.

    strips = pieces(line, columns_of, most)       # the network reads each
    reading = joined(readings, tokenizer)         # as if it had read the whole

If the clef changed in an earlier piece, the notes of later pieces are moved to that clef, because the model read only
their places on the staff. A slur over a cut is lost; a bar line never is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..abc.staves import parse_staves, write_staves
from ..abc.tidy import tidy
from ..abc.tune import BARS, CLEF_BOTTOM, Change, Event, Item, Pitch, Tune, clefs_in_force
from ..bundle.tokenizer import Tokenizer
from ..inference.engine import Floats, Integers
from ..page.geometry import Grey
from .column_head import SIZES, SYMBOL_CLASSES
from .decode import Reading

BAR_CLASSES = [SYMBOL_CLASSES.index(name) for name in BARS]
HEADER_CLASSES = [n for n, name in enumerate(SYMBOL_CLASSES) if name.startswith(("clef=", "key_"))]
UNSURE = 8  # last columns of a strip: what they show may be half a symbol
NARROWEST, WELL_READ = 240, 1000  # px of a piece where a line is read again
LEAST = 0.25  # of a strip that a piece takes, where a later cut is possible

FIRST_CLEF = re.compile(r"^((?:K:|V:\d+ ).*?clef=)(\S+)", re.MULTILINE)  # of each staff

# Column logits [T, V] of a strip without padding, the symbol classes first.
ColumnsOf = Callable[[Grey], Floats]


def pieces(line: Grey, columns_of: ColumnsOf, most: int) -> list[Grey]:
    """Cut a prepared line into strips that the network can read.

    Args:
        line: uint8 [H, W].
        columns_of: what the column head sees in a strip.
        most: widest strip in px.

    Returns:
        Strips at most `most` px wide: the first unchanged, the others with clef and key in front. If the line fits,
        only the line.
    """
    if line.shape[1] <= most:
        return [line]
    header, start = line[:, :0], 0
    out: list[Grey] = []
    while header.shape[1] + line.shape[1] - start > most:
        strip = np.hstack([header, line[:, start : start + most - header.shape[1]]])
        found: Integers = columns_of(strip)[:, : SIZES["symbol"]].argmax(axis=1)
        if not out:
            header = strip[:, : header_end(strip, found)]
        end = _cut(strip, found, header.shape[1])
        out.append(strip[:, :end])
        start += end - (header.shape[1] if len(out) > 1 else 0)
    return [*out, np.hstack([header, line[:, start:]])]


def header_end(strip: Grey, found: Integers) -> int:
    """Px where the clef and key end; 0 where the strip begins with something else, or is nearly all clef."""
    symbols = np.flatnonzero(found)
    others = symbols[~np.isin(found[symbols], HEADER_CLASSES)]
    if not len(others) or others[0] == symbols[0] or others[0] > LEAST * len(found):
        return 0
    return _gap(strip, found, int(symbols[symbols < others[0]][-1]), int(others[0]))


def _cut(strip: Grey, found: Integers, header: int) -> int:
    """Px after the last bar line of a strip; without one, in the last gap between symbols that is widest."""
    stride = strip.shape[1] / len(found)
    first = round(header / stride + LEAST * (len(found) - header / stride))
    symbols = np.flatnonzero(found)
    bars = [n for n in symbols if found[n] in BAR_CLASSES and first <= n < len(found) - UNSURE]
    if bars:
        following = symbols[symbols > bars[-1]]
        return _gap(strip, found, int(bars[-1]), int(following[0]) if len(following) else len(found) - 1)
    edges = [first, *symbols[(symbols > first) & (symbols < len(found) - UNSURE)], len(found) - UNSURE]
    widest = int(np.argmax(np.diff(edges)))
    return _gap(strip, found, int(edges[widest]), int(edges[widest + 1]))


def _gap(strip: Grey, found: Integers, left: int, right: int) -> int:
    """Px of the last place with least ink between two columns."""
    stride = strip.shape[1] / len(found)
    start: int = round((left + 0.5) * stride) + 1
    end = round((right + 0.5) * stride)
    ink = 255 * strip.shape[0] - strip[:, start : max(end, start + 1)].sum(axis=0, dtype=np.int64)
    places = np.flatnonzero(ink <= ink.min() + 255)  # one px of ink more is none
    run = places[np.flatnonzero(np.diff(places, prepend=-2) > 1)[-1] :]
    return start + int(run[len(run) // 2])


def smaller_width(width: int) -> int:
    """Widest piece in px for a strip that went wrong as a whole."""
    return max(NARROWEST, min(WELL_READ, int(0.6 * width)))


def joined(readings: Sequence[Reading], tokenizer: Tokenizer) -> Reading:
    """One reading of the pieces of a line."""
    if len(readings) == 1:
        return readings[0]
    lengths = [len(reading.tokens) + reading.finished for reading in readings]
    total = sum(reading.log_probability * length for reading, length in zip(readings, lengths, strict=True))
    text = join_pieces([tokenizer.decode(reading.tokens) for reading in readings])
    finished = all(reading.finished for reading in readings)
    return Reading(tokenizer.encode(text), total / max(1, sum(lengths)), finished)


def join_pieces(texts: Sequence[str]) -> str:
    """Canonical ABC of a line from that of its pieces, which all begin with the same clef and key."""
    whole = parse_staves(texts[0])
    for text in texts[1:]:
        shown = parse_staves(text)
        clefs = [([tune.clef] + clefs_in_force(tune))[-1] for tune in whole]
        names = iter(clefs)
        # A piece is shown with the first clef: a change back to it at the start must stay.
        under = FIRST_CLEF.sub(lambda match: match[1] + next(names, match[2]), text)  # noqa: B023 - used at once
        for number, tune in enumerate(parse_staves(under)[: len(whole)]):
            steps = CLEF_BOTTOM[clefs[number]] - CLEF_BOTTOM[shown[number].clef]
            whole[number] = replace(whole[number], items=(*whole[number].items, *_moved(tune, steps)))
    return write_staves([tidy(tune) for tune in whole])


def _moved(tune: Tune, steps: int) -> list[Item]:
    """A piece's items, those before a clef of its own some steps higher."""
    own = [n for n, item in enumerate(tune.items) if isinstance(item, Change) and item.kind == "clef"]
    until = own[0] if own else len(tune.items)
    return [_shifted(item, steps) for item in tune.items[:until]] + list(tune.items[until:])


def _shifted(item: Item, steps: int) -> Item:
    if not isinstance(item, Event) or not steps:
        return item
    graces = tuple(replace(grace, pitches=_raised(grace.pitches, steps)) for grace in item.graces)
    return replace(item, pitches=_raised(item.pitches, steps), graces=graces)


def _raised(pitches: Sequence[Pitch], steps: int) -> tuple[Pitch, ...]:
    return tuple(replace(pitch, step=pitch.step + steps) for pitch in pitches)
