"""Caches results that are slow to compute and always the same, in the user's cache folder, separately for each version
of the code.

`XDG_CACHE_HOME` moves the folder from ~/.cache; everything in it may be deleted at any time.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import platform
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from runtime.errors import InputError
from runtime.output import write_whole

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PACKAGES = ("music21", "numpy", "Pillow", "resvg_py", "verovio")  # packages that tunes and pictures depend on
VERSIONS = 8  # kept for each name, for those who switch between versions of the code


def folder() -> Path:
    """Where things are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omr-in-a-phone"


@functools.cache
def fingerprint() -> str:
    """A value that changes when our code, or a package that tunes and pictures depend on, changes."""
    total = hashlib.sha256(platform.python_version().encode())
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            total.update(f"{name} {version(name)}\n".encode())
    for room in ("runtime", "training/data"):
        for path in sorted((ROOT / room).rglob("*.py")):
            total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def kept(name: str, make: Callable[[], T]) -> T:
    """What `make` returns, from the cache if the same code made it before."""
    path = folder() / f"{name}-{fingerprint()}.pickle"
    # The file is the user's own. Whatever is wrong with it, making the value again is right.
    with suppress(Exception):
        value: T = pickle.loads(path.read_bytes())
        return value
    value = make()
    with suppress(InputError, OSError):  # a folder that takes no files only costs the time
        write_whole(path, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        for old in sorted(folder().glob(f"{name}-*.pickle"), key=lambda p: p.stat().st_mtime)[:-VERSIONS]:
            old.unlink()
    return value
