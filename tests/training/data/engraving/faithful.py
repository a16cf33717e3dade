"""What an SVG of Verovio's holds against what a label implies, and labels with one symbol deleted or changed."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from runtime.abc.reader import parse
from runtime.abc.tune import BARS, CLEF_BOTTOM, DYNAMICS, MAJOR_KEYS, METERS, Atom, Change, Tune, atoms, join
from runtime.notation.measures import cut
from training.data.engraving.engravers.verovio import ENGRAVER, OPTIONS
from training.data.engraving.mei import to_mei
from training.data.lines.excerpt import part_beams

ACCIDENTAL_GLYPHS = {"E260": "_", "E261": "=", "E262": "^", "E263": "^^", "E264": "__"}  # SMuFL
TREMOLO_GLYPHS = {"E220": "/", "E221": "//", "E222": "///"}
CLASSES = {  # class of Verovio's SVG -> decorations that draw one each
    "fermata": ("fermata",), "trill": ("trill",), "turn": ("turn", "invertedturn"),
    "mordent": ("uppermordent", "lowermordent"), "dynam": DYNAMICS, "repeatMark": ("segno", "coda"),
    "arpeg": ("arpeggio",), "artic": ("staccato", "accent", "tenuto", "marcato", "staccatissimo"),
}  # fmt: skip

NAMES = ("notehead", "rest", "mRest", "multiRest", "dots", "flag", "tie", "slur", "clef", "meterSig", "voltaBracket")
OTHERS = {  # what a class has besides what the label holds
    "clef": tuple(f"clef={name}" for name in CLEF_BOTTOM if name not in ("perc", "none")),
    "key": tuple(f"K:{name}" for name in MAJOR_KEYS),
    "meter": tuple(f"M:{name}" for name in METERS),
    "bar": BARS,
    "decoration": (".", *(f"!{name}!" for group in CLASSES.values() for name in group if name != "staccato")),
}


def svg_of(tune: Tune) -> str:
    toolkit = ENGRAVER.toolkit()
    toolkit.setOptions({**OPTIONS, "font": "Bravura", "multiRestStyle": "block"})
    assert toolkit.loadData(to_mei([tune]))
    return str(toolkit.renderToSVG(1))


def drawn(svg: str) -> Counter[str]:
    """Symbols of a page by name."""
    glyphs = Counter(re.findall(r'<use xlink:href="#(E[0-9A-F]{3})-', svg))
    classes = Counter(re.findall(r'class="(\w+)[ "]', svg))
    keys = re.findall(r'class="keyAccid">\s*<use xlink:href="#(E[0-9A-F]{3})-', svg)
    out = Counter({ACCIDENTAL_GLYPHS[g]: n for g, n in (glyphs - Counter(keys)).items() if g in ACCIDENTAL_GLYPHS})
    out += Counter({TREMOLO_GLYPHS[g]: n for g, n in glyphs.items() if g in TREMOLO_GLYPHS})
    out += Counter({name: classes[name] for name in (*NAMES, *CLASSES)})
    out["half"], out["whole"] = glyphs["E0A3"], glyphs["E0A2"]
    return +out


def implied(tune: Tune) -> Counter[str]:
    """The same as the label tells it."""
    events, out = tune.events, Counter[str]()
    graces = [grace for event in events for grace in event.graces]
    out["notehead"] = sum(len(e.pitches) for e in events) + sum(len(g.pitches) for g in graces)
    out["rest"] = sum(e.rest == "z" for e in events)
    out["mRest"] = sum(e.rest == "Z" and e.duration == 1 for e in events)
    out["multiRest"] = sum(e.rest == "Z" and e.duration > 1 for e in events)
    out["dots"] = sum(bool(e.dots) and e.rest not in ("Z", "x") for e in events)
    out.update(p.accidental for owner in (*events, *graces) for p in owner.pitches if p.accidental)
    placed = [placed for measure in cut([tune]).measures for placed in measure.events]
    out["flag"] = sum(p.event.flagged and not p.beams for p in placed) + sum(len(e.graces) == 1 for e in events)
    out["half"] = sum(len(e.pitches) for e in events if not e.rest and e.base == 4)
    out["whole"] = sum(len(e.pitches) for e in events if not e.rest and e.base == 8)
    out["tie"] = sum(len(p.tie_starts) for p in placed)
    out["slur"] = sum(e.slur_starts for e in events)
    kinds = Counter(item.kind for item in tune.items if isinstance(item, Change))
    out["clef"], out["meterSig"] = 1 + kinds["clef"], (tune.meter is not None) + kinds["meter"]
    out["voltaBracket"] = sum(bool(getattr(item, "ending", "")) for item in tune.items)
    marks = Counter(mark for event in events for mark in event.decorations)
    out += Counter({name: sum(marks[mark] for mark in group) for name, group in CLASSES.items()})
    out += Counter({name: marks[name] for name in TREMOLO_GLYPHS.values()})
    return +out


def mutated(tune: Tune, rng: np.random.Generator) -> tuple[Atom, Tune] | None:
    """The atom that was deleted or exchanged for another of its class, and the label that results.

    Each notation class that the label holds is as likely as the others, however few of its symbols there are.
    """
    label = list(atoms(tune))
    texts = [atom.text for atom in label]
    classes = sorted({notation_class(atom) for atom in label})
    for _ in range(20):
        name = classes[int(rng.integers(len(classes)))]
        place = int(rng.choice([n for n, atom in enumerate(label) if notation_class(atom) == name]))
        atom = label[place]
        if name == "tuplet" and texts[place - 1].startswith("("):
            continue  # the time of a tuplet is the usual one, and not printed
        others = {*OTHERS.get(name, ()), *(a.text for a in label if notation_class(a) == name)} - {atom.text}
        delete = (atom.item >= 0 or name == "meter") and (not others or rng.random() < 0.5)
        if not delete and not others:
            continue
        put = [] if delete else [sorted(others)[int(rng.integers(len(others)))]]
        changed = part_beams(parse(join([*texts[:place], *put, *texts[place + 1 :]])))
        if changed != tune and _plain(changed):
            return atom, changed
    return None


def notation_class(atom: Atom) -> str:
    return atom.role or {" ": "beam break", "&": "second voice"}[atom.text]


def _plain(tune: Tune) -> bool:
    """Whether a changed label is one that could be a label at all: no bar without notes, no undrawable length."""
    return bool(tune.events) and all(e.rest == "Z" or e.base <= 16 for e in tune.events)
