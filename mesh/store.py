"""A party's own SQLite database; nothing else opens it (分散管理).

Rules kept here:
1. The mesh's tables begin with `mesh_`; all others are the node's own.
2. Writes come as (name, values) and are committed together; a node's own writes go through `Database`,
   which refuses them outside an effect.
3. No transaction stays open across an await: an effect that is left open is rolled back and is an error.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from mesh.dead_letter import DeadLetter
from mesh.errors import MeshError
from mesh.exchange import Write

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS mesh_ledger(position INTEGER PRIMARY KEY, row BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS mesh_key(key INTEGER, position INTEGER, PRIMARY KEY(key, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mesh_tree(one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, peaks BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS mesh_outcome(
  number INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
  line BLOB NOT NULL, keep_us INTEGER NOT NULL, permit BLOB, UNIQUE(id, source));
CREATE TABLE IF NOT EXISTS mesh_inbox(
  number INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
  line BLOB NOT NULL, permit BLOB NOT NULL, receipt BLOB NOT NULL, keep_us INTEGER NOT NULL, data BLOB NOT NULL,
  done INTEGER NOT NULL DEFAULT 0, UNIQUE(id, source));
CREATE TABLE IF NOT EXISTS mesh_outbox(
  number INTEGER PRIMARY KEY, sender TEXT NOT NULL, recipient TEXT NOT NULL, digest TEXT NOT NULL, line BLOB NOT NULL,
  expiry_us INTEGER NOT NULL, added_us INTEGER NOT NULL, subject TEXT, stage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mesh_push(
  id TEXT PRIMARY KEY, line BLOB NOT NULL, subject TEXT NOT NULL, content BLOB NOT NULL, keep_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS mesh_letter(
  number INTEGER PRIMARY KEY, message TEXT NOT NULL, push TEXT NOT NULL, by_whom TEXT NOT NULL, code TEXT NOT NULL,
  text TEXT NOT NULL, UNIQUE(message, by_whom));
CREATE TABLE IF NOT EXISTS mesh_meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- A provider's answer is a ledger row and a kept outcome. As one statement it is a transaction by itself,
-- which costs half of four statements where commits cannot be shared.
CREATE VIEW IF NOT EXISTS mesh_answer AS
  SELECT position, row, source, id, digest, line, keep_us, permit FROM mesh_ledger, mesh_outcome;
CREATE TRIGGER IF NOT EXISTS mesh_answered INSTEAD OF INSERT ON mesh_answer BEGIN
  INSERT INTO mesh_ledger VALUES (NEW.position, NEW.row);
  INSERT INTO mesh_outcome(source, id, digest, line, keep_us, permit)
    VALUES (NEW.source, NEW.id, NEW.digest, NEW.line, NEW.keep_us, NEW.permit);
END;
"""
_LEDGER_ROW: Final = "INSERT INTO mesh_ledger VALUES (?, ?)"
_ANSWER: Final = "INSERT INTO mesh_answer VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_WRITES: Final = {
    "outcome": "INSERT INTO mesh_outcome(source, id, digest, line, keep_us) VALUES (?, ?, ?, ?, ?)",
    "answer": (
        "INSERT INTO mesh_outcome(source, id, digest, line, keep_us, permit) VALUES (?, ?, ?, ?, ?, ?)"
    ),
    "answer_anew": "UPDATE mesh_outcome SET line = ? WHERE id = ? AND source = ?",
    "receipt_anew": "UPDATE mesh_inbox SET receipt = ? WHERE id = ? AND source = ?",
    "inbox": (
        "INSERT INTO mesh_inbox(source, id, digest, line, permit, receipt, keep_us, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    # A body that was handled is its node's own matter from then on.
    "inbox_done": "UPDATE mesh_inbox SET done = 1, data = x'' WHERE id = ? AND source = ?",
    "outbox": (
        "INSERT INTO mesh_outbox(number, sender, recipient, digest, line, expiry_us, added_us, subject, stage)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "outbox_gone": "DELETE FROM mesh_outbox WHERE number = ?",
    "outbox_dead": "UPDATE mesh_outbox SET stage = ? WHERE number = ?",
    "outbox_revived": "UPDATE mesh_outbox SET stage = ?, expiry_us = ? WHERE number = ?",
    "push": "INSERT INTO mesh_push VALUES (?, ?, ?, ?, ?)",
    "push_kept": "UPDATE mesh_push SET keep_us = max(keep_us, ?) WHERE id = ?",
    "letter": "INSERT OR REPLACE INTO mesh_letter(message, push, by_whom, code, text) VALUES (?, ?, ?, ?, ?)",
    "letters_gone": "DELETE FROM mesh_letter WHERE message = ?",
    "rising": "INSERT INTO mesh_meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
    "key": "INSERT OR IGNORE INTO mesh_key VALUES (?, ?)",
    "tree": "INSERT OR REPLACE INTO mesh_tree VALUES (1, ?, ?)",
    "consent_use": "INSERT INTO mesh_meta VALUES ('consent ' || ?, 1) ON CONFLICT DO UPDATE SET value = value + 1",
}

_PURGED_OUTCOMES: Final = "purged_outcomes_us"
_PURGED_PUSHES: Final = "purged_pushes_us"

_GROUP_FROM: Final = 4

_COMMENTS: Final = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_READS: Final = re.compile(_COMMENTS + r"(SELECT|EXPLAIN|VALUES|WITH)\b", re.IGNORECASE | re.DOTALL)
# `replace(` is a function that reads, and no statement begins so.
_WRITES_UNDER_WITH: Final = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE(?!\s*\())\b", re.IGNORECASE)

_OF_PLACE: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)


class Store:
    """One party's database: the mesh's tables, and the node's own beside them."""

    def __init__(self, path: Path | None = None, schema: str = "") -> None:
        self.db = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, cached_statements=64
        )
        self.db.row_factory = sqlite3.Row
        self._execute = self.db.execute
        self._executemany = self.db.executemany
        # Writing leaves nothing to fetch, so that one cursor serves all of it.
        self._write = self.db.cursor().execute
        if path is not None:
            self.db.execute("PRAGMA journal_mode = DELETE")
            # A simulated crash is the host's; against the machine's own a simulation needs no protection.
            self.db.execute("PRAGMA synchronous = OFF")
        fresh = self.db.execute("PRAGMA user_version").fetchone()[0] == 0
        self.db.executescript(_SCHEMA + (schema if fresh else "") + "; PRAGMA user_version = 1;")
        self.effect = 0
        """The number of the effect that is open, 0 when none is."""
        self._effects = 0
        self._kept: dict[tuple[str, str], None] = {}
        """The keys of the outcomes kept since it was opened: nearly every question is new, and need not be looked up."""
        self._has_older = self._execute("SELECT 1 FROM mesh_outcome LIMIT 1").fetchone() is not None
        self._purged_us = self.number(_PURGED_OUTCOMES)
        self._purged_pushes_us = self.number(_PURGED_PUSHES)

    def commit(self, writes: Sequence[Write], rows: Sequence[bytearray] = (), position: int = 0) -> None:
        """Commit the writes, rows of the ledger from `position` on, and an effect that is open, all or nothing."""
        if self.effect or not self._commit_alone(writes, rows, position):
            self._commit_together(writes, rows, position)
        for name, values in writes:
            if name == "answer" or name == "outcome":
                self._kept[values[0], values[1]] = None

    def _commit_alone(self, writes: Sequence[Write], rows: Sequence[bytearray], position: int) -> bool:
        """Commit what is one statement, and so a transaction by itself; False if it is more."""
        if len(rows) == 1 and not writes:
            self._write(_LEDGER_ROW, (position, rows[0]))
        elif len(rows) == 1 == len(writes) and writes[0][0] == "answer":
            self._write(_ANSWER, (position, rows[0], *writes[0][1]))
        elif len(writes) == 1 and not rows:
            name, values = writes[0]
            self._write(_WRITES[name], values)
        else:
            return False
        return True

    def _commit_together(self, writes: Sequence[Write], rows: Sequence[bytearray], position: int) -> None:
        if not self.effect:
            self._write("BEGIN")
        self.effect = 0
        try:
            if rows:
                self._executemany(_LEDGER_ROW, enumerate(rows, position))
            if len(writes) < _GROUP_FROM:
                for name, values in writes:
                    self._write(_WRITES[name], values)
            else:
                for name, values_of_each in _grouped(writes).items():
                    self._executemany(_WRITES[name], values_of_each)
            self._write("COMMIT")
        except BaseException:
            self.db.rollback()
            raise

    def begin_effect(self) -> int:
        """Open the transaction that a node's own writes and the next commit share; returns its number."""
        self._write("BEGIN")
        self._effects += 1
        self.effect = self._effects
        return self.effect

    def undo_effect(self) -> None:
        """Roll an open effect back."""
        if self.effect:
            self.effect = 0
            self.db.rollback()

    def kept(self, source: str, message_id: str) -> tuple[str, bytes] | None:
        """Digest and line of the outcome of a message, if it is kept."""
        if (source, message_id) not in self._kept and not self._has_older:
            return None
        row = self._execute(
            "SELECT digest, line FROM mesh_outcome WHERE id = ? AND source = ?", (message_id, source)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def kept_answer(self, source: str, message_id: str) -> tuple[str, bytes, bytes] | None:
        """Digest, line and permit of the answer to a question, if it is kept."""
        if (source, message_id) not in self._kept and not self._has_older:
            return None
        row = self._execute(
            "SELECT digest, line, permit FROM mesh_outcome WHERE id = ? AND source = ? AND permit IS NOT NULL",
            (message_id, source),
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def received(self, source: str, message_id: str) -> tuple[str, bytes, bytes] | None:
        """Digest, receipt and permit of a push that is in the inbox."""
        row = self._execute(
            "SELECT digest, receipt, permit FROM mesh_inbox WHERE id = ? AND source = ?", (message_id, source)
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def is_handled(self, source: str, message_id: str) -> bool:
        """Whether the effect of a push was committed."""
        row = self._execute(
            "SELECT done FROM mesh_inbox WHERE id = ? AND source = ?", (message_id, source)
        ).fetchone()
        return row is not None and row[0] == 1

    def unhandled(self) -> list[tuple[bytes, bytes, bytes]]:
        """Line, permit and opened body of every push that was taken in and not handled yet."""
        rows = self._execute("SELECT line, permit, data FROM mesh_inbox WHERE done = 0 ORDER BY number")
        return [(row[0], row[1], row[2]) for row in rows]

    def push(self, message_id: str) -> tuple[bytes, str, bytes] | None:
        """Line, subject and content of a push of the party's own, for as long as it can be sent again."""
        row = self._execute(
            "SELECT line, subject, content FROM mesh_push WHERE id = ?", (message_id,)
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def letters(self) -> list[DeadLetter]:
        """The dead letters of the party's own pushes that were not sent again, the oldest first."""
        rows = self._execute("SELECT message, push, by_whom, code, text FROM mesh_letter ORDER BY number")
        return [DeadLetter(*row) for row in rows]

    def outbox(self) -> list[tuple[int, str, str, str, bytes, int, int, str | None, str]]:
        """Every delivery, as `Outbox.load` takes it."""
        rows = self._execute(
            "SELECT number, sender, recipient, digest, line, expiry_us, added_us, subject, stage"
            " FROM mesh_outbox ORDER BY number"
        )
        return [tuple(row) for row in rows]

    def ledger_rows(self, start: int = 0, stop: int = 2**53) -> Iterator[bytes]:
        """The stored rows of the ledger from start to before stop."""
        rows = self._execute(
            "SELECT row FROM mesh_ledger WHERE position >= ? AND position < ? ORDER BY position",
            (start, stop),
        )
        return (row[0] for row in rows)

    def grown(self) -> tuple[int, bytes]:
        """Size and peaks of the ledger's tree as they were last kept; the rows behind may be more."""
        row = self._execute("SELECT size, peaks FROM mesh_tree").fetchone()
        return (0, b"") if row is None else (row[0], row[1])

    def positions_of(self, key: int) -> list[int]:
        """Where the ledger's rows with a key stand, as far as their keys were committed."""
        return [row[0] for row in self._execute("SELECT position FROM mesh_key WHERE key = ?", (key,))]

    def ledger_rows_with(self, text: str) -> list[bytes]:
        """The stored rows in which the text occurs; the caller reads where."""
        rows = self._execute(
            "SELECT row FROM mesh_ledger WHERE instr(row, ?) ORDER BY position", (text.encode(),)
        )
        return [row[0] for row in rows]

    def next_number(self, key: str) -> int:
        """A number that rises with every call and is committed before it is returned."""
        row = self._execute(
            "INSERT INTO mesh_meta VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value",
            (key,),
        ).fetchone()
        return int(row[0])

    def number(self, key: str) -> int:
        """The number last given under a key, 0 if none."""
        row = self._execute("SELECT value FROM mesh_meta WHERE key = ?", (key,)).fetchone()
        return 0 if row is None else int(row[0])

    def has_purged(self, keep_us: int) -> bool:
        """Whether an outcome that was to be kept until then may have been forgotten."""
        return keep_us <= self._purged_us

    def has_purged_push(self, keep_us: int) -> bool:
        """The same for a push of the inbox."""
        return keep_us <= self._purged_pushes_us

    def purge(self, past_us: int) -> int | None:
        """Forget outcomes and handled pushes that are kept until before `past_us`; ledger rows stay for ever.

        How far it went is kept with it, so that what was forgotten is known to be. Returns when the next of what is left
        may go, None if nothing is. It looks at all that is kept: an index on the time would cost every commit a page more.
        """
        self._write("BEGIN")
        try:
            gone = self._execute(
                "DELETE FROM mesh_outcome WHERE keep_us < ? RETURNING source, id, keep_us", (past_us,)
            ).fetchall()
            pushes = self._execute(
                "DELETE FROM mesh_inbox WHERE keep_us < ? AND done = 1 RETURNING keep_us", (past_us,)
            ).fetchall()
            self._write("DELETE FROM mesh_push WHERE keep_us < ?", (past_us,))
            self._write("DELETE FROM mesh_letter WHERE message NOT IN (SELECT id FROM mesh_push)")
            purged_us = max((row[2] for row in gone), default=0)
            purged_pushes_us = max((row[0] for row in pushes), default=0)
            for key, value in ((_PURGED_OUTCOMES, purged_us), (_PURGED_PUSHES, purged_pushes_us)):
                if value:
                    self._write(_WRITES["rising"], (key, value))
            self._write("COMMIT")
        except BaseException:
            self.db.rollback()
            raise
        for row in gone:
            self._kept.pop((row[0], row[1]), None)
        self._purged_us = max(self._purged_us, purged_us)
        self._purged_pushes_us = max(self._purged_pushes_us, purged_pushes_us)
        left = self._execute(
            "SELECT min(keep_us) FROM (SELECT keep_us FROM mesh_outcome UNION ALL SELECT keep_us FROM mesh_inbox"
            " UNION ALL SELECT keep_us FROM mesh_push)"
        ).fetchone()
        return None if left[0] is None else int(left[0])

    def close(self) -> None:
        """Close the database; what was not committed is gone."""
        self.undo_effect()
        self.db.close()


class Database:
    """The node's own view of its database: it reads at any time and writes inside an effect only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._execute = store.db.execute

    def execute(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Run one statement. Writing outside `with self.effect():` raises RuntimeError.

        Reading is SELECT, VALUES, EXPLAIN, and a WITH in which no word of writing occurs, not even in a text.
        """
        self._check(sql)
        return self._execute(sql, values)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> sqlite3.Cursor:
        """Run one statement for each row; it writes, so it belongs into an effect."""
        self._check(sql)
        return self._store.db.executemany(sql, rows)

    def _check(self, sql: str) -> None:
        if not self._store.effect and not _only_reads(sql):
            raise RuntimeError("a node writes inside `with self.effect():`, so that the write happens once")


def _grouped(writes: Sequence[Write]) -> dict[str, list[tuple[Any, ...]]]:
    """The writes by statement. Within one commit only the order of one statement's rows matters."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for name, values in writes:
        group = groups.get(name)
        if group is None:
            groups[name] = [values]
        else:
            group.append(values)
    return groups


@lru_cache(maxsize=1024)
def _only_reads(sql: str) -> bool:
    first = _READS.match(sql)
    return first is not None and (first[1].upper() != "WITH" or _WRITES_UNDER_WITH.search(sql) is None)


def storage_error(error: Exception) -> MeshError:
    """What a failed commit is called on the mesh."""
    return MeshError("storage_unavailable", f"the database could not be written ({type(error).__name__})")


def is_of_place(error: BaseException) -> bool:
    """Whether a file cannot be written where it stands, as on a full disk; what is asked of SQLite may be right."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # The bits above tell more of the same.
    return isinstance(error, sqlite3.Error) and code in _OF_PLACE
