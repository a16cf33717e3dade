"""Counts the staves that the reader finds, misses and invents on pictures whose staves are known.

    python benchmarks/staff_finding.py --workers 2 --rows runs/staves.jsonl     # 400 pages, 200 lines; goes on there
    python benchmarks/staff_finding.py --pages 40 --lines 20 --dump runs/staves

Pages of tunes and scores are engraved by Verovio in five fonts, single lines by every engraver that is installed. They
become files, small pictures of 450 px, scans and phone photos of up to 12 megapixels: on a table, with halftoned lines,
grain, JPEG, perspective, curl and shadow, in all four orientations, whole, cropped, as spreads and as figures in a page
of text (`benchmarks/staff_pictures.py`). All rows come from one seed. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import verovio
from tqdm import tqdm

from benchmarks.staff_pictures import Picture, line_picture, page_picture, tunes_as_music
from runtime.errors import MissingExtraError, run_command
from runtime.page.geometry import StaffGeometry
from runtime.reading.reader import Reader
from training.data.engraving.engraver import ENGRAVERS
from training.data.sources.corpus import load_sources
from training.data.sources.scores import score_files
from training.data.sources.splits import Source

NEAR = 0.5  # staff spaces that a found middle line may be off
ENDS = 1.5  # staff spaces that an end may be off
COUNTS = (
    "pictures", "staves", "missed", "told_missing", "invented", "ends_off", "turned_wrong", "refused", "misordered",
)  # fmt: skip


@cache
def sources() -> list[Source]:
    return load_sources()[0]


@cache
def scores() -> list[bytes]:
    return [path.read_bytes() for _, path in score_files("scores") if path.suffix != ".mxl"]


@cache
def reader() -> Reader:
    return Reader(threads=1)


def picture(row: tuple[str, int], seed: int) -> Picture | None:
    """The picture of a row, the same every time."""
    name, number = row
    if name != "page":
        return line_picture(name, sources(), seed, number)
    rng = np.random.default_rng([seed, 0, number])
    music = scores() if rng.random() < 0.3 else [tunes_as_music(sources(), rng)]
    return page_picture(music, rng)


def same(found: StaffGeometry, drawn: StaffGeometry) -> bool:
    """Whether a found staff runs along a drawn one, on its middle line."""
    inside = (drawn.x > found.x[0]) & (drawn.x < found.x[-1])
    if inside.sum() < 3:
        return False
    off = np.abs(np.interp(drawn.x[inside], found.x, found.y) - drawn.y[inside]) / drawn.space[inside]
    return bool(np.median(off) < NEAR)


def count(made: Picture) -> tuple[dict[str, float], list[StaffGeometry]]:
    """What is wrong with the staves found on a picture."""
    start = time.perf_counter()
    layout = reader().lay_out(made.grey)
    row: dict[str, float] = dict.fromkeys(COUNTS, 0) | {"seconds": time.perf_counter() - start}
    found = [staff for system in layout.systems for staff in system.staves]
    row |= {"pictures": 1, "staves": len(made.staves), "refused": not found and bool(made.staves)}
    if layout.turned != made.turned and made.staves and found:
        return row | {"turned_wrong": 1}, found
    rest, order = list(range(len(found))), []
    for drawn in made.staves:
        near = [n for n in rest if same(found[n], drawn)]
        if not near:
            row["told_missing" if layout.notes else "missed"] += 1
            continue
        best = max(near, key=lambda n: found[n].x[-1] - found[n].x[0])
        rest.remove(best)
        order.append(best)
        ends = abs(found[best].x[0] - drawn.x[0]), abs(found[best].x[-1] - drawn.x[-1])
        row["ends_off"] += max(ends) > ENDS * drawn.mean_space
    rest = [n for n in rest if not any(same(found[n], part) for part in made.ignored)]
    return row | {"invented": len(rest), "misordered": order != sorted(order)}, found


def measure(row: tuple[str, int], seed: int, dump: Path | None) -> dict[str, Any] | None:
    """A row's counts, and its picture in `dump` where something is wrong."""
    cv2.setNumThreads(1)
    verovio.enableLog(verovio.LOG_OFF)
    made = picture(row, seed)
    if made is None:
        return None
    counts, found = count(made)
    counts = {name: float(value) for name, value in counts.items()}
    wrong = [name for name in COUNTS[2:] if counts[name] and name != "ends_off"]
    if dump and wrong:
        save(dump / f"{row[0]}-{row[1]}-{'-'.join(wrong)}.jpg", made, found)
    return {"seed": seed, "row": row, "kind": made.kind, **counts}


def save(path: Path, made: Picture, found: list[StaffGeometry]) -> None:
    """A picture with its staves in green, ignored ones in grey and found ones in red."""
    upright = np.ascontiguousarray(np.rot90(made.grey, -made.turned))
    drawing = cv2.cvtColor(upright, cv2.COLOR_GRAY2BGR)
    thick = max(1, max(upright.shape) // 700)
    for staves, colour in ((made.staves, (0, 170, 0)), (made.ignored, (150, 150, 150)), (found, (0, 0, 255))):
        for staff in staves:
            points = np.array(staff.outline(0.3), np.int32)
            cv2.polylines(drawing, [points], True, colour, thick)
    scale = min(1.0, 1600 / max(drawing.shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(drawing, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def engravers() -> list[str]:
    """Those that are installed."""
    there = []
    for name in ENGRAVERS.names():
        try:
            drawn = line_picture(name, sources(), 0, 0)
        except (MissingExtraError, OSError):
            continue
        there += [name] if drawn is not None else []
    return there


def read_rows(path: Path | None) -> list[dict[str, Any]]:
    """Rows of a run that was stopped."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    summed = {name: int(sum(row[name] for row in rows)) for name in COUNTS}
    staves = max(1, summed["staves"])
    seconds = [row["seconds"] for row in rows]
    return summed | {
        "found_percent": round(100 * (1 - summed["missed"] / staves - summed["told_missing"] / staves), 2),
        "invented_percent": round(100 * summed["invented"] / staves, 2),
        "median_seconds": round(float(np.median(seconds)), 2) if seconds else 0.0,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these pages alone")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=Path, metavar="FILE", help="JSON lines to which each row is added, and kept")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="a picture of each row where something is wrong")
    args = parser.parse_args()
    names = engravers() if args.lines and not args.only else []
    work = [("page", number) for number in args.only or range(args.pages)]
    work += [(names[number % len(names)], number) for number in range(args.lines if names else 0)]
    sources(), scores()
    one = partial(measure, seed=args.seed, dump=args.dump)
    rows = read_rows(args.rows)
    done = {(row["seed"], *row["row"]) for row in rows}
    work = [row for row in work if (args.seed, *row) not in done]
    with multiprocessing.get_context("fork").Pool(args.workers, maxtasksperchild=60) as pool:
        for row in tqdm(pool.imap_unordered(one, work, chunksize=1), total=len(work), unit="picture"):
            if row is not None:
                rows.append(row)
                if args.rows:
                    with args.rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
    kinds = Counter(word for row in rows for word in set(row["kind"].split()))
    table = {word: total([row for row in rows if word in row["kind"].split()]) for word in sorted(kinds)}
    for word, counts in {**table, "all": total(rows)}.items():
        print(word.ljust(18), *(f"{name} {value}" for name, value in counts.items()), sep="  ")
    result = {"seed": args.seed, "engravers": names, "pages": total([r for r in rows if r["row"][0] == "page"]),
              "lines": total([r for r in rows if r["row"][0] != "page"]), "all": total(rows)}  # fmt: skip
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
