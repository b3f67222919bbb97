"""Who writes a recording: one process at a time, by a lock that ends with it.

The lock is the operating system's, on an empty file beside what is claimed; so nothing of it outlives a process that
was killed. A name that begins with a dot is not listed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from mesh.errors import UsageError

_TRIES: Final = 20
"""Who only looks holds the lock for an instant, and another's file may just be going."""


class Claim:
    """A path that this process alone writes, until `release`; `UsageError` if another does. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file = _lock_of(path)
        for _ in range(_TRIES):
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            if _lock(descriptor, fcntl.LOCK_EX) and _is_file_of(descriptor, self._file):
                self._descriptor = descriptor
                return
            os.close(descriptor)
        raise claimed(path)

    def release(self) -> None:
        """Let others write there, and leave nothing beside."""
        if self._descriptor >= 0:
            self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def is_claimed(path: Path) -> bool:
    """Whether somebody writes there just now; nothing is made or changed."""
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def claimed(path: Path) -> UsageError:
    """What is said to who comes second."""
    return UsageError(
        f"{path} is being written by another run; wait for its end, stop it, or name another place"
    )


def _lock_of(path: Path) -> Path:
    # The folder as it is, so that two ways to one file meet in one lock.
    return path.parent.resolve() / f".{path.name}.lock"


def _lock(descriptor: int, how: int) -> bool:
    """Whether the lock was to be had."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_of(descriptor: int, file: Path) -> bool:
    """Whether it is still this file that stands there: whoever was first may have taken it away since it was opened."""
    try:
        found = file.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)
