"""Draws what is on a page of music but never labelled: lyrics, chord symbols, tempo and other words, fingerings,
bowings, hairpins, bar numbers, brackets. A model that sees it in training learns to skip it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from runtime.abc.tune import Bar, Event, Tune

SYLLABLES = (
    "la", "my", "love", "oh", "the", "day", "is", "bright", "and", "so", "ri-", "ver", "gent-", "ly", "Glo-", "a",
    "mein", "Herz", "und", "du", "bist", "sanc-", "ta", "cor", "ce-", "leste", "il", "ciel", "swe", "sail", "a-", "way",
)  # fmt: skip
CHORDS = ("C", "G", "Am", "D7", "F", "Em", "Bb", "Gm", "A7", "E7", "Dm", "F#m", "Cmaj7", "Eb", "G/B", "Bdim", "Asus4")
TEMPI = (
    "Allegro", "Andante", "Moderato", "Adagio", "Presto", "Lively", "Slow", "Tempo di Valse", "Vivace", "Largo ma non",
    "Allegretto", "Reel", "Jig", "Air", "March",
)  # fmt: skip
WORDS = (
    "dolce", "cresc.", "dim.", "rit.", "a tempo", "legato", "pizz.", "arco", "espr.", "poco a poco", "cantabile",
    "rall.", "solo", "sul G", "simile", "marcato", "tutti", "V.S.", "con sord.", "leggiero",
)  # fmt: skip


@dataclass(frozen=True)
class Clutter:
    """Drawn but not labelled, on one staff.

    Attributes:
        lyrics: syllable under the event of that index in the tune's items.
        bowings: "upbow" or "downbow" over it.
        words: (index, MEI element, text): chord symbols, tempi, fingerings, directions.
        hairpins: (first event, last event, "cres" or "dim").
        first_bar: number of the first bar.
        bar_numbers: whether bar numbers are drawn.
        bracket: "brace", "bracket" or "" at the left of the system.
    """

    lyrics: dict[int, str] = field(default_factory=dict)
    bowings: dict[int, str] = field(default_factory=dict)
    words: tuple[tuple[int, str, str], ...] = ()
    hairpins: tuple[tuple[int, int, str], ...] = ()
    first_bar: int = 1
    bar_numbers: bool = False
    bracket: str = ""


def scatter(tune: Tune, rng: np.random.Generator, share: float = 0.4) -> Clutter:
    """Clutter for a share of lines, each kind on some of them."""
    if rng.random() >= share:
        return Clutter()
    notes = [i for i, item in enumerate(tune.items) if isinstance(item, Event) and item.pitches]
    odds = {kind: bool(rng.random() < p) for kind, p in KINDS.items()}
    words: list[tuple[int, str, str]] = []
    if notes and odds["tempo"]:
        words.append((notes[0], "tempo", str(rng.choice(TEMPI))))
    if odds["chords"]:
        words += [(i, "harm", str(rng.choice(CHORDS))) for i in notes if rng.random() < 0.25]
    if odds["fingers"]:
        words += [(i, "fing", str(rng.integers(1, 6))) for i in notes if rng.random() < 0.3]
    if odds["words"]:
        place = ("above", "below")[int(rng.integers(2))]
        words += [(i, f'dir place="{place}"', str(rng.choice(WORDS))) for i in notes if rng.random() < 0.06]
    lyrics = {i: str(rng.choice(SYLLABLES)) for i in notes if odds["lyrics"] and rng.random() < 0.85}
    bowings = {i: ("upbow", "downbow")[int(rng.integers(2))] for i in notes if odds["bowings"] and rng.random() < 0.2}
    return Clutter(
        lyrics, bowings, tuple(words), tuple(_hairpins(tune, notes, rng)) if odds["hairpins"] else (),
        int(rng.integers(1, 120)), odds["numbers"],
    )  # fmt: skip


KINDS = {
    "tempo": 0.25, "chords": 0.2, "fingers": 0.15, "words": 0.35, "lyrics": 0.2, "bowings": 0.15, "hairpins": 0.35,
    "numbers": 0.4,
}  # fmt: skip


def _hairpins(tune: Tune, notes: list[int], rng: np.random.Generator) -> list[tuple[int, int, str]]:
    out = []
    position = int(rng.integers(0, 6))
    while position < len(notes) - 2:
        end = min(len(notes) - 1, position + int(rng.integers(2, 7)))
        start_item, end_item = notes[position], notes[end]
        if sum(isinstance(item, Bar) for item in tune.items[start_item:end_item]) <= 2:
            out.append((start_item, end_item, ("cres", "dim")[int(rng.integers(2))]))
        position = end + int(rng.integers(1, 12))
    return out
