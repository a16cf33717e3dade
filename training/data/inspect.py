"""A look at a data set: a contact sheet with the symbols' places, and figures. A look at what degrades its pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.abc import atoms
from runtime.abc_reader import parse
from runtime.errors import InputError
from runtime.output import write_whole
from training.data.dataset import digest, open_dataset
from training.data.degrade import apply, degrade, step, strongest
from training.data.engraver import ENGRAVERS, MIDDLE, STAFF_SPACE
from training.data.excerpt import Mix, excerpt


def contact_sheet(folder: Path, split: str, preset: str, out: Path, count: int = 12) -> None:
    """Write a PNG of the first lines of a split: the picture, a mark at every symbol, the label beneath."""
    data = open_dataset(folder)
    if split not in data:
        raise InputError(f"{folder} has no split {split!r} (it has: {', '.join(data)})")
    strips = [
        _strip(row, preset, number)
        for number, row in enumerate(data[split].select(range(min(count, len(data[split])))))
    ]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(s, ((0, 6), (0, width - s.shape[1]), (0, 0)), constant_values=225) for s in strips]
    _save(np.vstack(padded), out)


def degradations_sheet(out: Path, columns: int = 2) -> None:
    """Write a PNG or JPEG of one line after each degradation alone, as strong as any preset may make it."""
    tune, _ = excerpt([], 1, 7, Mix(bars=(3, 3), invented=1.0))
    line = ENGRAVERS.get("verovio").draw(tune, np.random.default_rng(0)).image
    tiles = [np.vstack([_caption("none", line.shape[1]), line])]
    for name, strength in sorted(strongest().items(), key=lambda item: (step(item[0]).stage, item[0])):
        degraded, _ = apply(line, {name: strength}, np.random.default_rng(3))
        tiles.append(np.vstack([_caption(f"{name}: {strength:.3g} {step(name).unit}", line.shape[1]), degraded]))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    framed = [np.pad(tile, 3, constant_values=225) for tile in tiles]
    _save(np.vstack([np.hstack(framed[at : at + columns]) for at in range(0, len(framed), columns)]), out)


def _save(picture: np.ndarray, out: Path) -> None:
    try:
        small = [cv2.IMWRITE_JPEG_QUALITY, 75] if out.suffix == ".jpg" else []
        file = cv2.imencode(out.suffix, picture, small)[1]
    except cv2.error as error:
        raise InputError(f"{out} can't be written as a picture; give a name that ends in .png") from error
    write_whole(out, file.tobytes())


def _caption(text: str, width: int) -> np.ndarray:
    caption = np.full((14, width), 255, np.uint8)
    cv2.putText(caption, text, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0,), 1, cv2.LINE_AA)
    return caption


def _strip(row: dict[str, Any], preset: str, number: int) -> np.ndarray:
    grey, x_map = degrade(np.array(row["image"].convert("L")), preset, np.random.default_rng(number))
    symbols = np.array(row["symbols"], np.float64).reshape(-1, 5)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    places = x_map(symbols[:, 1])
    for x, (_, _, kind, position, _) in zip(places, symbols, strict=True):
        if kind:
            cv2.line(picture, (round(x), 0), (round(x), 5), (40, 40, 220), 1)
        if kind and position and preset == "clean":
            y = round(MIDDLE + (4 - (position - 21)) * STAFF_SPACE / 2)
            cv2.circle(picture, (round(x), y), 2, (220, 80, 0), -1)
    text = "  ".join(row["transcription"].splitlines()[2:])
    label = cv2.cvtColor(_caption(text, max(picture.shape[1], 8 * len(text))), cv2.COLOR_GRAY2BGR)
    picture = np.pad(picture, ((0, 0), (0, label.shape[1] - picture.shape[1]), (0, 0)), constant_values=225)
    return np.vstack([picture, label])


def stats(folder: Path) -> dict[str, Any]:
    """Rows, width and label-length percentiles, how many lines hold each kind of atom, and the digest."""
    out: dict[str, Any] = {"splits": {}, "digest": digest(folder)}
    for name, split in open_dataset(folder).items():
        widths = [image.size[0] for image in split["image"]]
        lines = [[atom.text for atom in atoms(parse(text))] for text in split["transcription"]]
        holding = Counter(text for line in lines for text in set(line))
        out["splits"][name] = {
            "rows": len(split),
            "width_px": _percentiles(widths),
            "atoms": _percentiles([len(line) for line in lines]),
            "lines_with_atom": dict(holding.most_common()),
        }
    return out


def _percentiles(values: list[int]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (1, 25, 50, 75, 95, 100)} if values else {}
