"""`omr-export`: turns a checkpoint into a bundle, checks a bundle, shows what is in one.

omr-export --target onnx[,coreml] [--precision fp32,int8] [--checkpoint PATH] --out DIR
omr-export verify DIR
omr-export inspect DIR
omr-export lint DIR
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from runtime.bundle.io_spec import CHUNK
from runtime.errors import MissingExtraError, run_command

PACKAGES = ("torch", "verovio", "onnx", "onnxscript")

USAGE = """omr-export --target NAME[,NAME] [--precision NAME[,NAME]] [--checkpoint PATH] --out DIR
       omr-export verify DIR [--checkpoint PATH] [--long]
       omr-export inspect DIR
       omr-export lint DIR"""


def export_command(arguments: Sequence[str]) -> int:
    """Write a bundle, once it computes what PyTorch computes."""
    from .target import TARGETS, chosen

    parser = argparse.ArgumentParser(
        prog="omr-export", usage=USAGE,
        description="Turn a trained model into a bundle that phones and laptops read with. The bundle is written only "
        "if its graphs agree with PyTorch.",
    )  # fmt: skip
    parser.add_argument("--target", required=True, help=f"formats, separated by commas: {', '.join(TARGETS.names())}")
    parser.add_argument(
        "--precision", default="fp32", help="precisions, separated by commas, in the order in which readers try them:"
        " fp32, fp16, int8, int8_static (activations, too), mixed (int4 and int8), int4; not every target has all"
        " (default: fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", type=Path, help="folder of a run, or a checkpoint (default: the shipped pocket)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the bundle; an older bundle there is replaced"
    )
    parser.add_argument("--lines", metavar="DATASET", help="also count reading errors on lines of this data set")
    parser.add_argument("--split", default="test", help="split of --lines (default: test)")
    parser.add_argument("--limit", type=int, default=100, help="how many lines of --lines to read (default: 100)")
    parser.add_argument(
        "--no-chunk", action="store_true", help=f"leave out the graphs that score {CHUNK} given tokens at once; reading"
        " doesn't need them, and in Core ML they double the size of the decoders",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    wanted = chosen(options.target, options.precision)

    from .bundle.inspect import inspect
    from .bundle.write import export_bundle, open_checkpoint, refuse_other_folder

    refuse_other_folder(options.out)
    trial = (options.lines, options.split, options.limit) if options.lines else None
    chunk = 0 if options.no_chunk else CHUNK
    print(inspect(export_bundle(open_checkpoint(options.checkpoint), wanted, options.out, trial, chunk)))
    return 0


def verify_command(arguments: Sequence[str]) -> int:
    """Check a bundle; the last line is JSON."""
    parser = argparse.ArgumentParser(
        prog="omr-export verify", description="Check a bundle again: checksums, self-test, agreement with PyTorch."
    )
    parser.add_argument("bundle", type=Path, metavar="DIR", help="folder of a bundle")
    parser.add_argument(
        "--checkpoint", type=Path, help="checkpoint that it was made from (default: the one that it names)"
    )
    parser.add_argument(
        "--long", action="store_true", help="also compare every position that the caches can hold with PyTorch"
    )
    options = parser.parse_args(arguments)

    from .bundle.verify import verify

    print(json.dumps(verify(options.bundle, options.checkpoint, options.long)))
    return 0


def inspect_command(arguments: Sequence[str]) -> int:
    """Print what a bundle holds."""
    parser = argparse.ArgumentParser(
        prog="omr-export inspect",
        description="Show what is in a bundle: files, inputs and outputs, figures, operators.",
    )
    parser.add_argument("bundle", type=Path, metavar="DIR", help="folder of a bundle")
    options = parser.parse_args(arguments)

    from runtime.bundle.manifest import read_bundle

    from .bundle.inspect import inspect

    print(inspect(read_bundle(options.bundle)))
    return 0


def lint_command(arguments: Sequence[str]) -> int:
    """Print what rules find in a bundle's graphs; the last line is JSON."""
    parser = argparse.ArgumentParser(
        prog="omr-export lint",
        description="Look in every graph for operators, shapes and numbers that are known to fail or to be slow. The "
        "exit code is 2 if an artifact breaks a rule about a place that it claims to run in.",
    )
    parser.add_argument("bundle", type=Path, metavar="DIR", help="folder of a bundle")
    options = parser.parse_args(arguments)

    from .lint.findings import lint

    words, report = lint(options.bundle)
    print(f"{words}\n{json.dumps(report)}")
    return 0 if report["ok"] else 2


def check_packages() -> None:
    """Raises MissingExtraError where the packages of the `export` extra aren't there."""
    for name in PACKAGES:
        if find_spec(name) is None:
            raise MissingExtraError(f"omr-export needs {name}: pip install -e '.[export]'")


def main(arguments: Sequence[str] | None = None) -> int:
    check_packages()
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"verify": verify_command, "inspect": inspect_command, "lint": lint_command}
    command = commands.get(given[0]) if given else None
    return command(given[1:]) if command else export_command(given)


def entry() -> None:
    """The console script."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    entry()
