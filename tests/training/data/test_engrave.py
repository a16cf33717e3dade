"""The picture holds what the label says, where the label says it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from runtime.abc import Event, Tune, atoms
from runtime.abc_reader import parse
from training.data.columns import POSITION_CLASSES, SYMBOL_CLASSES
from training.data.corpus import Source
from training.data.engraver import ENGRAVERS, HEIGHT, EngraveError
from training.data.engravers.verovio import ENGRAVER, OPTIONS
from training.data.excerpt import excerpt
from training.data.mei import to_mei

# SMuFL code points of Verovio's SVG glyphs.
ACCIDENTAL_GLYPHS = {"E260": "_", "E261": "=", "E262": "^", "E263": "^^", "E264": "__"}
FLAG_GLYPHS = {f"E24{n:X}" for n in range(16)}


def draw(tune: Tune, seed: int = 0) -> np.ndarray:
    return ENGRAVER.draw(tune, np.random.default_rng(seed)).image


def svg_of(tune: Tune) -> str:
    toolkit = ENGRAVER.toolkit()
    toolkit.setOptions({**OPTIONS, "font": "Bravura"})
    assert toolkit.loadData(to_mei([tune]))
    return str(toolkit.renderToSVG(1))


@pytest.fixture(scope="module")
def lines(sources: list[Source]) -> list[Tune]:
    return [excerpt(sources, seed=11, index=index)[0] for index in range(150)]


def test_everything_drawn_is_in_the_label_and_the_other_way_round(lines: list[Tune]) -> None:
    for tune in lines:
        svg = svg_of(tune)
        glyphs = Counter(re.findall(r'<use xlink:href="#(E[0-9A-F]{3})-', svg))
        classes = Counter(re.findall(r'class="(\w+)"', svg))
        events = tune.events
        heads = sum(len(e.pitches) + sum(len(g.pitches) for g in e.graces) for e in events)
        assert classes["notehead"] == heads
        assert classes["rest"] == sum(e.rest == "z" for e in events)
        assert classes["mRest"] == sum(e.rest == "Z" for e in events)
        dotted = [e for e in events if e.dots and e.rest != "Z"]
        assert len(re.findall(r"<ellipse[^>]*rx=\"3", svg)) >= sum(e.dots for e in dotted)
        assert classes["dots"] == len(dotted)
        signs = [
            p.accidental
            for e in events
            for p in (*e.pitches, *(p for g in e.graces for p in g.pitches))
            if p.accidental
        ]
        drawn = Counter({ACCIDENTAL_GLYPHS[g]: n for g, n in glyphs.items() if g in ACCIDENTAL_GLYPHS})
        drawn["^" if tune.key > 0 else "_"] -= abs(tune.key)
        assert +drawn == Counter(signs)
        halves = sum(len(e.pitches) for e in events if not e.rest and e.base == 4)
        assert glyphs["E0A3"] == halves
        assert glyphs["E0A2"] == sum(len(e.pitches) for e in events if not e.rest and e.base == 8)
        assert classes["tie"] == sum(_ties(tune))
        assert classes["slur"] == sum(e.slur_starts for e in events)


def _ties(tune: Tune) -> list[int]:
    events = tune.events
    return [
        len({p.step for p in a.pitches} & {p.step for p in b.pitches})
        for a, b in zip(events, events[1:], strict=False)
        if a.tie
    ]


def test_nothing_in_a_label_is_invisible(lines: list[Tune]) -> None:
    """Another symbol, another picture: one random change a line."""
    rng = np.random.default_rng(5)
    for tune in lines[:100]:
        places = [i for i, item in enumerate(tune.items) if isinstance(item, Event) and item.pitches]
        place = int(rng.choice(places))
        event = tune.items[place]
        assert isinstance(event, Event)
        changes = [
            replace(event, pitches=(replace(event.pitches[0], step=event.pitches[0].step - 1), *event.pitches[1:])),
            replace(event, duration=event.duration * 2, space=False),
            replace(
                event,
                pitches=(
                    replace(event.pitches[0], accidental="" if event.pitches[0].accidental else "^"),
                    *event.pitches[1:],
                ),
            ),
        ]
        for changed in changes:
            other = replace(tune, items=(*tune.items[:place], changed, *tune.items[place + 1 :]))
            before, after = draw(tune), draw(other)
            assert before.shape != after.shape or (before != after).any()


@pytest.mark.parametrize("change", [{"key": 3}, {"clef": "alto"}, {"meter": "3/4"}, {"meter": "C"}])
def test_the_head_of_a_line_is_visible(change: dict[str, object]) -> None:
    tune = parse("L:1/8\nK:C clef=treble\nABc dfe|")
    before, after = draw(tune), draw(replace(tune, **change))  # type: ignore[arg-type]
    assert before.shape != after.shape or (before != after).any()


def test_symbols_stand_where_they_are_drawn(lines: list[Tune]) -> None:
    """Ink under every notehead's place, at its staff position."""
    checked = 0
    for tune in lines[:40]:
        engraving = ENGRAVER.draw(tune, np.random.default_rng(1))
        texts = [atom.text for atom in atoms(tune)]
        assert engraving.image.shape[0] == HEIGHT
        for atom, x, kind, position, _ in engraving.symbols:
            assert 0 <= atom < len(texts)
            if SYMBOL_CLASSES[kind] == "note":
                step = int(POSITION_CLASSES[position])
                row = round(48 + (4 - step) * 3.5)
                window = engraving.image[max(0, row - 3) : row + 4, x - 2 : x + 3]
                assert window.size and window.min() < 150
                checked += 1
    assert checked > 500


def test_a_tune_is_drawn_alike_for_the_same_seed(lines: list[Tune]) -> None:
    assert (draw(lines[0], 3) == draw(lines[0], 3)).all()


@pytest.mark.parametrize("name", ["abcm2ps", "musescore"])
def test_other_engravers_draw_a_line_at_our_size(name: str) -> None:
    import shutil

    command = {"abcm2ps": "abcm2ps", "musescore": "mscore3"}[name]
    if shutil.which(command) is None:
        pytest.skip(f"the Debian package with {command} isn't installed")
    engraver = ENGRAVERS.get(name)
    assert engraver.held_out
    tune = parse("L:1/8\nM:3/4\nK:D clef=bass\nA,2 B,C D2|F,6|G,2 A,B, C2|D6|]")
    try:
        image = engraver.draw(tune, np.random.default_rng(0)).image
    except EngraveError as error:
        pytest.fail(str(error))
    assert image.shape[0] == HEIGHT and image.dtype == np.uint8
    darkness = (255 - image.astype(int)).mean(axis=1)
    lines = [darkness[row - 1 : row + 2].max() for row in (34, 41, 48, 55, 62)]  # 7 px apart, around row 48
    assert min(lines) > 25 and darkness[[5, 90]].max() < 10
