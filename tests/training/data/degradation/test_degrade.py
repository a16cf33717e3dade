"""Degradation: reproducible, the same size, the symbols move with the picture, and the test set stays what it was."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.bundle.tokenizer import AtomTokenizer
from runtime.errors import ConfigError
from runtime.page.preparation import Preparation
from training.data.degradation.degrade import DEGRADATIONS, NAMES, PRESETS, Move, apply, degrade, step, strongest
from training.data.engraving.engravers.verovio import ENGRAVER
from training.loading.batches import Lines

# Of what `photographed` gives, computed with the code that the first figures of models were measured with.
PHOTO_DIGEST = "f98be7d74d5e3c5889cbd80a142ac407da93529c1da6ef9e4aa07b2a257e4264"


@pytest.fixture(scope="module")
def line() -> np.ndarray:
    return ENGRAVER.draw(
        parse("L:1/8\nM:6/8\nK:D clef=treble\nABc def|gfe d3|ABc def|]"), np.random.default_rng(0)
    ).image


@pytest.mark.parametrize("preset", NAMES)
def test_the_same_seed_gives_the_same_picture(preset: str, line: np.ndarray) -> None:
    first, second = (degrade(line, preset, np.random.default_rng(4))[0] for _ in range(2))
    assert (first == second).all() and first.dtype == np.uint8
    assert preset == "photo" or first.shape == line.shape
    assert preset == "clean" or (
        degrade(line, preset, np.random.default_rng(5))[0].shape != first.shape
        or (degrade(line, preset, np.random.default_rng(5))[0] != first).any()
    )


@pytest.mark.parametrize("preset", NAMES)
@pytest.mark.parametrize("space", [7.0, 16.0])
def test_places_move_with_the_picture(preset: str, space: float) -> None:
    """Marks at the middle line, with white around them, are found where the function says."""
    height, pitch = round(13.7 * space), round(6 * space)
    image = np.full((height, 10 * pitch), 255, np.uint8)
    rows = slice(round(height / 2 - 1.2 * space), round(height / 2 + 1.2 * space))
    for x in range(pitch, 10 * pitch, pitch):
        image[rows, x - round(0.3 * space) : x + round(0.3 * space) + 1] = 0
    for seed in range(12):
        out, x_map = degrade(image, preset, np.random.default_rng(seed), space)
        middle, reach = out.shape[0] // 2, round(space)
        for x in (2 * pitch, 5 * pitch, 8 * pitch):
            place = round(float(x_map(np.array([x], np.float64))[0]))
            window = cv2.blur(out, (3, 3))[middle - reach : middle + reach, place - reach : place + reach + 1]
            centre = window.astype(int).sum(axis=0)
            dark = np.flatnonzero(centre < (centre.min() + centre.max()) / 2)
            assert abs(dark.mean() - reach) < 0.35 * space, f"seed {seed}, x {x}"


def test_all_moves_of_places_are_one_resampling(line: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, remap = [], cv2.remap
    monkeypatch.setattr(cv2, "remap", lambda *given, **more: calls.append(1) or remap(*given, **more))
    moves = {name: most for name, most in strongest().items() if isinstance(step(name), Move)}
    assert len(moves) >= 4
    apply(line, moves, np.random.default_rng(0))
    assert len(calls) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_known_steps_and_share_out_all_lines(preset: str) -> None:
    looks = PRESETS[preset]
    assert {name for look in looks for name in look.doses} <= set(DEGRADATIONS.names())
    assert not looks or sum(look.share for look in looks) == pytest.approx(1)
    assert all(most > 0 and 0 < chance <= 1 for look in looks for most, chance in look.doses.values())


@pytest.mark.parametrize("preset", ["scan", "phone", "train"])
def test_staff_lines_are_seen_in_nearly_all_pictures(preset: str, line: np.ndarray) -> None:
    """Each is darker than the paper beside it. Without the steps that move places, so that its row is known."""
    clean = np.median(line[:, 60:-20], axis=1)
    lines = [row for row in range(30, 66) if clean[row] < clean[row - 1] and clean[row] <= clean[row + 1]]
    assert len(lines) == 5
    seen = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        look = PRESETS[preset][seed % len(PRESETS[preset])]
        strengths = {name: value for name, value in look.draw(rng).items() if not isinstance(step(name), Move)}
        rows = np.median(apply(line, strengths, rng)[0][:, 60:-20], axis=1)
        seen += all(rows[row] < max(rows[row - 3], rows[row + 3]) - 3 for row in lines)
    assert seen >= 57


def photographed() -> bytes:
    """Pictures and places of the preset `photo`, for drawn lines of several widths."""
    out = b""
    for seed in range(12):
        image = np.full((96, 200 + 50 * seed), 255, np.uint8)
        image[34:63:7, 8:-8] = 0
        for number, x in enumerate(range(20, image.shape[1] - 20, 24)):
            image[30 + 5 * (number % 7) : 36 + 5 * (number % 7), x : x + 8] = 0
        picture, x_map = degrade(image, "photo", np.random.default_rng(seed))
        out += picture.tobytes() + np.round(x_map(np.arange(0, 200, 20.0)), 6).tobytes()
    return out


def test_the_degraded_test_set_is_what_it_was() -> None:
    assert hashlib.sha256(photographed()).hexdigest() == PHOTO_DIGEST


def test_an_unknown_preset_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="no degradation preset called 'foto' .known: clean, scan, phone, tr"):
        degrade(np.zeros((96, 100), np.uint8), "foto", np.random.default_rng(0))


def test_an_unknown_preset_is_refused_before_a_line_is_read() -> None:
    rows = SimpleNamespace(column_names=["image"])
    with pytest.raises(ConfigError, match="no degradation preset called 'foto'"):
        Lines(rows, Preparation(), AtomTokenizer(), 8, seed=0, degrade="foto")
