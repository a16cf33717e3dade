"""Checks labels of the training mix: parsed, drawn completely, nothing invisible, and read back from MusicXML.

    python benchmarks/labels.py                    # 2,000 labels; ten minutes on a core
    python benchmarks/labels.py --count 200 --mix heldout

For each label: it parses into what it was written from; the symbols in Verovio's SVG are those it implies; with one
random symbol deleted or changed the picture differs; music21 reads the same notes (pitch, length, order in each voice)
out of its MusicXML. Lines that don't fit the picture are replaced by others, as in a data set. Failures are counted by
cause; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from tqdm import tqdm

from runtime.abc.reader import parse
from runtime.abc.tune import Tune, write
from runtime.errors import run_command
from runtime.notation.score import parts, to_musicxml
from tests.training.data.engraving.faithful import drawn, implied, mutated, notation_class, svg_of
from training.data.dataset.build import MIXES
from training.data.engraving.engraver import EngraveError
from training.data.engraving.engravers.verovio import ENGRAVER
from training.data.lines.excerpt import excerpt
from training.data.sources.corpus import load_sources

Heard = list[tuple[tuple[str, ...], Fraction]]  # pitches from low to high, quarters; 0 for grace notes


def written(tune: Tune) -> Heard:
    """The notes of a label, voice after voice in each bar."""
    out: Heard = []
    for measure in parts(tune)[0].measures:
        for placed in sorted(measure.events, key=lambda placed: placed.voice):
            tones = [(grace, Fraction(0)) for grace in placed.sounded.graces]
            tones += [(placed.sounded.tones, placed.sounded.length * 4)]
            out += [(tuple(sorted(tone.name for tone in heard)), length) for heard, length in tones if heard]
    return out


def read_back(tune: Tune) -> Heard:
    """The notes that music21 finds in the MusicXML of a label."""
    from music21 import converter

    out: Heard = []
    score: Any = converter.parseData(to_musicxml(tune), format="musicxml")
    for measure in score.parts[0].getElementsByClass("Measure"):
        for voice in measure.voices or [measure]:
            for note in voice.notes:
                names = sorted(pitch.nameWithOctave.replace("-", "b") for pitch in note.pitches)
                out.append((tuple(names), Fraction(note.quarterLength)))
    return out


def music_difference(tune: Tune) -> str:
    """Why music21 reads other notes than the label says; empty if it reads the same."""
    try:
        wanted, found = written(tune), read_back(tune)
    except Exception as error:  # music21 raises whatever it comes upon
        return f"music21 raises {type(error).__name__}"
    if wanted == found:
        return ""
    if sorted(wanted) == sorted(found):
        return "order"
    if len(wanted) != len(found):
        return "number of notes"
    return "pitch" if [length for _, length in wanted] == [length for _, length in found] else "length"


@dataclass
class Findings:
    """What came of checking labels.

    Attributes:
        causes: failures by cause.
        symbols: drawn symbols that were counted, by name.
        changes: symbols that were deleted or changed, by notation class.
    """

    causes: Counter[str] = field(default_factory=Counter)
    symbols: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)

    def check(self, tune: Tune, picture: np.ndarray, number: int) -> list[str]:
        """Causes of failure of one label, of which `picture` was drawn with `number` as the style's seed."""
        failures = [] if parse(write(tune), strict=True) == tune else ["label: doesn't parse into itself"]
        shown, told = drawn(svg_of(tune)), implied(tune)
        failures += [f"drawn: {name}" for name in shown | told if shown[name] != told[name]]
        difference = music_difference(tune)
        failures += [f"music: {difference}"] if difference else []
        change = changed(tune, number)
        if change is None:
            failures.append("not compared: no change can be drawn")
        else:
            kind, other = change
            self.changes[kind] += 1
            if picture.shape == other.shape and (picture == other).all():
                failures.append(f"invisible: {kind}")
        self.symbols += shown
        self.causes.update(failures)
        return failures


def picture_of(tune: Tune, number: int) -> np.ndarray | None:
    """The line in the style of that seed; None where it isn't drawable, and so never a label."""
    try:
        return ENGRAVER.draw(tune, np.random.default_rng(number)).image
    except EngraveError:
        return None


def changed(tune: Tune, number: int) -> tuple[str, np.ndarray] | None:
    """The notation class of a random change, and the picture of the label with it; the first of 20 that is drawable."""
    for attempt in range(20):
        change = mutated(tune, np.random.default_rng((number, attempt)))
        picture = picture_of(change[1], number) if change else None
        if change and picture is not None:
            return notation_class(change[0]), picture
    return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--mix", default="train", choices=[name for name in MIXES if name != "grand"])
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore", module="music21")
    mix = MIXES[options.mix]
    sources = [source for source in load_sources()[0] if mix.wide or source.simple]
    findings, number = Findings(), 0
    for _ in tqdm(range(options.count), unit="label"):
        picture = None
        while picture is None:  # as a data set is built
            tune, _ = excerpt(sources, options.seed, number, mix)
            picture, number = picture_of(tune, number), number + 1
        failures = findings.check(tune, picture, number - 1)
        if failures:
            print(f"{', '.join(failures)}: {write(tune)}", file=sys.stderr)
    for title, counts in (("symbols counted", findings.symbols), ("changed", findings.changes)):
        print(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    for cause, count in findings.causes.most_common():
        print(f"{cause:40} {count}")
    other = sum(count for cause, count in findings.causes.items() if cause.startswith("music"))
    result = {
        "labels": options.count, "not_drawable": number - options.count, "mix": options.mix, "seed": options.seed,
        "same_music_percent": round(100 * (1 - other / options.count), 3), "changed": findings.changes.total(),
        "symbols": findings.symbols.total(), "causes": findings.causes,
    }  # fmt: skip
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
