"""Opens a trace file for reading, or says in one line why it cannot be opened and what to do.

Rules kept here:
1. The file is never changed, and nothing is made beside it.
2. A run that was killed leaves a journal beside its trace. SQLite needs it to take back what was not
   committed, and would write to do so: so trace and journal are copied, and the copy is read.
3. A run that still writes is read up to its last commit. Nobody who reads may hold a lock for long, or the run would
   fail to commit.
4. A file that is cut short is read as far as its pages go.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from mesh.errors import UsageError
from mesh.trace.schema import APPLICATION_ID

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_BUSY, _READONLY, _CANTOPEN = 5, 8, 14
"""Primary result codes, as sqlite.org/rescode.html numbers them."""
PATIENCE_S: Final = 1.0
"""How long to wait for a run that commits just now."""


class Damage(UsageError):
    """A trace cannot be read on. `index` is the transmission at which that was found, if it was at one."""

    def __init__(self, text: str, index: int | None = None) -> None:
        super().__init__(text)
        self.index = index


class Opened(NamedTuple):
    """A read-only connection to a trace."""

    db: sqlite3.Connection
    copy: Path | None = None
    """The folder of the copy that it reads, if it reads one."""
    live: bool = False
    """Whether a run still writes the file."""
    short: str | None = None
    """That the file is shorter than it should be, and by how much."""


def connect(path: Path) -> Opened:
    """Open the file as far as it can be read; `UsageError` if nothing of it can be."""
    name = one_line(path)
    short = check_file(path)
    try:
        db = _connect(path, whole=short is None)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == _BUSY:
            raise UsageError(
                f"{name} is still being written; wait for the run to end, or stop it with Ctrl-C"
            ) from None
        if short is not None:
            raise damaged(f"{name} is {short}") from None
        if code not in (_READONLY, _CANTOPEN) or not _journal(path).exists():
            raise damaged(f"{name} is damaged") from None
        return Opened(*_connect_to_copy(path))
    # SQLite has read the file beside a journal, so the journal's writer is alive and holds its lock.
    return Opened(db, None, _journal(path).exists(), short)


def _connect(path: Path, *, whole: bool) -> sqlite3.Connection:
    # `as_uri` quotes what a URI would read otherwise: ?, #, % and what is not ASCII.
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S, isolation_level=None
    )
    try:
        if not whole:
            # Else SQLite reads nothing of a file that has fewer pages than its header says.
            db.execute("PRAGMA writable_schema = ON")
        return _settle(db)
    except sqlite3.Error:
        db.close()
        raise


def _connect_to_copy(path: Path) -> tuple[sqlite3.Connection, Path]:
    folder = Path(tempfile.mkdtemp(prefix="meshsim-trace-"))
    copy = folder / "trace.sqlite"
    try:
        shutil.copyfile(path, copy)
        shutil.copyfile(_journal(path), _journal(copy))
        return _settle(sqlite3.connect(copy, timeout=0, isolation_level=None)), folder
    except (OSError, sqlite3.Error):
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            f"{one_line(path)} was left by a run that was killed, and cannot be recovered; run it again"
        ) from None


def _settle(db: sqlite3.Connection) -> sqlite3.Connection:
    """Read once, which recovers or fails, and let nothing in the file act or write."""
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    db.execute("PRAGMA query_only = ON")
    # A column with bad UTF-8 is shown and compared, not a reason to stop.
    db.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
    return db


def check_file(path: Path) -> str | None:
    """`UsageError` unless the file begins as a trace does. Says so if it is shorter than it should be."""
    name = one_line(path)
    try:
        if path.is_dir():
            raise UsageError(
                f"{name} is a folder; name one trace file, or list them with `trace list {name}`"
            )
        if not path.exists():
            raise UsageError(f"there is no trace {name}; record one with `run NAME --trace {name}`")
        if not path.is_file():
            raise UsageError(f"{name} is not a file; name a trace that `run NAME --trace FILE` wrote")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise UsageError(f"cannot read {name}: {reason}; name a readable trace file") from None
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise UsageError(f"{name} is no trace: name a file that `run NAME --trace FILE` wrote")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise UsageError(
            f"{name} is a database, but no trace: name a file that `run NAME --trace FILE` wrote"
        )
    # A page size of 65536 is written as 1 (sqlite.org/fileformat.html, section 1.3.2).
    page_size = int.from_bytes(header[16:18], "big")
    wanted = (65536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    if size < wanted and not _journal(path).exists():
        return f"truncated: {size} of {wanted} bytes"
    return None


def damaged(text: str, index: int | None = None) -> Damage:
    """The error of a file that began as a trace and cannot be read on."""
    return Damage(f"{text}; copy it again, or run it again", index)


def one_line(path: Path) -> str:
    """The path as a message shows it."""
    return "".join(c if c.isprintable() else "?" for c in str(path))


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-journal")
