"""Writes readings as ABC, MusicXML and MIDI files, each whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InputError
from .notation.score import to_midi, to_musicxml
from .reading.join_lines import numbered

# Tunes of one piece, its title -> the file's content.
WRITERS: dict[str, Callable[[Sequence[str], str], bytes]] = {
    ".abc": lambda tunes, title: numbered(tunes).encode(),
    ".musicxml": to_musicxml,
    ".mid": lambda tunes, title: to_midi(tunes),
}
PICTURES = (".png",)


@dataclass(frozen=True)
class Outputs:
    """Files and folders that were asked for, checked before anything is read.

    Attributes:
        files: one file each for everything that is read.
        folders: get one file of each kind for every input.
        overlay: picture of the systems found; further pages add their number to its name.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    overlay: Path | None = None

    @classmethod
    def planned(cls, names: Sequence[str], overlay: str | None) -> Outputs:
        """Sorts the names given on the command line.

        Raises:
            InputError: an unknown ending, or a place that can't be written to.
        """
        folders = [Path(name) for name in names if _is_folder(name)]
        files = [Path(name) for name in names if not _is_folder(name)]
        for path in files:
            if path.suffix.lower() not in WRITERS:
                raise InputError(
                    f"output {str(path)!r} has no ending we write; use {', '.join(WRITERS)}, or a folder ending in /"
                )
        picture = Path(overlay) if overlay else None
        if picture and picture.suffix.lower() not in PICTURES:
            raise InputError(f"overlay {str(picture)!r} has no ending we write; use .png")
        for path in [*files, *folders, *([picture] if picture else [])]:
            _check_place(path, path in folders)
        return cls(files, folders, picture)

    def __bool__(self) -> bool:
        return bool(self.files or self.folders)

    def write_pieces(self, tunes: Sequence[str], title: str) -> list[Path]:
        """Everything that was read, into each named file."""
        for path in self.files:
            write_whole(path, WRITERS[path.suffix.lower()](tunes, title))
        return self.files

    def write_piece_into_folders(self, tunes: Sequence[str], name: str) -> list[Path]:
        """One input, as one file of each kind."""
        written = []
        for folder in self.folders:
            for suffix, writer in WRITERS.items():
                written.append(folder / f"{name}{suffix}")
                write_whole(written[-1], writer(tunes, name))
        return written

    def overlay_path(self, number: int) -> Path:
        """Where the overlay of the n-th page goes, from 1."""
        assert self.overlay is not None
        return self.overlay if number == 1 else self.overlay.with_stem(f"{self.overlay.stem}-{number}")


def write_whole(path: Path, content: bytes) -> None:
    """Writes to a temporary name beside `path` and renames it, so that no half file is ever seen.

    Raises:
        InputError: the place can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files only their owner can read
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror}); choose another place") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _is_folder(name: str) -> bool:
    return name.endswith(("/", os.sep)) or Path(name).is_dir()


def _check_place(path: Path, folder: bool) -> None:
    """The nearest folder that exists must take new files."""
    if folder and path.exists() and not path.is_dir():
        raise InputError(f"output {path}/ is a file; give a folder or drop the / at its end")
    if not folder and path.is_dir():
        raise InputError(f"output {path} is a folder; give a file name")
    place = path if folder else path.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"output {path} can't be written: {place} takes no new files; choose another place")
