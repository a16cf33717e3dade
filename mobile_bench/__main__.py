"""`omr-bench`: times how fast a bundle reads on a device.

omr-bench run [BUNDLE ...] [--device NAME ...] [--out DIR]
omr-bench compare A B     report DIR     devices
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.bundle.manifest import read_bundle
from runtime.errors import InputError, OmrError, run_command
from runtime.reading.reader import SHIPPED

from . import report
from .device import DEVICES, Settings
from .timing import LEAST_RUNS

PAGES = Path(__file__).resolve().parents[1] / "tests" / "data"  # there in a source tree, not in a wheel


def parser() -> argparse.ArgumentParser:
    """The command line of omr-bench."""
    out = argparse.ArgumentParser(prog="omr-bench", description="Time how fast bundles read, and compare results.")
    commands = out.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="time the encoder, a step of the decoder and a whole page")
    run.add_argument(
        "bundles", nargs="*", type=Path, metavar="BUNDLE", help="folders of bundles (default: the shipped pocket)"
    )
    run.add_argument("--device", nargs="+", default=["host"], metavar="NAME", help="devices to time on (default: host)")
    run.add_argument(
        "--out",
        type=Path,
        default=Path("runs/bench"),
        metavar="DIR",
        help="folder for the results (default: runs/bench)",
    )
    run.add_argument(
        "--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="numbers of threads to try (default: 1 2)"
    )
    run.add_argument(
        "--runs",
        type=int,
        default=LEAST_RUNS,
        metavar="N",
        help=f"how often each case is timed (at least {LEAST_RUNS}, the default)",
    )
    run.add_argument("--precision", nargs="+", default=[], metavar="NAME", help="only these precisions (default: all)")
    run.add_argument(
        "--page", type=Path, metavar="FILE", help="picture or PDF to read as a whole (default: the demo page)"
    )
    compare = commands.add_parser("compare", help="compare two results, or two folders of results, as ratios")
    compare.add_argument("a", type=Path, metavar="A", help="file or folder of results")
    compare.add_argument("b", type=Path, metavar="B", help="file or folder of results")
    table = commands.add_parser("report", help="print a table of all results in a folder")
    table.add_argument("folder", type=Path, metavar="DIR", help="folder of results")
    commands.add_parser("devices", help="list the devices that can be used on this machine")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Run omr-bench."""
    args = parser().parse_args(argv)
    return {"run": run, "compare": compare, "report": show, "devices": devices}[args.command](args)


def run(args: argparse.Namespace) -> int:
    """omr-bench run: writes a file for each bundle and device, prints a table and one line of JSON."""
    if args.runs < LEAST_RUNS:
        raise InputError(f"--runs is {args.runs}; fewer than {LEAST_RUNS} make no 90th percentile")
    if min(args.threads) < 1:
        raise InputError(f"--threads is {min(args.threads)}; expected 1 or more")
    if not args.bundles:
        print(f"bundle: {SHIPPED} (shipped)", file=sys.stderr)
    settings = Settings(args.threads, args.runs, args.precision, _page(args.page))
    drivers = {name: DEVICES.get(name) for name in args.device}
    bundles = [read_bundle(path) for path in args.bundles or [SHIPPED]]
    files, results = [], []
    for name, driver in drivers.items():
        if driver.problem():
            raise OmrError(f"device {name!r} can't be used here: {driver.problem()}")
        for bundle in bundles:
            machine = driver.describe()
            stored = report.result(bundle, name, driver.label, machine, driver.run(bundle, settings))
            files.append(str(report.save(stored, args.out)))
            results.append(stored)
    print(report.table(results))
    print(report.machines(results))
    print(json.dumps({"files": files, "results": [_summary(stored) for stored in results]}))
    return 0


def _page(page: Path | None) -> Path | None:
    if page is not None and not page.is_file():
        raise InputError(f"{page} is no file; expected a picture or PDF of a page")
    page = page or next(iter(sorted(PAGES.glob("demo.p*"))), None)
    print(f"page: {page or 'none is timed, give one with --page'}", file=sys.stderr)
    return page


def _summary(stored: dict[str, object]) -> dict[str, object]:
    medians = {f"{p}/{t}/{name}": timing["median_ms"] for (_, p, t, name), timing in report.cases(stored)}
    return {"device": stored["device"], "label": stored["label"], "date": stored["date"], "median_ms": medians}


def compare(args: argparse.Namespace) -> int:
    """omr-bench compare."""
    rows = report.ratios(report.load(args.a), report.load(args.b))
    print(report.ratio_table(rows))
    print(json.dumps({"a": str(args.a), "b": str(args.b), "ratios": rows}))
    return 0


def show(args: argparse.Namespace) -> int:
    """omr-bench report."""
    results = report.load(args.folder)
    print(report.table(results))
    print()
    print(report.machines(results))
    return 0


def devices(args: argparse.Namespace) -> int:
    """omr-bench devices."""
    for name in DEVICES.names():
        try:
            driver = DEVICES.get(name)
            facts = ", ".join(f"{key} {value}" for key, value in driver.describe().items())
            print(f"{name}: {driver.problem() or facts}")
        except OmrError as error:
            print(f"{name}: {error}")
    return 0


def entry() -> None:
    """Console script."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    entry()
