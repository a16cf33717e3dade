"""omr-transcribe: reads pictures and PDFs of printed music and writes ABC, MusicXML and MIDI.

    omr-transcribe page.png                                   # ABC on stdout
    omr-transcribe scan.pdf -o scan.musicxml -o scan.mid      # a PDF is one piece
    omr-transcribe photos/ -o read/                           # all three for every file

Exit codes: 0 everything was read, 2 something couldn't be (the rest was), 1 a bug.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, OmrError, run_command
from .inference.engine import ENGINES
from .output import Outputs, write_whole
from .overlay import png
from .page.preparation import iter_pages
from .reading.join_lines import numbered
from .reading.reader import NoStaffError, Page, Reader
from .reading.search import Search

READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pdf")


@dataclass(frozen=True)
class ReadFile:
    """Every page of one file, in order.

    Attributes:
        pages: (number from 1, page, seconds); no page where there was no staff.
        overlays: a PNG for each page with music, if asked for.
    """

    path: Path
    pages: list[tuple[int, Page | None, float]]
    overlays: list[bytes]

    @property
    def tunes(self) -> list[str]:
        return [page.abc for _, page, _ in self.pages if page]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="omr-transcribe",
        description="Read printed music from pictures and PDFs. Prints ABC, or writes files with -o.",
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="picture, PDF, or a folder of them")
    made.add_argument(
        "-o",
        dest="outputs",
        action="append",
        default=[],
        metavar="OUT",
        help="write NAME.abc, NAME.musicxml or NAME.mid with everything that was read, or FOLDER/ with all three"
        " for each file; may be repeated",
    )
    made.add_argument("--bundle", metavar="DIR", help="bundle to read with (default: the shipped one, pocket)")
    made.add_argument("--engine", metavar="NAME", help=f"what runs the bundle: {', '.join(ENGINES.names())}")
    made.add_argument("--precision", metavar="NAME", help="which precision of the bundle to use, such as fp32 or int8")
    made.add_argument(
        "--beam",
        type=int,
        default=1,
        metavar="N",
        help="candidates that are kept for each line; more are slower and make fewer errors (default: 1)",
    )
    made.add_argument(
        "--overlay", metavar="PNG", help="draw the systems that were found, and what was read, on the page"
    )
    made.add_argument("--json", action="store_true", help="print one JSON object for each page")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; see the module's docstring for the exit codes."""
    options = parser().parse_args(arguments)
    outputs = Outputs.planned(options.outputs, options.overlay)
    paths = _expanded(options.files)
    reader = _open(options.bundle, options.engine, options.precision, Search(options.beam))
    names = _names(paths)
    read: list[ReadFile] = []
    tunes: list[str] = []
    failed = False
    for path in paths:
        try:
            done = read_file(reader, path, outputs.overlay is not None)
        except OmrError as error:
            _say(f"error: {error}")
            failed = True
            continue
        read.append(done)
        _print(done, options.json, bool(outputs), len(tunes))
        tunes += done.tunes
        _written(outputs.write_piece_into_folders(done.tunes, names[path]))
    if read:
        _written(outputs.write_pieces(tunes, read[0].path.stem))
        _write_overlays(outputs, [picture for file in read for picture in file.overlays])
    return 2 if failed else 0


def read_file(reader: Reader, path: Path, overlays: bool = False) -> ReadFile:
    """Reads every page of a file.

    Raises:
        InputError: it can't be loaded, or no page has a staff.
    """
    pages: list[tuple[int, Page | None, float]] = []
    pictures: list[bytes] = []
    nothing: NoStaffError | None = None
    start = time.perf_counter()
    for number, grey in enumerate(iter_pages(path), 1):
        page = None
        try:
            page = reader.read_page(grey)
        except NoStaffError as error:
            nothing = error
        seconds = time.perf_counter() - start
        found = f"{len(page.systems)} systems" if page else "no staff"
        _say(f"{path} page {number}: {found}, {seconds:.1f} s")
        for note in page.notes if page else ():
            _say(f"{path} page {number}: note: {note}")
        pages.append((number, page, seconds))
        if page and overlays:
            pictures.append(png(grey, page))
        start = time.perf_counter()
    if nothing and not any(page for _, page, _ in pages):
        where = str(path) if len(pages) == 1 else f"{path} (all {len(pages)} pages)"
        raise InputError(f"{where}: {nothing}")
    return ReadFile(path, pages, pictures)


def _open(bundle: str | None, engine: str | None, precision: str | None, search: Search) -> Reader:
    reader = Reader(bundle, engine, precision, search=search)
    name, artifact = reader.bundle.manifest.name, reader.artifact
    whose = f"shipped bundle {name}" if bundle is None else f"bundle {bundle} ({name})"
    why = "as asked" if engine or precision else "the first of its manifest that runs here"
    _say(f"{whose}, {artifact.target} {artifact.precision}: {why}")
    return reader


def _expanded(names: Sequence[str]) -> list[Path]:
    """Files in the order given; a folder stands for the pictures and PDFs in it, sorted by name.

    Raises:
        InputError: a folder without any.
    """
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.is_dir():
            paths.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in READABLE and p.is_file())
        if not inside:
            raise InputError(f"folder {path} holds no picture or PDF; expected {', '.join(READABLE)}")
        paths += inside
    return list(dict.fromkeys(paths))


def _names(paths: Iterable[Path]) -> dict[Path, str]:
    """What each file's results are called: its stem, or its whole name where two files share a stem."""
    stems = [path.stem for path in paths]
    names = {path: path.stem if stems.count(path.stem) == 1 else path.name for path in paths}
    taken: dict[str, int] = {}
    for path, name in names.items():
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:  # the same name in two folders
            names[path] = f"{name}-{taken[name]}"
    return names


def page_object(path: Path, number: int, page: Page | None, seconds: float) -> dict[str, Any]:
    """What `--json` prints for one page."""
    read = page or Page([], "")
    return {
        "path": str(path),
        "page": number,
        "abc": read.abc,
        "seconds": round(seconds, 3),
        "turned": 90 * read.turned,
        "notes": list(read.notes),
        "systems": [{"box": s.box, "abc": s.abc, "confidence": round(s.confidence, 4)} for s in read.systems],
    }


def _print(done: ReadFile, as_json: bool, silent: bool, printed: int) -> None:
    if as_json:
        for number, page, seconds in done.pages:
            print(json.dumps(page_object(done.path, number, page, seconds)), flush=True)
    elif not silent:
        text = numbered(done.tunes, printed + 1)
        print(("\n" if printed else "") + text, end="", flush=True)


def _write_overlays(outputs: Outputs, pictures: Sequence[bytes]) -> None:
    for number, picture in enumerate(pictures if outputs.overlay else [], 1):
        write_whole(outputs.overlay_path(number), picture)
        _written([outputs.overlay_path(number)])


def _written(paths: Iterable[Path]) -> None:
    for path in paths:
        _say(f"written: {path}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def entry() -> None:
    """The console script."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    entry()
