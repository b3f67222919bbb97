"""A file that a person asked for stands under its name whole, or not at all: a disk may be full, a run may be ended."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, *, new: bool = False) -> Iterator[BinaryIO]:
    """Write a file beside its name, and give it the name once all of it is on the disk.

    What stands there is replaced then, unless it must be `new` (FileExistsError). A device or a pipe, as /dev/stdout
    is, is written as it is. Raises OSError; then what stood there is as it was, and nothing lies beside.
    """
    if path.exists() and not path.is_file() and not new:
        with path.open("wb") as stream:
            yield stream
        return
    target = path if new else path.resolve()  # A link stays one.
    if target.exists() and not os.access(target, os.W_OK):
        raise OSError(EACCES, os.strerror(EACCES), str(path))
    # A folder: the file in it gets the mode that any new file gets.
    folder = Path(tempfile.mkdtemp(prefix=".meshsim-", dir=target.parent))
    beside = folder / "new"
    try:
        with beside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            os.link(beside, target)  # Which never replaces.
        else:
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
