"""`omr-data`: builds data sets and shows what is in them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from runtime.errors import OmrError, run_command
from training.data.dataset.executor import EXECUTORS
from training.data.engraving.engraver import ENGRAVERS

DEGRADE = "degrade the pictures like this: clean, scan, phone, train or photo (default: clean)"


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
    out = argparse.ArgumentParser(
        prog="omr-data", description="Draw tunes as pictures of music, with exact labels, and look at data sets."
    )
    commands = out.add_subparsers(dest="command", required=True)
    about = "build a data set; the same command continues one that was interrupted"
    build = commands.add_parser("build", help=about, description=f"{about[0].upper()}{about[1:]}.")
    add_build_options(build)
    show = commands.add_parser("show", help="write a sheet of pictures, each with its label and the label drawn again")
    show.add_argument("folder", type=Path, metavar="DIR", help="folder of a data set")
    show.add_argument("--split", default="train", help="train, val or test (default: train)")
    show.add_argument("--degrade", default="clean", metavar="PRESET", help=DEGRADE)
    show.add_argument("--rows", type=int, default=12, metavar="N", help="show the first N lines (default: 12)")
    show.add_argument(
        "-o", "--out", type=png, default=Path("contact-sheet.png"), metavar="PNG",
        help="picture to write (default: contact-sheet.png)",
    )  # fmt: skip
    degradations = commands.add_parser(
        "degradations", help="write a sheet that shows each degradation alone, at its strongest"
    )
    degradations.add_argument(
        "-o", "--out", type=Path, default=Path("degradations.png"), metavar="PNG",
        help="picture to write (default: degradations.png)",
    )  # fmt: skip
    tokenizer = commands.add_parser("tokenizer", help="learn a byte-pair tokenizer from a train split")
    tokenizer.add_argument("folder", type=Path, metavar="DIR", help="folder of a data set")
    tokenizer.add_argument(
        "--size", type=int, default=4096, help="entries of the vocabulary (default: 4096, as in the study)"
    )
    tokenizer.add_argument(
        "-o", "--out", type=Path, default=Path("tokenizer.json"), metavar="JSON", help="file to write"
    )
    stats = commands.add_parser("stats", help="count sizes, symbols and origins; print them as text and as JSON")
    stats.add_argument("folder", type=Path, metavar="DIR", help="folder of a data set")
    stats.add_argument("--tokenizer", type=Path, metavar="JSON", help="also count the tokens of this tokenizer.json")
    stats.add_argument("--plot", type=png, metavar="PNG", help="also draw the figures as a picture")
    return out


def add_build_options(build: argparse.ArgumentParser) -> None:
    """The options of omr-data build."""
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set")
    build.add_argument("--size", type=int, required=True, metavar="N", help="number of pictures, all splits together")
    build.add_argument("--seed", type=int, default=0, help="another seed makes other lines (default: 0)")
    build.add_argument(
        "--engraver", nargs="+", default=["verovio"], metavar="NAME",
        help=f"programs that draw: {', '.join(ENGRAVERS.names())} (default: verovio)",
    )  # fmt: skip
    build.add_argument(
        "--essen", action="store_true", help="also use the Essen collection (its terms are non-commercial)"
    )
    build.add_argument(
        "--unclear-scores", action="store_true", help="also use MusicXML scores whose terms are unclear or share-alike"
    )
    build.add_argument(
        "--mix",
        default="train",
        help="kind of lines: train (the whole notation), heldout (the same, for tests), invented (no tunes), grand "
        "(two staves), simple and simple_heldout (one voice, no signs), short (one or two bars of tunes in treble "
        "clef) (default: train)",
    )
    build.add_argument("--splits", nargs="+", metavar="SPLIT", help="build only these: train, val, test")
    build.add_argument("--degrade", default="clean", metavar="PRESET", help=DEGRADE)
    build.add_argument("--workers", type=int, help="shards that are made at the same time (default: one a core)")
    build.add_argument(
        "--executor",
        default="local",
        metavar="NAME",
        help=f"what does the work: {', '.join(EXECUTORS.names())} (default: local)",
    )
    build.add_argument(
        "--address", help="address of a Ray cluster (default: RAY_ADDRESS; if neither is given, Ray is started here)"
    )


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
