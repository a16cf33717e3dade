"""The picture holds what the label says, where the label says it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.abc.tune import Tune, write
from runtime.reading.column_head import POSITION_CLASSES, SYMBOL_CLASSES
from training.data.dataset.build import MIXES
from training.data.engraving.engraver import HEIGHT, EngraveError
from training.data.engraving.engravers.verovio import ENGRAVER
from training.data.lines.excerpt import excerpt
from training.data.sources.splits import Source

from .faithful import drawn, implied, mutated, svg_of


def draw(tune: Tune, seed: int = 0) -> np.ndarray:
    return ENGRAVER.draw(tune, np.random.default_rng(seed)).image


@pytest.fixture(scope="module")
def lines(sources: list[Source]) -> list[Tune]:
    return [excerpt(sources, seed=11, index=index, mix=MIXES["train"])[0] for index in range(120)]


def test_everything_drawn_is_in_the_label_and_the_other_way_round(lines: list[Tune]) -> None:
    for tune in lines:
        assert drawn(svg_of(tune)) == implied(tune), write(tune)


def test_nothing_in_a_label_is_invisible(lines: list[Tune]) -> None:
    """Another symbol, another picture: one random change a line."""
    assert invisible(lines[:80], seed=5) == []


@pytest.mark.slow
def test_nothing_in_2000_labels_is_invisible(sources: list[Source]) -> None:
    many = [excerpt(sources, seed=12, index=index, mix=MIXES["train"])[0] for index in range(2000)]
    assert [write(tune) for tune in many if drawn(svg_of(tune)) != implied(tune)] == []
    assert invisible(many, seed=6) == []


def invisible(lines: list[Tune], seed: int) -> list[str]:
    """Labels whose picture stays the same when a symbol is deleted or changed."""
    out, compared = [], 0
    for number, tune in enumerate(lines):
        change = mutated(tune, np.random.default_rng((seed, number)))
        if change is None:
            continue
        atom, other = change
        try:
            before, after = draw(tune, number), draw(other, number)
        except EngraveError:
            continue
        compared += 1
        if before.shape == after.shape and (before == after).all():
            out.append(f"{atom} {write(tune)} {write(other)}")
    assert compared > 0.5 * len(lines)
    return out


OUTSIDE = {  # label that reaches out of the picture -> one that doesn't
    "a flag": ("c4&D,2E,E,|", "c4&D,2E,2|"),
    "a beam": ("c4&E2E,3/2E,/2|", "c4&E2E,2|"),
    "a tremolo": ("c4&E2!///!F,2|", "c4&E2F,2|"),
    "the stroke of a grace note": ("{/e'}c4|", "{e'}c4|"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_line_is_refused_when_what_it_says_lies_outside_the_picture(name: str) -> None:
    outside, inside = (parse(f"L:1/8\nK:C clef=treble\n{text}") for text in OUTSIDE[name])
    assert draw(inside).shape[0] == HEIGHT
    with pytest.raises(EngraveError, match="outside the picture"):
        draw(outside)


@pytest.mark.parametrize("change", [{"key": 3}, {"clef": "alto"}, {"meter": "3/4"}, {"meter": "C"}])
def test_the_head_of_a_line_is_visible(change: dict[str, object]) -> None:
    tune = parse("L:1/8\nK:C clef=treble\nABc dfe|")
    before, after = draw(tune), draw(replace(tune, **change))  # type: ignore[arg-type]
    assert before.shape != after.shape or (before != after).any()


def test_a_tune_is_drawn_alike_for_the_same_seed() -> None:
    tune = parse("L:1/8\nM:3/4\nK:D clef=bass\nA,2 B,C D2|F,6|]")
    assert (draw(tune, 3) == draw(tune, 3)).all()


def test_octave_clefs_move_the_number_and_not_the_notes() -> None:
    tune = parse("L:1/8\nK:C\nCEGc|")
    for clef in ("treble-8", "treble+8"):
        moved = ENGRAVER.draw(replace(tune, clef=clef), np.random.default_rng(0))
        plain = ENGRAVER.draw(tune, np.random.default_rng(0))
        assert [row[3] for row in moved.symbols] == [row[3] for row in plain.symbols]
        heads = [row for row in moved.symbols if SYMBOL_CLASSES[row[2]] == "note"]
        assert len(heads) == 4
        for _, x, _, position, _ in heads:
            row = round(48 + (4 - int(POSITION_CLASSES[position])) * 3.5)
            assert moved.image[row - 3 : row + 4, x - 2 : x + 3].min() < 150


def test_clutter_is_drawn_and_leaves_the_labels_alone(lines: list[Tune]) -> None:
    changed = 0
    for number, tune in enumerate(lines[:20]):
        try:
            plain = ENGRAVER.draw(tune, np.random.default_rng(number))
            full = ENGRAVER.draw(tune, np.random.default_rng(number), clutter=1.0)
        except EngraveError:
            continue
        assert [row[0] for row in full.symbols] == [row[0] for row in plain.symbols]
        assert [row[2:] for row in full.symbols] == [row[2:] for row in plain.symbols]
        changed += plain.image.shape != full.image.shape or bool((plain.image != full.image).any())
    assert changed > 8


def test_a_grand_staff_is_224_px_high_and_both_staves_are_drawn() -> None:
    staves = [parse("L:1/8\nM:4/4\nK:D\nd4 f4|a8|"), parse("L:1/8\nM:4/4\nK:D clef=bass\nD,8|A,,8|")]
    image = ENGRAVER.draw_staves(staves, np.random.default_rng(0)).image
    assert image.shape[0] == 224
    dark = (255 - image.astype(int)).mean(axis=1)
    assert sum(a > 60 and a >= b and a >= c for a, b, c in zip(dark[1:-1], dark[:-2], dark[2:], strict=True)) >= 10
