"""Measures how fast lines are engraved, compared with a simple loop over Verovio and CairoSVG.

    pip install -e '.[bench]'           # for the naive loop; left out without it (CairoSVG needs the library libcairo2)
    python benchmarks/engrave.py --lines 100

The naive loop loads a line's MusicXML into Verovio, takes its SVG, has CairoSVG draw it 96 px high and opens the PNG
with Pillow; writing the MusicXML isn't counted. Ours draws the same lines from canonical ABC with random styles and the
places of symbols, plain and degraded as in training. All ways take turns, some lines at a time, so that other work on
the machine affects them alike. Seconds are processor seconds, child processes included. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import verovio
from PIL import Image

from runtime.abc.tune import Tune
from runtime.errors import MissingExtraError, run_command
from runtime.notation.score import to_musicxml
from training.data.dataset.build import MIXES
from training.data.degradation.degrade import degrade
from training.data.engraving.engraver import ENGRAVERS, HEIGHT, draw_many
from training.data.lines.excerpt import excerpt
from training.data.sources.corpus import load_sources

EXTRA = "bench"
CHUNK = 20
NAIVE = "naive"
Way = Callable[[list[Tune]], int]


def processor_seconds() -> float:
    """Of this process and of children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def ours(name: str, preset: str) -> Way:
    """Draws with one of our engravers; returns how many pictures came out."""
    engraver = ENGRAVERS.get(name)

    def way(tunes: list[Tune]) -> int:
        rngs = [np.random.default_rng(number) for number in range(len(tunes))]
        drawn = draw_many(engraver, [[tune] for tune in tunes], rngs)
        for engraving, rng in zip(drawn, rngs, strict=True):
            if engraving:
                degrade(engraving.image, preset, rng)
        return sum(engraving is not None for engraving in drawn)

    return way


def naive(scores: dict[int, str]) -> Way | None:
    """Verovio and CairoSVG without further thought; None where CairoSVG isn't installed."""
    try:
        import cairosvg
    except (ImportError, OSError) as error:
        print(f"no naive loop: {error} (pip install -e '.[bench]'; apt-get install libcairo2)", file=sys.stderr)
        return None

    toolkit = verovio.toolkit()

    def way(tunes: list[Tune]) -> int:
        for tune in tunes:
            toolkit.setOptions({"breaks": "none", "adjustPageWidth": True, "adjustPageHeight": True, "header": "none",
                                "footer": "none", "pageWidth": 60000})  # fmt: skip
            toolkit.loadData(scores[id(tune)])
            png = cairosvg.svg2png(bytestring=toolkit.renderToSVG(1).encode(), background_color="white")
            picture = Image.open(io.BytesIO(png)).convert("L")
            np.array(picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT)))
        return len(tunes)

    return way


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    verovio.enableLog(verovio.LOG_OFF)
    sources = [source for source in load_sources()[0] if source.split == "train"]
    tunes = [excerpt(sources, args.seed, index, MIXES["train"])[0] for index in range(2 * args.lines)]
    ways: dict[str, Way] = {}
    for name in ("verovio", "abcm2ps"):
        way = ours(name, "clean")
        try:
            tunes = [tune for tune in tunes if way([tune])]  # some are too high for a picture
            ways |= {name: way, f"{name}, degraded": ours(name, "train")}
        except MissingExtraError as error:
            print(error, file=sys.stderr)
    tunes = tunes[: args.lines]
    loop = naive({id(tune): to_musicxml(tune).decode() for tune in tunes})
    ways |= {NAIVE: loop} if loop else {}
    seconds: dict[str, float] = defaultdict(float)
    pictures: dict[str, int] = defaultdict(int)
    for turn in range(args.rounds):
        for start in range(0, len(tunes), CHUNK):
            for name, way in ways.items():
                before = processor_seconds()
                count = way(tunes[start : start + CHUNK])
                if turn or start:  # the first turn warms up
                    pictures[name] += count
                    seconds[name] += processor_seconds() - before
    rates = {name: pictures[name] / seconds[name] for name in ways}
    for name, rate in rates.items():
        times = f"  {rate / rates[NAIVE]:5.1f} x {NAIVE}" if NAIVE in rates else ""
        print(f"{name:20} {rate:7.1f} pictures/s per core{times}")
    times_naive = {name: round(rate / rates[NAIVE], 2) for name, rate in rates.items()} if NAIVE in rates else {}
    print(json.dumps({
        "lines": len(tunes), "rounds": args.rounds, "seed": args.seed,
        "pictures_a_second_per_core": {name: round(rate, 1) for name, rate in rates.items()},
        "times_naive": times_naive,
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
