"""`omr-train results RUN... --out DIR`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """Make the published study's Tables 6 to 14 and Figures 12 to 14, 16 and 20 to 22 from run
folders, as Markdown, CSV and PNG. Runs that differ only in their seed become one row with a 95 % interval. To fill
further columns, run `omr-train evaluate RUN DATASET --split val` and `omr-export --checkpoint RUN --lines DATASET`."""


def results_command(arguments: Sequence[str]) -> int:
    """Write the page and print its place."""
    parser = argparse.ArgumentParser(prog="omr-train results", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, or that contain some")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the tables and figures")
    parser.add_argument("--page", type=Path, metavar="FILE", help="the page to write (default: results.md in --out)")
    options = parser.parse_args(arguments)

    from .page import write_page
    from .runs import find_runs

    files = write_page(find_runs(options.runs), options.out, options.page or options.out / "results.md")
    tables, figures = (sum(file.suffix == ending for file in files) for ending in (".csv", ".png"))
    print(f"{files[-1]}: {tables} tables, {figures} figures")
    return 0
