"""Which state of a file somebody has seen."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """Which file stands under a name, and as of when."""

    inode: int
    size: int
    mtime_ns: int


def stamp_of(path: Path) -> Stamp:
    """What tells whether a file has changed."""
    found = path.lstat()
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
