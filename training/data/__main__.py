"""omr-data: build, show and describe data sets."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from runtime.errors import OmrError, run_command
from training.data.dataset.executor import EXECUTORS


def png(name: str) -> Path:
    """A path that ends in .png.

    Raises:
        OmrError: it doesn't.
    """
    if not name.lower().endswith(".png"):
        raise OmrError(f"{name!r} is no name for a picture: expected one that ends in .png")
    return Path(name)


def parser() -> argparse.ArgumentParser:
    """The command line of omr-data."""
    out = argparse.ArgumentParser(prog="omr-data", description="Engrave tunes into pictures with exact labels.")
    commands = out.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build a data set, or go on with one")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument("--size", type=int, required=True, metavar="N", help="rows in all splits")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--engraver", nargs="+", default=["verovio"], metavar="NAME")
    build.add_argument("--essen", action="store_true", help="add the Essen collection (non-commercial terms)")
    build.add_argument(
        "--unclear-scores", action="store_true", help="add MusicXML scores whose terms are unclear or share-alike"
    )
    build.add_argument(
        "--mix",
        default="train",
        help="train, heldout, invented (no tunes), grand (two staves), simple, simple_heldout (one voice, no signs), "
        "short (one or two bars of tunes in treble clef)",
    )
    build.add_argument("--splits", nargs="+", metavar="SPLIT", help="only these of train, val, test")
    build.add_argument("--degrade", default="clean", metavar="PRESET")
    build.add_argument("--workers", type=int, help="shards at a time (default: one a core)")
    build.add_argument("--executor", default="local", metavar="NAME", help=f"where: {', '.join(EXECUTORS.names())}")
    build.add_argument(
        "--address", help="of a Ray cluster (default: RAY_ADDRESS; without either, a Ray is started here)"
    )
    show = commands.add_parser("show", help="write a contact sheet: pictures, labels, labels engraved again")
    show.add_argument("folder", type=Path, metavar="DIR")
    show.add_argument("--split", default="train")
    show.add_argument("--degrade", default="clean", metavar="PRESET")
    show.add_argument("--rows", type=int, default=12, metavar="N", help="the first N lines (default: 12)")
    show.add_argument("-o", "--out", type=png, default=Path("contact-sheet.png"), metavar="PNG")
    degradations = commands.add_parser(
        "degradations", help="write a contact sheet: each degradation alone, at its strongest"
    )
    degradations.add_argument("-o", "--out", type=Path, default=Path("degradations.png"), metavar="PNG")
    tokenizer = commands.add_parser("tokenizer", help="learn a byte-pair tokenizer from a train split")
    tokenizer.add_argument("folder", type=Path, metavar="DIR")
    tokenizer.add_argument("--size", type=int, default=4096, help="entries (default: 4096, the study's)")
    tokenizer.add_argument("-o", "--out", type=Path, default=Path("tokenizer.json"), metavar="JSON")
    stats = commands.add_parser("stats", help="sizes, symbol counts, origins and the digest, drawn and as JSON")
    stats.add_argument("folder", type=Path, metavar="DIR")
    stats.add_argument("--tokenizer", type=Path, metavar="JSON", help="count the tokens of this tokenizer.json, too")
    stats.add_argument("--plot", type=png, metavar="PNG", help="draw the figures as a picture")
    return out


def main(argv: list[str] | None = None) -> int:
    """Run omr-data."""
    args = parser().parse_args(argv)
    if args.command == "build":
        return build(args)
    if args.command == "tokenizer":
        from runtime.bundle.tokenizer import BpeTokenizer
        from training.data.dataset.build import open_dataset

        learnt = BpeTokenizer.train(open_dataset(args.folder)["train"]["transcription"], args.size)
        learnt.save(args.out)
        print(json.dumps({"file": str(args.out), "entries": learnt.vocab_size}))
    elif args.command == "show":
        from training.data.inspection.sheet import contact_sheet

        contact_sheet(args.folder, args.split, args.degrade, args.out, args.rows)
        print(args.out)
    elif args.command == "degradations":
        from training.data.inspection.sheet import degradations_sheet

        degradations_sheet(args.out)
        print(args.out)
    else:
        stats(args)
    return 0


def stats(args: argparse.Namespace) -> None:
    """omr-data stats."""
    from runtime.bundle.tokenizer import load_tokenizer
    from training.data.inspection.stats import Figures, count, drawn, summary

    splits = count(args.folder, load_tokenizer(args.tokenizer) if args.tokenizer else None)
    print(drawn(sum(splits.values(), Figures())), file=sys.stderr)
    if args.plot:
        from training.data.inspection.plot import plot

        plot(splits, args.plot)
    print(json.dumps(summary(args.folder, splits)))


def build(args: argparse.Namespace) -> int:
    """omr-data build."""
    from training.data.dataset.build import MIXES, Recipe
    from training.data.dataset.build import build as build_dataset
    from training.data.degradation.degrade import NAMES
    from training.data.engraving.engraver import ENGRAVERS
    from training.data.sources.collections import COLLECTIONS
    from training.data.sources.splits import SPLITS

    known = [name for name, _ in SPLITS]
    splits = tuple(args.splits or known)
    for what, names, choices in (
        ("split", splits, known), ("mix", [args.mix], MIXES), ("degradation preset", [args.degrade], NAMES),
    ):  # fmt: skip
        wrong = [name for name in names if name not in choices]
        if wrong:
            raise OmrError(f"no {what} called {wrong[0]!r} (known: {', '.join(choices)})")
    for name in args.engraver:
        if ENGRAVERS.get(name).held_out and splits != ("test",):
            raise OmrError(f"engraver {name!r} is held out for testing: add --splits test")
    if args.size < len(splits):
        raise OmrError(f"--size {args.size} is too small: expected at least one row for each of {len(splits)} splits")
    if args.address and not EXECUTORS.get(args.executor).takes_address:
        raise OmrError(f"executor {args.executor!r} takes no --address: leave it out, or take --executor ray")
    EXECUTORS.get(args.executor)  # before anything is written
    asked = {"essenFolksong": args.essen, "scores_unclear": args.unclear_scores}
    collections = COLLECTIONS + tuple(name for name, wanted in asked.items() if wanted)
    recipe = Recipe(
        args.size, args.seed, tuple(args.engraver), collections, args.mix,
        splits, args.degrade,
    )  # fmt: skip
    summary = build_dataset(args.out, recipe, args.workers, args.executor, args.address)
    if summary.get("left_out"):
        causes = ", ".join(f"{count}: {cause}" for cause, count in summary["left_out"].items())
        print(f"tunes left out: {causes}", file=sys.stderr)
    print(json.dumps(summary))
    return 0


def entry() -> None:
    """Console script."""
    sys.exit(run_command(main, extra="train"))


if __name__ == "__main__":
    entry()
