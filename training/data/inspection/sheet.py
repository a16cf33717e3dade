"""Draws contact sheets: pictures of a data set with marks at their symbols, their labels, and the labels engraved
again; also a sheet of what each degradation does.

Verovio draws the label again below the picture, so that a person sees at once whether the two agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.abc.reader import AbcError
from runtime.abc.staves import parse_staves
from runtime.errors import InputError
from runtime.output import write_whole
from training.data.dataset.build import open_dataset
from training.data.degradation.degrade import apply, degrade, step, strongest
from training.data.engraving.engraver import ENGRAVERS, MIDDLE, STAFF_SPACE, EngraveError
from training.data.lines.excerpt import Mix, excerpt

TEXT_HEIGHT, LETTER, LEAST_WIDTH = 15, 8, 600  # px; of a line of text, of a letter, of a strip
GAP = 225  # grey between and beside pictures


def contact_sheet(folder: Path, split: str, preset: str, out: Path, count: int = 12) -> None:
    """Write a PNG of the first lines of a split.

    Raises:
        InputError: no such split, no rows, or `out` can't be written.
    """
    data = open_dataset(folder)
    if split not in data:
        raise InputError(f"{folder} has no split {split!r} (it has: {', '.join(data)})")
    if count < 1:
        raise InputError(f"--rows {count} is too small: expected at least 1")
    rows = data[split].select(range(min(count, len(data[split]))))
    sheet = stacked([strip(row, preset, number) for number, row in enumerate(rows)], gap=10)
    write_whole(out, cv2.imencode(".png", sheet)[1].tobytes())


def strip(row: dict[str, Any], preset: str, number: int) -> np.ndarray:
    """One line: its name and label, the picture with marks, and what the label says."""
    picture, drawn = marked(row, preset, number), again(row["transcription"])
    label = "  ".join(row["transcription"].splitlines()[2:])
    width = max(LEAST_WIDTH, picture.shape[1], drawn.shape[1])
    return stacked([text(f"{row['filename']}  {label}", width), picture, drawn])


def marked(row: dict[str, Any], preset: str, number: int) -> np.ndarray:
    """The picture, a tick above every symbol and, where nothing moved, a dot at its place on the staff."""
    grey, x_map = degrade(np.array(row["image"].convert("L")), preset, np.random.default_rng(number))
    symbols = np.array(row["symbols"], np.float64).reshape(-1, 5)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for x, (_, _, kind, position, _) in zip(x_map(symbols[:, 1]), symbols, strict=True):
        if kind:
            cv2.line(picture, (round(x), 0), (round(x), 5), (40, 40, 220), 1)
        if kind and position and preset == "clean":
            y = round(MIDDLE + (4 - (position - 21)) * STAFF_SPACE / 2)
            cv2.circle(picture, (round(x), y), 2, (220, 80, 0), -1)
    return picture


def again(label: str) -> np.ndarray:
    """The label engraved by Verovio, or the reason why it can't be; on another ground than the picture."""
    try:
        staves, rng = parse_staves(label, strict=True), np.random.default_rng(0)
        engraver = ENGRAVERS.get("verovio")
        grey = (engraver.draw(staves[0], rng) if len(staves) == 1 else engraver.draw_staves(staves, rng)).image
    except (AbcError, EngraveError) as error:
        return text(f"the label can't be engraved: {error}", LEAST_WIDTH)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    return (picture * np.array([0.88, 1.0, 0.92])).astype(np.uint8)  # a light green


def text(content: str, width: int) -> np.ndarray:
    """Text in as many lines as it takes; what the font lacks is a question mark."""
    letters = max(1, width // LETTER)
    lines = [content[start : start + letters] for start in range(0, len(content), letters)]
    picture = np.full((TEXT_HEIGHT * len(lines), width, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        place = 2, 10 + TEXT_HEIGHT * number
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def stacked(pictures: list[np.ndarray], gap: int = 0) -> np.ndarray:
    """Pictures one below the other."""
    width = max(picture.shape[1] for picture in pictures)
    return np.vstack(
        [np.pad(p, ((0, gap), (0, width - p.shape[1]), (0, 0)), constant_values=GAP) for p in pictures]
    )


def degradations_sheet(out: Path, columns: int = 2) -> None:
    """Write a PNG or JPEG of one line after each degradation alone, as strong as any preset may make it.

    Raises:
        InputError: `out` is no name of a picture, or can't be written.
    """
    tune, _ = excerpt([], 1, 7, Mix(bars=(3, 3), invented=1.0))
    line = ENGRAVERS.get("verovio").draw(tune, np.random.default_rng(0)).image
    tiles = [_tile("none", line)]
    for name, strength in sorted(strongest().items(), key=lambda item: (step(item[0]).stage, item[0])):
        degraded, _ = apply(line, {name: strength}, np.random.default_rng(3))
        tiles.append(_tile(f"{name}: {strength:.3g} {step(name).unit}", degraded))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = stacked([np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)])
    try:
        small = [cv2.IMWRITE_JPEG_QUALITY, 75] if out.suffix == ".jpg" else []
        file = cv2.imencode(out.suffix, sheet, small)[1]
    except cv2.error as error:
        raise InputError(f"{out} can't be written as a picture; give a name that ends in .png") from error
    write_whole(out, file.tobytes())


def _tile(caption: str, line: np.ndarray) -> np.ndarray:
    picture = cv2.cvtColor(line, cv2.COLOR_GRAY2BGR)
    tile = np.vstack([text(caption, picture.shape[1]), picture])
    return np.pad(tile, ((3, 3), (3, 3), (0, 0)), constant_values=GAP)
