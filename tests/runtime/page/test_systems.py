"""Staves are found where they were drawn: on clean pages, photos, single lines, and not where there are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.page.geometry import StaffGeometry, straighten
from runtime.page.orientation import turn
from runtime.page.preparation import Preparation, load_pages, prepare
from runtime.page.staves import find_staff, find_staves, staff_space
from runtime.page.systems import find_systems, lay_out

from ..drawn_page import DrawnStaff, Grey, draw_page
from ..photograph import Points, photograph

DATA = Path(__file__).parents[2] / "data"
DEMO_SYSTEMS = 4


def errors(found: StaffGeometry, drawn: DrawnStaff, places: Points | None = None) -> tuple[float, float, float]:
    """Largest distance of the middle line, and of the left and right ends, in staff spaces."""
    x = np.linspace(drawn.left, drawn.right, 40)
    y = np.full_like(x, drawn.middle)
    x, y = places(x, y) if places else (x, y)
    inside = (x > found.x[0]) & (x < found.x[-1])
    across = np.abs(np.interp(x, found.x, found.y) - y)[inside].max()
    ends = abs(found.x[0] - x[0]), abs(found.x[-1] - x[-1])
    return across / drawn.space, ends[0] / drawn.space, ends[1] / drawn.space


@pytest.mark.parametrize("space", [6.0, 7.3, 11.0, 16.5, 28.0])
def test_staves_of_any_size_are_found_where_they_were_drawn(space: float) -> None:
    page, drawn = draw_page(4, space)
    found = find_staves(page)
    assert len(found) == len(drawn)
    for staff, truth in zip(found, drawn, strict=True):
        across, left, right = errors(staff, truth)
        assert across < 0.1 and left < 0.5 and right < 0.5
        assert staff.mean_space == pytest.approx(space, rel=0.02)
    assert staff_space(page) == pytest.approx(space, rel=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_a_phone_photo_gives_every_staff_from_end_to_end(seed: int) -> None:
    page, drawn = draw_page(5, 10.0, seed)
    photo, places = photograph(page, np.random.default_rng(seed), 10.0)
    found = find_staves(photo)
    assert len(found) == len(drawn)
    for staff, truth in zip(found, drawn, strict=True):
        across, left, right = errors(staff, truth, places)
        assert across < 0.25 and left < 1 and right < 1


@pytest.mark.parametrize("quarters", range(4))
def test_a_page_in_any_orientation_is_turned_upright(quarters: int) -> None:
    page, drawn = draw_page(5, 9.0)
    layout = lay_out(turn(page, quarters))
    assert (layout.turned + quarters) % 4 == 0
    assert np.array_equal(layout.grey, page)
    assert len(layout.systems) == len(drawn)


def test_systems_come_from_top_to_bottom_with_their_boxes() -> None:
    page, drawn = draw_page(4, 9.0)
    systems = find_systems(page)
    for system, truth in zip(systems, drawn, strict=True):
        expected = (truth.left, truth.middle - 2 * truth.space, truth.right, truth.middle + 2 * truth.space)
        assert system.box == pytest.approx(expected, abs=0.6 * truth.space)


@pytest.mark.parametrize("name", ["demo.png", "demo.pdf", "demo_photo.jpg"])
def test_the_demo_pages_have_their_systems(name: str) -> None:
    [page] = load_pages(DATA / name)
    assert len(lay_out(page).systems) == DEMO_SYSTEMS


def moved_by(matrix: NDArray[np.float64]) -> Points:
    """What a perspective does to places."""

    def places(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        u, v, w = matrix @ np.stack([x, y, np.ones_like(x)])
        return u / w, v / w

    return places


def one_line(seed: int, degraded: bool, grey: int = 0) -> tuple[Grey, DrawnStaff, NDArray[np.float64]]:
    """A picture of one line at 7 px a staff space; with what the degraded test set does to it."""
    page, [drawn] = draw_page(1, 7.0, seed, length=60.0, apart=8.0, grey=grey)
    rng = np.random.default_rng(seed)
    if not degraded:
        return page, drawn, np.eye(3)
    height, width = page.shape
    angle = float(rng.choice([-2, 2]))
    matrix = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1), [0, 0, 1]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.04, 0.04, (4, 2)).astype(np.float32) * height
    matrix = np.asarray(cv2.getPerspectiveTransform(corners, moved), np.float64) @ matrix
    picture = cv2.warpPerspective(page, matrix, (width, height), borderValue=(255,)).astype(np.float64)
    picture *= np.linspace(1.0, 0.6, width)[None]
    picture = cv2.GaussianBlur(picture, (0, 0), 0.15 * 7) + rng.normal(0, 3, picture.shape)
    file = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8), drawn, matrix


@pytest.mark.parametrize("degraded", [False, True], ids=["clean", "degraded"])
@pytest.mark.parametrize("seed", range(6))
def test_a_picture_of_one_line_gives_its_staff(seed: int, degraded: bool) -> None:
    picture, drawn, matrix = one_line(seed, degraded)
    staff = find_staff(picture)
    assert staff is not None
    across, left, right = errors(staff, drawn, moved_by(matrix))
    assert across < 0.15 and left < 1 and right < 1


@pytest.mark.parametrize("seed", range(6))
def test_faint_lines_of_a_single_line_are_summed_up(seed: int) -> None:
    """A seventh as dark as the notes, then degraded: no column shows them."""
    picture, drawn, matrix = one_line(seed, degraded=True, grey=220)
    assert find_staves(picture) == []
    staff = find_staff(picture)
    assert staff is not None
    across, left, right = errors(staff, drawn, moved_by(matrix))
    # Where nothing can be seen the staff ends with its last note or bar line.
    assert across < 0.15 and left < 1 and right < 5


@pytest.mark.parametrize("seed", range(3))
def test_a_prepared_line_has_its_lines_level_at_the_right_size(seed: int) -> None:
    page, _ = draw_page(3, 12.0, seed)
    photo, _ = photograph(page, np.random.default_rng(seed), 12.0)
    p = Preparation()
    for staff in find_staves(photo):
        ink = 255.0 - prepare(photo, p, staff)
        left, right = ink[:, :200].mean(axis=1), ink[:, -200:].mean(axis=1)
        for part in (left, right):
            rows = [int(part[row - 2 : row + 3].argmax()) + row - 2 for row in (34, 41, 48, 55, 62)]
            assert np.abs(np.array(rows) + 0.5 - (48 + 7 * np.arange(-2, 3))).max() <= 1.0


def test_straightening_undoes_a_known_bend() -> None:
    page, [drawn] = draw_page(1, 10.0, length=60.0)
    x = np.arange(page.shape[1], dtype=np.float32)
    bend = 15 * np.sin(x / 150).astype(np.float32)
    rows = np.arange(page.shape[0], dtype=np.float32)[:, None]
    bent = cv2.remap(page, np.tile(x, (len(rows), 1)), rows - bend[None], cv2.INTER_LINEAR, borderValue=(255,))
    knots = np.linspace(drawn.left, drawn.right, 61)
    truth = StaffGeometry(knots, drawn.middle + np.interp(knots, x, bend), np.full(61, 10.0))
    straight = straighten(np.asarray(bent, np.uint8), truth, 10.0, 120, (0.0, 0.0))
    lines = [straight[round(60 + 10 * k - 0.5), 20:-20].mean() for k in (-2, -1, 0, 1, 2)]
    gaps = [straight[round(60 + 10 * k + 4.5), 20:-20].mean() for k in (-2, -1, 0, 1)]
    assert max(lines) < min(gaps) - 60


def ruled(lines: int, rows: int = 5) -> Grey:
    """Groups of equidistant lines."""
    page = np.full((1200, 900), 255, np.uint8)
    for top in range(80, 80 + 220 * rows, 220):
        for line in range(lines):
            page[top + 14 * line : top + 14 * line + 2, 60:840] = 0
    return page


def text_page() -> Grey:
    page = np.full((1200, 900), 255, np.uint8)
    for row in range(45):
        words = f"{row} The quick brown fox jumps over the lazy dog and reads on"
        cv2.putText(page, words, (40, 60 + 25 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.65, (0,), 1, cv2.LINE_AA)
    return page


def table() -> Grey:
    """Five columns of a table in a box, and five rows."""
    page = np.full((1200, 900), 255, np.uint8)
    for line in range(6):
        page[100 + 40 * line : 102 + 40 * line, 100:800] = 0
        page[100:302, 100 + 140 * line : 102 + 140 * line] = 0
    return page


WITHOUT_STAFF = {
    "table": table(),
    "white": np.full((800, 600), 255, np.uint8),
    "black": np.zeros((800, 600), np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (800, 600)).astype(np.uint8),
    "text": text_page(),
    "four lines": ruled(4),
    "six lines": ruled(6),
    "ruled paper": ruled(60, 1),
}


@pytest.mark.parametrize("page", WITHOUT_STAFF.values(), ids=WITHOUT_STAFF.keys())
def test_no_staff_is_found_where_there_is_none(page: Grey) -> None:
    assert lay_out(page).systems == ()


def test_five_ruled_lines_are_a_staff() -> None:
    assert len(lay_out(ruled(5)).systems) == 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (15, 15), (16, 16), (17, 3000), (3000, 17)])
@pytest.mark.parametrize("level", [0, 255])
def test_odd_shapes_have_no_staff(shape: tuple[int, int], level: int) -> None:
    assert lay_out(np.full(shape, level, np.uint8)).systems == ()
    assert staff_space(np.full(shape, level, np.uint8)) is None


def dotted(page: Grey, pitch: int) -> Grey:
    """Staff lines, 24 px apart, as a laser printer draws thin grey ones: dots every `pitch` px."""
    page = page.copy()
    lines = (page < 128).mean(axis=1) > 0.5
    gaps = np.arange(page.shape[1]) % pitch >= pitch // 2
    thin = np.zeros_like(page, bool)
    thin[lines] = cv2.erode(page, np.ones((9, 1), np.uint8), iterations=1)[lines] < 128
    solid = cv2.dilate(page, np.ones((9, 1), np.uint8)) < 128
    page[thin & ~solid & gaps[None]] = 255
    return np.asarray(cv2.GaussianBlur(page, (0, 0), 0.8), np.uint8)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("pitch", [5, 7, 9])
def test_halftoned_staff_lines_do_not_turn_a_page(pitch: int, quarters: int) -> None:
    page, drawn = draw_page(5, 24.0)
    layout = lay_out(turn(dotted(page, pitch), quarters))
    assert (layout.turned + quarters) % 4 == 0
    assert len(layout.systems) == len(drawn)


@pytest.mark.parametrize("quarters", [0, 1])
def test_white_on_black_is_read_as_black_on_white(quarters: int) -> None:
    page, drawn = draw_page(4, 11.0)
    layout = lay_out(turn(255 - page, quarters))
    assert np.array_equal(layout.grey, page)
    assert len(layout.systems) == len(drawn)


def test_the_left_page_of_a_spread_comes_first() -> None:
    pages = [draw_page(count, 9.0, seed, length=60.0)[0] for seed, count in enumerate((4, 5))]
    missing = pages[1].shape[0] - pages[0].shape[0]
    left = cv2.copyMakeBorder(pages[0], 0, missing, 0, 0, cv2.BORDER_CONSTANT, value=(255,))
    systems = lay_out(np.hstack([left, pages[1]])).systems
    assert len(systems) == 9
    assert all(system.box[2] < left.shape[1] for system in systems[:4])
    assert all(system.box[0] > left.shape[1] for system in systems[4:])


def test_staves_on_one_row_are_read_from_the_left() -> None:
    page, _ = draw_page(3, 9.0, length=70.0)
    coda, _ = draw_page(1, 9.0, seed=4, length=30.0)
    page = np.hstack([page, np.full((page.shape[0], 380), 255, np.uint8)])
    page[-coda.shape[0] :, -coda.shape[1] :] = np.minimum(page[-coda.shape[0] :, -coda.shape[1] :], coda)
    boxes = [system.box for system in lay_out(page).systems]
    assert len(boxes) == 4 and boxes[3][0] > boxes[2][2]


def test_a_small_figure_in_a_large_page_of_text_is_found() -> None:
    page = np.full((2400, 1800), 255, np.uint8)
    for row in range(80):
        if not 20 < row < 40:
            words = "of the theme that the second violin takes up again in the next bars, as the figure shows"
            cv2.putText(page, words, (60, 40 + 30 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0,), 1, cv2.LINE_AA)
    figure, drawn = draw_page(2, 7.0, length=60.0)
    page[700 : 700 + figure.shape[0], 500 : 500 + figure.shape[1]] = figure
    systems = lay_out(page).systems
    assert len(systems) == len(drawn)
    assert all(abs(system.box[0] - 500 - truth.left) < 7 for system, truth in zip(systems, drawn, strict=True))


@pytest.mark.parametrize("space", [3.5, 4.0, 4.6])
def test_small_staves_are_found_and_said_to_be_small(space: float) -> None:
    page, drawn = draw_page(4, space)
    layout = lay_out(page)
    assert len(layout.systems) == len(drawn)
    [note] = layout.notes
    assert "4 of 4 staves have only" in note and "px from line to line" in note


def test_a_gap_with_ink_between_staves_is_said() -> None:
    page, drawn = draw_page(5, 10.0)
    middle = round(drawn[2].middle)
    for line in (-20, -10, 0, 10, 20):
        page[middle + line - 2 : middle + line + 3, :] = 255  # the notes stay, the lines are gone
    layout = lay_out(page)
    assert len(layout.systems) == 4
    assert any("between staff 2 and staff 3" in note for note in layout.notes)
    empty, _ = draw_page(5, 10.0)
    empty[middle - 60 : middle + 60] = 255
    assert lay_out(empty).notes == ()


def ledger_page() -> tuple[Grey, DrawnStaff]:
    """A staff under which nearly every column holds four ledger lines."""
    page, [drawn] = draw_page(1, 12.0, length=60.0, apart=22.0)
    x = round(drawn.left) + 8 * 12
    while x < drawn.right - 40:
        for line in range(3, 7):
            row = round(drawn.middle + line * 12)
            page[row : row + 2, x : x + 22] = 0
        centre = (x + 11, round(drawn.middle + 6 * 12))
        cv2.ellipse(page, centre, (8, 5), -20, 0, 360, (0,), -1)
        x += 28
    return page, drawn


def test_ledger_lines_are_not_taken_for_staff_lines() -> None:
    page, drawn = ledger_page()
    [staff] = find_staves(page)
    assert errors(staff, drawn)[0] < 0.1
