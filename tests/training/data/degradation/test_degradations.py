"""Every degradation by itself, and that one more is one more file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.errors import InputError
from tests.source import ROOT
from training.data.__main__ import main
from training.data.degradation.degradations.text import MARKS, PARTS, SYLLABLES, TEMPI
from training.data.degradation.degrade import DEGRADATIONS, Move, Stage, apply, step, strongest
from training.data.engraving.engravers.verovio import ENGRAVER
from training.data.engraving.lettering import STYLES, word_ink

NAMES = DEGRADATIONS.names()
MOVES = [name for name in NAMES if isinstance(step(name), Move)]
BESIDE = [name for name in NAMES if step(name).stage == Stage.PRINT]
STRONGEST = {name: strongest().get(name, 1.0) for name in NAMES}


@pytest.fixture(scope="module")
def line() -> np.ndarray:
    tune = parse("L:1/8\nM:4/4\nK:Eb clef=bass\nE,2 F,>G, A,B,CD|E4 (3FGA B,2|C,2 D,/2E,/2F, G,4|]")
    return ENGRAVER.draw(tune, np.random.default_rng(1)).image


def degraded(image: np.ndarray, name: str, seed: int = 0, space: float = 7.0) -> np.ndarray:
    """The picture after one step at the strongest of all presets."""
    return apply(image, {name: STRONGEST[name]}, np.random.default_rng(seed), space)[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_picture(name: str, line: np.ndarray) -> None:
    assert (degraded(line, name, 5) == degraded(line, name, 5)).all()


@pytest.mark.parametrize("name", NAMES)
def test_at_zero_strength_the_picture_stays_as_it_is(name: str, line: np.ndarray) -> None:
    for seed in range(3):
        out, x_map = apply(line, {name: 0.0}, np.random.default_rng(seed))
        assert (out == line).all()
        assert x_map(np.array([3.0, 50.0])) == pytest.approx([3.0, 50.0])


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_the_picture_and_not_its_size(name: str, line: np.ndarray) -> None:
    wide = cv2.resize(line, None, fx=2.3, fy=2.3, interpolation=cv2.INTER_AREA)
    for image, space in ((line, 7.0), (line[1:, 3:], 7.0), (wide, 16.1)):
        outs = [degraded(image, name, seed, space) for seed in range(6)]
        assert all(out.shape == image.shape and out.dtype == np.uint8 for out in outs)
        assert any((out != image).any() for out in outs)


@pytest.mark.parametrize("name", MOVES)
def test_marks_move_to_where_it_says(name: str) -> None:
    image = np.full((96, 420), 255, np.uint8)
    marks = np.arange(30, 400, 40)
    for x in marks:
        image[40:57, x - 2 : x + 3] = 0
    for seed in range(10):
        out, x_map = apply(image, {name: STRONGEST[name]}, np.random.default_rng(seed))
        ink = 255.0 - out[40:57]
        for place in x_map(marks.astype(np.float64)):
            left = max(0, round(place) - 10)
            window = ink[:, left : left + 21].sum(axis=0)
            found = left + (window * np.arange(len(window))).sum() / window.sum()
            assert abs(found - place) < 1.5


@pytest.mark.parametrize("name", BESIDE)
def test_nothing_is_drawn_over_the_music(name: str, line: np.ndarray) -> None:
    """All ink keeps its grey, and paper close to it stays paper; but a bracket may touch the staff's start."""
    start = int(np.flatnonzero(line.min(axis=0) < 128)[0]) + 3
    near = cv2.erode(line, np.ones((3, 3), np.uint8)) < 128
    near[:, :start] = False
    outs = [degraded(line, name, seed) for seed in range(40)]
    assert all((out[near] == line[near]).all() for out in outs)
    assert sum((out != line).any() for out in outs) > 20


@pytest.mark.parametrize("name", ["thick_lines", "thin_lines", "defocus", "motion_blur"])
def test_a_length_is_in_staff_spaces(name: str) -> None:
    """A picture three times as large changes as much, when its staff space is three times as large."""
    image = np.full((96, 300), 255, np.uint8)
    image[20:80, 20:280:40] = image[40:56, 40:260] = 0
    large = np.kron(image, np.ones((3, 3), np.uint8))
    changed = [np.abs(degraded(large, name, space=21.0) - large.astype(float)).mean()]
    changed += [np.abs(degraded(image, name) - image.astype(float)).mean()]
    assert changed[0] == pytest.approx(changed[1], rel=0.1)


def test_words_have_letters() -> None:
    """A font without one of them draws a box, the same for every letter it lacks."""
    texts = {*TEMPI, *MARKS, *PARTS, *SYLLABLES, *map(str, range(10))}
    for style in STYLES:
        letters = {letter for letter in "".join(texts) if letter != " " and (letter.isascii() or style != "sans")}
        pictures = {word_ink(letter, style, 40.0).tobytes() for letter in letters}
        assert len(pictures) == len(letters)


NEW = '''"""Tea was spilt on the page."""

import numpy as np

from training.data.degradation.degrade import Change, Stage


def spilt(picture, strength, rng, space):
    return picture * (1 - strength)


DEGRADATION = Change(Stage.PAPER, "share of the light lost", spilt)
'''
TRY = """
import numpy as np
from training.data.degradation.degrade import DEGRADATIONS, apply
assert "tea" in DEGRADATIONS.names()
out, _ = apply(np.full((96, 100), 200, np.uint8), {"tea": 0.5}, np.random.default_rng(0))
print(out.mean())
"""


def test_a_new_file_is_a_new_degradation(tmp_path: Path) -> None:
    for room in ("runtime", "training"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "bundles")
        shutil.copytree(ROOT / room, tmp_path / room, ignore=ignored)
    (tmp_path / "training" / "data" / "degradation" / "degradations" / "tea.py").write_text(NEW)
    done = subprocess.run([sys.executable, "-c", TRY], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "100.0"), done.stderr


def test_the_sheet_of_all_degradations_is_a_picture_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["degradations", "-o", str(tmp_path / "sheet.png")]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None and sheet.shape[0] >= 96 * len(strongest()) / 2
    with pytest.raises(InputError, match="ends in .png"):
        main(["degradations", "-o", str(tmp_path / "sheet.doc")])
