"""Any picture becomes the same grey page; lines are scaled, placed and padded as the preparation says."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ConfigError
from runtime.page.geometry import StaffGeometry
from runtime.page.preparation import Preparation, batch, bucket_for, load_pages, prepare, whiten

DATA = Path(__file__).parents[2] / "data"
Grey = NDArray[np.uint8]
PAGE = np.full((40, 60), 255, np.uint8)
PAGE[5:15, 8:30] = 0  # not symmetric, so that a wrong turn shows
PAGE[20:30, 20:50] = 90


def _save(picture: Image.Image, path: Path, **options: Any) -> None:
    picture.save(path, **options)


def _exif(orientation: int) -> Callable[[Path], None]:
    turned = {3: 2, 6: 1, 8: 3}[orientation]  # counter-clockwise quarter turns the camera made
    def write(path: Path) -> None:
        exif = Image.Exif()
        exif[274] = orientation
        _save(Image.fromarray(np.rot90(PAGE, turned)), path, exif=exif, quality=98)
    return write  # fmt: skip


def _with_alpha(path: Path) -> None:
    colour = np.zeros((40, 60, 4), np.uint8)  # black everywhere; the page is in the transparency
    colour[:, :, 3] = 255 - PAGE
    _save(Image.fromarray(colour, "RGBA"), path)


def _transparent_palette(path: Path) -> None:
    picture = Image.fromarray(np.where(PAGE == 255, 0, np.where(PAGE == 0, 1, 2)).astype(np.uint8), "P")
    picture.putpalette([9, 9, 9, 0, 0, 0, 90, 90, 90])
    _save(picture, path, transparency=0)


def _two_frames(path: Path) -> None:
    _save(Image.fromarray(PAGE), path, save_all=True, append_images=[Image.fromarray(PAGE)])


# Name, how the page is written, and how far a grey level may be off.
FORMATS: list[tuple[str, Callable[[Path], None], int]] = [
    ("grey.png", lambda path: _save(Image.fromarray(PAGE), path), 0),
    ("colour.png", lambda path: _save(Image.fromarray(PAGE).convert("RGB"), path), 0),
    ("deep.png", lambda path: _save(Image.fromarray(PAGE.astype(np.uint16) * 257), path), 0),
    ("deep.tiff", lambda path: _save(Image.fromarray(PAGE.astype(np.uint16) * 257), path), 0),
    ("float.tiff", lambda path: _save(Image.fromarray((PAGE / 255).astype(np.float32)), path), 1),
    ("alpha.png", _with_alpha, 1),
    ("grey_alpha.png", lambda path: _save(Image.fromarray(PAGE).convert("LA"), path), 0),
    ("palette.png", lambda path: _save(Image.fromarray(PAGE).convert("P"), path), 0),
    ("transparent.gif", _transparent_palette, 1),
    ("cmyk.tiff", lambda path: _save(Image.fromarray(PAGE).convert("CMYK"), path), 2),
    ("cmyk.jpg", lambda path: _save(Image.fromarray(PAGE).convert("CMYK"), path, quality=98), 12),
    ("upside_down.jpg", _exif(3), 12),
    ("left.jpg", _exif(6), 12),
    ("right.png", _exif(8), 0),
    ("page.webp", lambda path: _save(Image.fromarray(PAGE), path, lossless=True), 0),
    ("page.bmp", lambda path: _save(Image.fromarray(PAGE), path), 0),
    ("two.tiff", _two_frames, 0),
]


@pytest.mark.parametrize(("name", "write", "tolerance"), FORMATS, ids=[name for name, *_ in FORMATS])
def test_every_format_gives_the_same_page(
    name: str, write: Callable[[Path], None], tolerance: int, tmp_path: Path
) -> None:
    write(tmp_path / name)
    pages = load_pages(tmp_path / name)
    assert len(pages) == (2 if name == "two.tiff" else 1)
    for page in pages:
        assert page.dtype == np.uint8 and page.shape == PAGE.shape
        assert np.abs(page.astype(int) - PAGE.astype(int)).max() <= tolerance


def test_a_two_level_scan_is_read(tmp_path: Path) -> None:
    _save(Image.fromarray(PAGE).convert("1", dither=Image.Dither.NONE), tmp_path / "scan.png")
    [page] = load_pages(tmp_path / "scan.png")
    assert np.array_equal(page, np.where(PAGE > 127, 255, 0))


def test_pdf_pages_are_drawn_at_the_resolution_asked_for(tmp_path: Path) -> None:
    pages = [Image.fromarray(PAGE).convert("RGB")] * 3
    pages[0].save(tmp_path / "a.pdf", save_all=True, append_images=pages[1:], resolution=72)
    drawn = load_pages(tmp_path / "a.pdf", dpi=144)
    assert [page.shape for page in drawn] == [(80, 120)] * 3
    assert np.abs(drawn[2][::2, ::2].astype(int) - PAGE).mean() < 12


def test_the_demo_pdf_and_picture_are_the_same_page() -> None:
    [picture], [drawn] = load_pages(DATA / "demo.png"), load_pages(DATA / "demo.pdf", dpi=170)
    assert picture.shape == drawn.shape
    assert np.abs(picture.astype(int) - drawn).mean() < 1


def test_whitening_leaves_clean_pages_and_evens_the_light() -> None:
    page = np.full((96, 300), 255, np.uint8)
    page[34:63:7] = 0
    assert np.array_equal(whiten(page, 21), page)
    shaded = (page * np.linspace(1.0, 0.5, 300)[None]).astype(np.uint8)
    evened = whiten(shaded, 21)
    assert int(evened[page == 255].min()) > 235
    assert int(evened[page == 0].max()) == 0


def test_a_framed_line_of_the_right_height_is_not_touched() -> None:
    line = np.full((96, 200), 255, np.uint8)
    line[30:60, 50:53] = 0
    assert np.array_equal(prepare(line, Preparation()), line)


@pytest.mark.parametrize("middle", [0.5, 0.4])
@pytest.mark.parametrize(("space", "sides"), [(9.0, 1.0), (128 * 7 / 96, 2.5)])
def test_a_staff_is_brought_to_its_size_and_place(space: float, sides: float, middle: float) -> None:
    page = np.full((500, 900), 255, np.uint8)
    for top in range(200, 300, 20):
        page[top : top + 2, 50:850] = 0
    staff = StaffGeometry(np.array([50.0, 850.0]), np.array([240.5, 240.5]), np.array([20.0, 20.0]))
    p = Preparation(height=128, staff_space=space, side_spaces=sides, middle_line=middle)
    line = prepare(page, p, staff)
    assert line.shape == (128, round((800 / 20 + 2 * sides) * space))
    dark = np.flatnonzero(line[:, 100:200].mean(axis=1) < 150)
    expected = 128 * middle + space * np.arange(-2, 3)
    assert all(np.abs(dark + 0.5 - row).min() < 1 for row in expected)
    assert all(np.abs(expected - (row + 0.5)).min() < 1.5 for row in dark)


def test_a_batch_is_padded_with_white_to_the_smallest_bucket() -> None:
    p = Preparation(width_buckets=(64, 128), channels=3)
    lines = [np.zeros((96, 50), np.uint8), np.full((96, 70), 255, np.uint8)]
    image, widths = batch(lines, p)
    assert image.shape == (2, 3, 96, 128) and image.dtype == np.float32
    assert widths.tolist() == [50, 70] and widths.dtype == np.int32
    assert (image[0, :, :, :50] == -1).all() and (image[0, :, :, 50:] == 1).all() and (image[1] == 1).all()


def test_a_line_wider_than_every_bucket_is_scaled_down() -> None:
    p = Preparation(width_buckets=(64, 128))
    line = np.full((96, 256), 255, np.uint8)
    line[40:56] = 0
    image, widths = batch([line], p)
    assert image.shape == (1, 1, 96, 128) and widths.tolist() == [128]
    assert np.flatnonzero(image[0, 0, :, 60] < 0).tolist() == list(range(44, 52))


def test_buckets_hold_their_lines() -> None:
    p = Preparation(width_buckets=(64, 128))
    assert [bucket_for(width, p) for width in (1, 40, 41, 104, 999)] == [64, 64, 128, 128, 128]
    assert p.widest_line == 104


def test_a_margin_is_the_preparations_own() -> None:
    p = Preparation(width_buckets=(64, 128), margin=2)
    assert [bucket_for(width, p) for width in (62, 63, 126)] == [64, 128, 128]
    assert p.widest_line == 126


def test_greys_become_numbers_as_the_preparation_says() -> None:
    p = Preparation(width_buckets=(64,), paper=200, ink=50, mean=0.0, std=0.5)
    image, _ = batch([np.full((96, 10), 50, np.uint8)], p)
    assert (image[..., :10] == 0).all() and (image[..., 10:] == 2).all()
    shaded = np.full((96, 10), 120, np.uint8)
    assert (prepare(shaded, p) == 200).all()  # whitened to that paper
    assert np.array_equal(prepare(shaded, Preparation(whiten_window=0)), shaded)


def test_a_preparation_survives_being_stored() -> None:
    p = Preparation(height=128, staff_space=9.0, width_buckets=(64, 640), whiten_window=0, margin=8)
    assert Preparation.from_dict(p.to_dict()) == p


BAD_PREPARATIONS = [
    ({"wide_lines": "folded"}, "wide_lines is 'folded'"),
    ({"ink": 255, "paper": 0}, "ink is 255 and paper 0"),
    ({"margin": -1}, "margin is -1"),
    ({"staff_space": 0}, "staff_space is 0"),
    ({"channels": 4}, "channels is 4"),
    ({"width_buckets": []}, "at least one width"),
    ({"width_buckets": [128, 64]}, "ascending"),
    ({"width_buckets": [60]}, "no multiple"),
    ({"size": 3}, "no field 'size'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_PREPARATIONS, ids=[message for _, message in BAD_PREPARATIONS])
def test_a_preparation_out_of_range_is_one_sentence(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preparation.from_dict({**Preparation().to_dict(), **change})


def test_a_preparation_that_lacks_a_field_is_one_sentence() -> None:
    """What a manifest leaves out is not guessed."""
    for name in Preparation().to_dict():
        with pytest.raises(ConfigError, match=f"preparation lacks '{name}'"):
            Preparation.from_dict({key: value for key, value in Preparation().to_dict().items() if key != name})


def test_pictures_are_read_from_any_name(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(PAGE).save(stream, "PNG")
    (tmp_path / "photo.jpg").write_bytes(stream.getvalue())
    assert np.array_equal(load_pages(tmp_path / "photo.jpg")[0], PAGE)
