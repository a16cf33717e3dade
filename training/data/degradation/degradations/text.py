"""Words beside the music: titles, tempi, bar numbers, fingerings, chord names, lyrics. Never over notes.

There are no dynamics, no digits that could be a tuplet's number (3, 5, 6, 7, 9 alone) and no endings (1., 2.), because
labels would have to name them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from training.data.degradation.degradations._ink import INKED
from training.data.degradation.degrade import Change, Rng, Stage
from training.data.engraving.lettering import STYLES, word_ink

EXTRA = "train"  # the serif fonts come with Verovio
CLEAR = 0.4  # staff spaces between a word and what was drawn before
TEMPI = (
    "Allegro", "Andante", "Allegretto", "Moderato", "Adagio", "Vivace", "Presto", "Largo", "Tempo di Minuetto", "Slow",
    "Allegro con brio", "Lively", "Air", "Mässig", "Très lent", "Più mosso", "Meno mosso", "With spirit",
)  # fmt: skip
MARKS = (
    "rit.", "a tempo", "dolce", "cresc.", "dim.", "Fine", "D.C. al Fine", "D.S.", "espress.", "sempre", "legato",
    "poco", "pizz.", "arco", "Solo", "tutti", "ad lib.", "Chorus", "Verse", "simile", "con sord.", "V.S.", "div.",
)  # fmt: skip
PARTS = (
    "Violino I", "Violin II", "Viola", "Violoncello", "Flute", "Oboe", "Clarinet in B", "Trumpet", "Horn in F", "Tenor",
    "Soprano", "Bass", "Fl.", "Vla.", "Vc.", "Cl.", "Reel", "Jig", "Hornpipe", "March", "Waltz",
)  # fmt: skip
SYLLABLES = ("ka", "lo", "the", "mi", "ran", "son", "ber", "a", "el", "tor", "wind", "vie", "ha", "ch", "ing", "pro")


def written(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    out = picture.copy()
    for _ in range(int(strength) + (rng.random() < strength % 1)):
        KINDS[int(rng.integers(len(KINDS)))](out, rng, space)
    return out


def _headings(out: np.ndarray, rng: Rng, space: float) -> None:
    """A title, tempo, part or mark anywhere above or below; large ones are cut by the picture's edge."""
    what = (TEMPI, MARKS, PARTS, ())[int(rng.integers(4))]
    text = _one(what, rng) if what else " ".join(_name(rng) for _ in range(int(rng.integers(1, 5))))
    size = float(rng.uniform(1.5, 2.6 if what else 4.5)) * space
    _try(out, text, _style(rng, text), size, rng, space)


def _numbers(out: np.ndarray, rng: Rng, space: float) -> None:
    """A bar number, year or page number."""
    _try(out, str(rng.integers(10, 250)), _style(rng), float(rng.uniform(1.2, 2)) * space, rng, space)


def _fingerings(out: np.ndarray, rng: Rng, space: float) -> None:
    """Small upright digits right above notes."""
    size = float(rng.uniform(1.1, 1.6)) * space
    style = ("serif", "serif bold", "sans")[int(rng.integers(3))]
    for x in rng.uniform(0, out.shape[1], int(rng.integers(2, 8))):
        left = int(x)
        inked = np.flatnonzero((out[:, left : left + round(space)] < INKED).any(axis=1))
        if len(inked):
            digit = word_ink(_one("0124", rng), style, size)
            _put(out, digit, left, int(inked[0]) - digit.shape[0] - round((CLEAR + 0.1) * space), space)


def _row(out: np.ndarray, rng: Rng, space: float) -> None:
    """Syllables, or chord names, on one height along the whole line."""
    chords = rng.random() < 0.4
    top = out.shape[0] / 2 + float(rng.uniform(-7.5, -5) if chords else rng.uniform(3.6, 6.5)) * space
    size, style, x = float(rng.uniform(1.6, 2.3)) * space, _style(rng), float(rng.uniform(0, 8)) * space
    while x < out.shape[1]:
        text = _one("CDEFGAB", rng) + _one(("", "m", "7", "m7"), rng) if chords else _name(rng)
        ink = word_ink(text, style, size)
        _put(out, ink, round(x), round(top), space)
        x += ink.shape[1] + float(rng.uniform(8, 24) if chords else rng.uniform(0.6, 5)) * space


Kind = Callable[[np.ndarray, Rng, float], None]
KINDS: tuple[Kind, ...] = (_headings, _headings, _numbers, _fingerings, _row)


def _name(rng: Rng) -> str:
    text = "".join(SYLLABLES[n] for n in rng.integers(len(SYLLABLES), size=int(rng.integers(1, 4))))
    return text.capitalize() if rng.random() < 0.4 else text


def _one(texts: Sequence[str], rng: Rng) -> str:
    """One of them; `rng.choice` would make an array of all first."""
    return texts[int(rng.integers(len(texts)))]


def _style(rng: Rng, text: str = "") -> str:
    return STYLES[int(rng.integers(len(STYLES) if text.isascii() else 4))]


def _try(out: np.ndarray, text: str, style: str, size: float, rng: Rng, space: float) -> None:
    """Draw at the first of a few random places that is empty."""
    ink = word_ink(text, style, size, float(rng.uniform(0.85, 1.15)))
    for _ in range(8):
        left = int(rng.integers(-ink.shape[1] // 4, max(1, out.shape[1] - ink.shape[1] // 2)))
        top = int(rng.integers(-ink.shape[0] // 2, out.shape[0] - ink.shape[0] // 2))
        if _put(out, ink, left, top, space):
            return


def _put(out: np.ndarray, ink: np.ndarray, left: int, top: int, space: float) -> bool:
    """Draw `ink` there, as far as it lies in the picture, if nothing is near."""
    clear = round(CLEAR * space)
    rows, columns = (slice(max(0, at), max(0, at + size)) for at, size in ((top, ink.shape[0]), (left, ink.shape[1])))
    around = out[max(0, top - clear) : rows.stop + clear, max(0, left - clear) : columns.stop + clear]
    if not around.size or around.min() < INKED:
        return False
    part = out[rows, columns]
    part -= part * ink[rows.start - top :, columns.start - left :][: part.shape[0], : part.shape[1]]
    return True


DEGRADATION = Change(Stage.PRINT, "pieces of text", written)
