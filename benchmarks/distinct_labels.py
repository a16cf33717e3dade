"""Draws labels, without engraving them, until a number of different ones has come up.

    python benchmarks/distinct_labels.py --labels 50000          # a minute or two
    python benchmarks/distinct_labels.py --labels 1000000

A label is what `omr-data build` writes for a picture: the whole canonical text, with clef, key and meter. Labels are
compared by 8 bytes of their hash: with a million labels, the chance that two different ones count as one is 3e-8. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time

from tqdm import tqdm

from runtime.abc.tune import write
from runtime.errors import OmrError, run_command
from training.data.dataset.build import MIXES
from training.data.lines.excerpt import excerpt
from training.data.sources.corpus import load_sources

MOST = 20  # give up after so many draws for each label wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels", type=int, default=1_000_000, metavar="N", help="different ones (default: 1000000)")
    parser.add_argument("--mix", default="train", help=f"of {', '.join(MIXES)}")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.mix not in MIXES:
        raise OmrError(f"no mix called {args.mix!r} (known: {', '.join(MIXES)})")
    mix = MIXES[args.mix]
    sources = [s for s in load_sources()[0] if s.split == "train" and (mix.wide or s.simple)]
    seen: set[bytes] = set()
    draws, started = 0, time.monotonic()
    print("draws".rjust(12) + "different".rjust(12) + "repeated, %".rjust(14) + "seconds".rjust(10))
    with tqdm(total=args.labels, unit="label", desc="different") as bar:
        while len(seen) < args.labels and draws < MOST * args.labels:
            tune, _ = excerpt(sources, args.seed, draws, mix)
            draws += 1
            before = len(seen)
            seen.add(hashlib.sha256(write(tune).encode()).digest()[:8])
            bar.update(len(seen) - before)
            if (draws >= 1024 and draws & (draws - 1) == 0) or len(seen) == args.labels:  # powers of two, and the end
                repeated, seconds = 100 * (1 - len(seen) / draws), time.monotonic() - started
                bar.write(f"{draws:>12,}{len(seen):>12,}{repeated:>14.2f}{seconds:>10.0f}", file=sys.stdout)
    result = {
        "mix": args.mix, "seed": args.seed, "draws": draws, "labels": len(seen),
        "repeated_percent": round(100 * (1 - len(seen) / max(1, draws)), 3),
        "seconds": round(time.monotonic() - started, 1), "cpu_seconds": round(time.process_time(), 1),
    }  # fmt: skip
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
