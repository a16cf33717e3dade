"""Files and folders of artifacts: some formats are folders, and several graphs may lie in one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

Opened = TypeVar("Opened")


def opened_once(read: Callable[[Path], Opened]) -> Callable[[Path], Opened]:
    """`read`, cached until the file or folder changes, because several graphs may share one."""
    kept = lru_cache(maxsize=2)(lambda path, _changed: read(path))

    def opened(path: Path) -> Opened:
        parts = [part for part in [path, *path.rglob("*")] if part.exists()]
        found: Opened = kept(path, tuple((part.stat().st_mtime_ns, part.stat().st_size) for part in parts))
        return found

    return opened


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(part.stat().st_size for part in [path, *path.rglob("*")] if part.is_file())
