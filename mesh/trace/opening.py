"""Opens a trace file for reading, or says in one line why it cannot be opened and what to do.

A trace may come from anybody, and SQLite believes much of what it finds: so this is the one gate.

Rules kept here:
1. The file is never changed, and nothing is made beside it, nor anywhere else removed.
2. A run that was killed leaves a journal beside its trace. SQLite needs it to take back what was not
   committed, and would write to do so: so trace and journal are copied, and the copy is read.
3. A run that still writes is read up to its last commit. Nobody who reads may hold a lock for long, or the run would
   fail to commit.
4. A file that is cut short is read as far as its pages go.
5. What lies beside the file is believed only if a run could have left it: a journal that is a regular file and names
   no other one. (SQLite removes the super-journal that a journal names: sqlite.org/atomiccommit.html, section 5.)
6. The file's tables are those of `mesh.trace.schema`, word for word. There is no view, no trigger, no column that is
   computed: reading runs nothing that somebody else wrote.
7. What SQLite may do is counted (`Steps`), by the size of the file: pages that point at each other, and rows that share
   what overflows their page, make a small file endless. SQLite reads the table of tables by itself, so that has one page.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from mesh.errors import UsageError
from mesh.trace.schema import APPLICATION_ID, FORMAT, SCHEMAS

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
"""What begins a journal's headers, and ends a journal that names a super-journal (sqlite.org/fileformat.html, 3.0)."""
_BUSY, _READONLY, _CANTOPEN = 5, 8, 14
"""Primary result codes, as sqlite.org/rescode.html numbers them."""
PATIENCE_S: Final = 1.0
"""How long to wait for a run that commits just now."""
_LENGTH_MAX: Final = 2**26
"""Bytes of one value and of one row; a message has at most 2 MiB."""
_OBJECTS_MAX: Final = 100
_LEAF: Final = 13
"""The type of a table's page that points to no other (sqlite.org/fileformat.html, 1.6)."""
_PIECE: Final = 2**20
UNREADABLE: Final = (sqlite3.Error, ValueError, OverflowError)
"""What sqlite3 raises over a damaged file: SQLite's words need not be UTF-8 then, nor its numbers fit."""


class Damage(UsageError):
    """A trace cannot be read on. `index` is the transmission at which that was found, if it was at one."""

    def __init__(self, text: str, index: int | None = None) -> None:
        super().__init__(text)
        self.index = index


class Steps:
    """How much SQLite may still do; counted, not timed, so that a file is readable or not wherever it is read.

    One statement takes at most `PER_BYTE` steps for each byte of the file, beyond what any may take: a row has some bytes,
    and no statement needs many steps for one.
    """

    UNIT: Final = 10_000
    OPENING: Final = 200 * UNIT
    """More than a nation's parties take, and less than some seconds."""
    PER_BYTE: Final = 8

    def __init__(self, db: sqlite3.Connection, size: int) -> None:
        self.size = size
        """Bytes of the file."""
        self._left: int | None = self.OPENING
        self._statement_max = self.OPENING + self.PER_BYTE * size
        self._statement = 0
        db.set_progress_handler(self._step, self.UNIT)

    def allow(self, steps: int | None) -> None:
        """From now on so many for all statements together; None for as many as each may take."""
        self._left = steps

    def begin(self) -> None:
        """A statement begins."""
        self._statement = 0

    def _step(self) -> bool:
        """Whether to stop. It also lets Ctrl-C through, which would wait for the end of a statement."""
        self._statement += self.UNIT
        if self._left is not None:
            self._left -= self.UNIT
            if self._left < 0:
                return True
        return self._statement > self._statement_max


class Room:
    """What a file of some size can hold: so many rows and bytes may come from it, and no more.

    No byte comes more than `shares` times.
    """

    ROW_BYTES_MIN: Final = 8
    """A row has two bytes in its page's index and two before it, and each column one at least."""

    def __init__(self, size: int, shares: int = 1) -> None:
        self._rows = size // self.ROW_BYTES_MIN
        self._bytes = shares * size

    def holds(self, row: tuple[Any, ...]) -> bool:
        """Whether there is room for one row more."""
        self._rows -= 1
        for value in row:
            if value.__class__ is bytes or value.__class__ is str:
                self._bytes -= len(value)
        return self._rows >= 0 and self._bytes >= 0


class Opened(NamedTuple):
    """A read-only connection to a trace."""

    db: sqlite3.Connection
    steps: Steps
    copy: Path | None = None
    """The copy that it reads, alone in its folder, if it reads one."""
    live: bool = False
    """Whether a run still writes the file."""
    short: str | None = None
    """That the file is shorter than it should be, and by how much."""


def connect(path: Path, name: str, *, glance: bool = False) -> Opened:
    """Open the file as far as it can be read; `UsageError` if nothing of it can be.

    `name` is what texts call it. Who takes a `glance` at what a killed run left gets no copy, but the pages as they are.
    """
    short = check_file(path, name)
    try:
        db, steps = _connect(path, name, "mode=ro", whole=short is None)
    except UNREADABLE as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == _BUSY:
            raise UsageError(
                f"{name} is still being written; wait for the run to end, or stop it with Ctrl-C"
            ) from None
        if short is not None:
            raise damaged(f"{name} is {short}") from None
        if code not in (_READONLY, _CANTOPEN) or not _has_journal(path, name):
            raise damaged(f"{name} is damaged") from None
        return _glance(path, name) if glance else _connect_to_copy(path, name)
    # SQLite has read the file beside a journal, so the journal's writer is alive and holds its lock.
    return Opened(db, steps, None, _has_journal(path, name), short)


def _connect(path: Path, name: str, how: str, *, whole: bool = True) -> tuple[sqlite3.Connection, Steps]:
    # `as_uri` quotes what a URI would read otherwise: ?, #, % and what is not ASCII.
    # A server opens in a thread what it reads in its own.
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False,
    )  # fmt: skip
    try:
        steps = Steps(db, path.stat().st_size)
        if not whole:
            # Else SQLite reads nothing of a file that has fewer pages than its header says.
            db.execute("PRAGMA writable_schema = ON")
        _settle(db, name)
    except (*UNREADABLE, UsageError):
        db.close()
        raise
    return db, steps


def _glance(path: Path, name: str) -> Opened:
    try:
        return Opened(*_connect(path, name, "mode=ro&immutable=1"))
    except UNREADABLE:
        raise damaged(f"{name} is damaged") from None


def _connect_to_copy(path: Path, name: str) -> Opened:
    files = (path, _beside(path, "journal"))
    folder = Path(tempfile.mkdtemp(prefix="meshsim-trace-"))
    copy = folder / "trace.sqlite"
    try:
        sizes = [one.stat().st_size for one in files]
        if sum(sizes) > shutil.disk_usage(folder).free:
            raise UsageError(
                f"{name} was left by a run that was killed, and is read from a copy, for which {folder.parent} has no room;"
                " set TMPDIR to a folder that has"
            )
        for file, target, size in zip(files, (copy, _beside(copy, "journal")), sizes, strict=True):
            _copy(file, target, size)
        if _names_another(_beside(copy, "journal")):
            raise UsageError(f"the journal of {name} names another one, which no run's does; move it away")
        db, steps = _connect(copy, name, "mode=rw")
    except (OSError, *UNREADABLE):
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            f"{name} was left by a run that was killed, and cannot be recovered; run it again"
        ) from None
    except UsageError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Opened(db, steps, copy)


def _copy(source: Path, target: Path, size: int) -> None:
    """As many bytes as the file had: whatever it has become meanwhile, the copy ends."""
    with source.open("rb") as file, target.open("xb") as copy:
        while size > 0 and (piece := file.read(min(size, _PIECE))):
            copy.write(piece)
            size -= len(piece)


def _names_another(journal: Path) -> bool:
    """Whether a journal ends as one does that names a super-journal."""
    with journal.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(_JOURNAL_MAGIC), 0))
        return file.read() == _JOURNAL_MAGIC


def _settle(db: sqlite3.Connection, name: str) -> None:
    """Read once, which recovers or fails, and let nothing in the file act or write."""
    # A column with bad UTF-8 is shown and compared, not a reason to stop.
    db.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH_MAX)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    found = db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT ?", (_OBJECTS_MAX,)
    ).fetchall()
    db.execute("PRAGMA query_only = ON")
    if not known_objects().issuperset(found) and not _is_newer(db, found):
        raise UsageError(
            f"{name} holds tables that no trace has; name a file that `run NAME --trace FILE` wrote"
        )


def _is_newer(db: sqlite3.Connection, found: list[tuple[str, ...]]) -> bool:
    """Whether the file says that a later version wrote it: then who reads on says so."""
    if not any(one[:2] == ("table", "meta") and one in known_objects() for one in found):
        return False
    row = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    return row is not None and str(row[0]).isdecimal() and len(row[0]) < 9 and int(row[0]) > FORMAT


@cache
def known_objects() -> frozenset[tuple[str, ...]]:
    """Every table and index that a trace may have, of whatever format, as SQLite lists it."""
    found: set[tuple[str, ...]] = set()
    for schema in SCHEMAS:
        db = sqlite3.connect(":memory:")
        for statement in schema.split(";"):
            db.execute(statement)
        found |= set(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))
        db.close()
    return frozenset(found)


def check_file(path: Path, name: str | None = None) -> str | None:
    """`UsageError` unless the file begins as a trace does. Says so if it is shorter than it should be."""
    name = one_line(path) if name is None else name
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
            page = file.read(5)
        size = path.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise UsageError(f"cannot read {name}: {reason}; name a readable trace file") from None
    if size < _HEADER_BYTES and header.startswith(_MAGIC):
        raise damaged(f"{name} is truncated: {size} bytes are left")
    if not header.startswith(_MAGIC):
        raise UsageError(f"{name} is no trace: name a file that `run NAME --trace FILE` wrote")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise UsageError(
            f"{name} is a database, but no trace: name a file that `run NAME --trace FILE` wrote"
        )
    if header[18:20] != b"\x01\x01":
        # To read a write-ahead log SQLite makes files beside the database.
        raise UsageError(f"{name} was changed to keep a write-ahead log, which no run does; run it again")
    if len(page) == 5 and (page[0] != _LEAF or int.from_bytes(page[3:5], "big") > _OBJECTS_MAX):
        raise damaged(f"{name} is damaged")
    # A page size of 65536 is written as 1 (sqlite.org/fileformat.html, section 1.3.2).
    page_size = int.from_bytes(header[16:18], "big")
    wanted = (65536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    if not _has_journal(path, name) and size < wanted:
        return f"truncated: {size} of {wanted} bytes"
    return None


def _has_journal(path: Path, name: str) -> bool:
    """Whether a run's journal lies beside the file; `UsageError` for what no run leaves there."""
    found = False
    for kind in ("journal", "wal"):
        try:
            mode = _beside(path, kind).lstat().st_mode
        except OSError:
            continue
        if kind != "journal" or not stat.S_ISREG(mode):
            raise UsageError(f"beside {name} lies a -{kind} that no run leaves there; move it away")
        found = True
    return found


def damaged(text: str, index: int | None = None) -> Damage:
    """The error of a file that began as a trace and cannot be read on."""
    return Damage(f"{text}; copy it again, or run it again", index)


def one_line(path: Path) -> str:
    """The path as a message shows it."""
    return "".join(c if c.isprintable() else "?" for c in str(path))


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}-{kind}")
