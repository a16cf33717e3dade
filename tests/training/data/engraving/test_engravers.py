"""What every engraver promises: the label's symbols are in the picture, at our size, where the engraver says."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.abc.tune import BARS, Tune, atoms, write
from runtime.errors import MissingExtraError, OmrError
from runtime.reading.column_head import POSITION_CLASSES, SYMBOL_CLASSES
from training.data.__main__ import main
from training.data.dataset.build import MIXES
from training.data.engraving.engraver import ENGRAVERS, HEIGHT, EngraveError, Engraver, Engraving, draw_many
from training.data.engraving.engravers import abcjs, abcm2ps, musescore
from training.data.engraving.lilypond_text import to_lilypond
from training.data.lines.excerpt import excerpt

from .faithful import mutated

PLACED = ("verovio", "abcm2ps")  # those that say where the symbols stand
HELD_OUT = [name for name in ENGRAVERS.names() if name not in PLACED]
PROGRAMS = [name for name in ENGRAVERS.names() if not name.startswith("verovio")]
PLAIN = parse("L:1/8\nM:3/4\nK:D clef=bass\nA,2 B,C D2|F,6|G,2 A,B, C2|D6|]")


def engraver(name: str) -> Engraver:
    """An engraver that is installed; otherwise the test is skipped."""
    found: Engraver = ENGRAVERS.get(name)
    try:
        found.draw(PLAIN, np.random.default_rng(0))
    except MissingExtraError as error:
        pytest.skip(str(error))
    return found


def wide(count: int, seed: int = 7) -> list[Tune]:
    """Lines of one or two bars, with all of the notation that is labelled."""
    mix = replace(MIXES["invented"], bars=(1, 2))
    return [excerpt([], seed, number, mix)[0] for number in range(count)]


def drawn(name: str, tunes: list[Tune], seed: int = 1) -> list[Engraving | None]:
    """All tunes in one run, in the same style as far as the style doesn't depend on the tune."""
    return draw_many(engraver(name), [[tune] for tune in tunes], [np.random.default_rng(seed) for _ in tunes])


def differ(first: Engraving, second: Engraving) -> bool:
    """Whether two pictures are told apart by more than the edges of their ink."""
    if first.image.shape != second.image.shape:
        return True
    return bool((np.abs(first.image.astype(int) - second.image) > 60).any())


@pytest.mark.parametrize("name", PLACED)
def test_symbols_stand_where_they_are_drawn(name: str) -> None:
    """Ink under every symbol's place: noteheads and accidentals at their staff position, bar lines across the staff."""
    tunes = wide(120)
    checked: Counter[str] = Counter()
    for tune, engraving in zip(tunes, drawn(name, tunes), strict=True):
        texts = [atom.text for atom in atoms(tune)]
        for atom, x, kind, position, _ in engraving.symbols if engraving else []:
            assert engraving and engraving.image.shape[0] == HEIGHT and 0 <= atom < len(texts)
            symbol = SYMBOL_CLASSES[kind]
            assert not kind or is_inked(engraving.image, x, symbol, POSITION_CLASSES[position]), (symbol, texts)
            checked[symbol] += 1
    often = ("note", "grace", "^", "_", "|", "rest", "key_flat", "key_sharp")
    assert min(checked[kind] for kind in often) > 20, checked


def is_inked(image: np.ndarray, x: int, symbol: str, position: str) -> bool:
    """Whether there is ink in column x where a symbol of that class must have it."""
    if position != "none":
        row = round(48 + (4 - int(position)) * 3.5)
        return bool(image[max(0, row - 3) : row + 4, x - 2 : x + 3].min() < 150)
    reach = 10 if symbol == "bar_rest" else 3  # several bars of rest may be a row of signs
    across = image[:, max(0, x - reach) : x + reach + 1]
    if symbol in BARS:
        return bool((across[36:61] < 215).all(axis=0).any())
    between = [row for row in range(HEIGHT) if (row - 34) % 7 in (2, 3, 4, 5)]
    return bool(across[between].min() < 160)  # clefs, meters, rests: more than a staff line


@pytest.mark.parametrize("name", PLACED)
def test_every_symbol_of_a_label_has_its_place(name: str) -> None:
    tunes = wide(40, seed=8)
    for tune, engraving in zip(tunes, drawn(name, tunes), strict=True):
        placed = {row[0] for row in engraving.symbols} if engraving else set()
        missing = [
            atom for number, atom in enumerate(atoms(tune))
            if atom.role in ("clef", "meter", "bar", "note", "accidental", "rest", "grace") and number not in placed
        ]  # fmt: skip
        assert engraving is None or not missing


def test_training_engravers_have_places_and_the_others_are_held_out() -> None:
    assert [name for name in ENGRAVERS.names() if not ENGRAVERS.get(name).held_out] == sorted(PLACED)


@pytest.mark.parametrize("name", HELD_OUT)
@pytest.mark.parametrize("splits", [[], ["train"], ["val", "test"]])
def test_held_out_engravers_are_refused_outside_the_test_split(name: str, splits: list[str], tmp_path: Path) -> None:
    options = ["--splits", *splits] if splits else []
    with pytest.raises(OmrError, match=f"'{name}' is held out for testing"):
        main(["build", "--out", str(tmp_path / "new"), "--size", "9", "--engraver", "verovio", name, *options])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_program_is_named_with_what_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Engraver = ENGRAVERS.get(name)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingExtraError, match=f"engraver '{name}' needs .*: .*install"):
        found.draw(PLAIN, np.random.default_rng(0))


@pytest.mark.parametrize("name", ENGRAVERS.names())
def test_a_line_is_drawn_at_our_size(name: str) -> None:
    image = engraver(name).draw(PLAIN, np.random.default_rng(0)).image
    assert image.shape[0] == HEIGHT and image.dtype == np.uint8
    darkness = (255 - image.astype(int)).mean(axis=1)
    lines = [darkness[row - 2 : row + 3].max() for row in (34, 41, 48, 55, 62)]  # 7 px apart, around row 48
    assert min(lines) > 25 and darkness[[5, 90]].max() < 10


def test_abcm2ps_draws_alike_alone_and_among_others() -> None:
    tunes = wide(12)
    together = draw_many(engraver("abcm2ps"), [[tune] for tune in tunes], [np.random.default_rng(n) for n in range(12)])
    for number in range(0, 12, 3):
        alone = draw_many(abcm2ps.ENGRAVER, [[tunes[number]]], [np.random.default_rng(number)])[0]
        other = together[number]
        assert (alone is None) == (other is None)
        assert alone is None or other is None or (alone.image == other.image).all() and alone.symbols == other.symbols


def test_abcm2ps_shows_every_symbol_of_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another symbol, another picture, in one style and at the width that comes of itself."""
    style = abcm2ps.draw_style(PLAIN, np.random.default_rng(0))
    style = replace(style, directives="%%stretchlast 0\n", own_glyphs=True)
    monkeypatch.setattr(abcm2ps, "draw_style", lambda *_: style)
    invisible, compared = unseen("abcm2ps", wide(300))
    assert invisible == [] and compared > 200


@pytest.mark.parametrize("bar", ["::", "|:"])
def test_a_line_is_refused_by_engravers_that_would_draw_half_of_its_last_bar_line(bar: str) -> None:
    tune = parse(f"L:1/8\nK:C\nC8|D8{bar}")
    assert not musescore.drawable(tune) and musescore.drawable(parse("L:1/8\nK:C\nC8|D8:|"))
    with pytest.raises(EngraveError, match="start of a repeat"):
        to_lilypond(tune)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["abcjs", "lilypond", "musescore"])
def test_held_out_engravers_show_every_symbol_of_a_label(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "abcjs":  # its width is ours
        monkeypatch.setattr(abcjs, "natural_width", lambda _: 500.0)
    invisible, compared = unseen(name, wide(200))
    assert invisible == [] and compared > 40


def unseen(name: str, lines: list[Tune]) -> tuple[list[str], int]:
    """Labels whose picture stays the same when one symbol is deleted or changed; how many were drawn both ways."""
    changes = [mutated(tune, np.random.default_rng(number)) for number, tune in enumerate(lines)]
    pairs = [(tune, *change) for tune, change in zip(lines, changes, strict=True) if change]
    before, after = drawn(name, [pair[0] for pair in pairs]), drawn(name, [pair[2] for pair in pairs])
    compared = [(pair, a, b) for pair, a, b in zip(pairs, before, after, strict=True) if a and b]
    same = [f"{atom.text}: {write(tune)}" for (tune, atom, _), a, b in compared if not differ(a, b)]
    return same, len(compared)
