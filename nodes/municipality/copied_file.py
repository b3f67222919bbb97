"""What a welfare office keeps of each person, and the copy of it that answers requests.

Rules kept here:
1. The office's record is the original (正本); requests are answered from the copy (副本) that it registers.
2. A copy that was not registered is `replica_missing`; what was never recorded is `not_found`.
3. 提供不可 withholds a record; 自動応答不可 leaves the answer to an official.

Every method that writes is called inside the office's `effect()`.
"""

from __future__ import annotations

from typing import Final, Generic, Literal, TypeVar

import msgspec

from mesh import FromCopy, ManualReview, NotFound, ReplicaMissing, Withheld, instant
from mesh.service import check_entry
from mesh.store import Database

SCHEMA: Final = """
CREATE TABLE original(person TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE replica(person TEXT PRIMARY KEY, record BLOB NOT NULL, registered_us INTEGER NOT NULL);
CREATE TABLE flag(person TEXT NOT NULL, flag TEXT NOT NULL, PRIMARY KEY (person, flag));
"""

Flag = Literal["withheld", "manual"]
"""提供不可, 自動応答不可."""
R = TypeVar("R", bound=FromCopy)


class CopiedFile(Generic[R]):
    """The records of one office, each in the form in which it answers: an original is as of when it was recorded."""

    def __init__(self, db: Database, record: type[R]) -> None:
        self._db = db
        self._type = record

    def keep(self, person: str, record: R) -> None:
        """Keep or correct a person's record: the original alone, the copy stays as it is.

        `UsageError` for a record with which the office could not answer.
        """
        check_entry("the record", record, self._type)
        self._db.execute(
            "INSERT OR REPLACE INTO original VALUES (?, ?)", (person, msgspec.json.encode(record))
        )

    def register(self, person: str, now_us: int) -> None:
        """Register the copy of a person's record (副本登録), in place of the one before."""
        self._db.execute(
            "INSERT OR REPLACE INTO replica SELECT *, ? FROM original WHERE person = ?", (now_us, person)
        )

    def mark(self, person: str, flag: Flag) -> None:
        """Set a flag."""
        self._db.execute("INSERT OR IGNORE INTO flag VALUES (?, ?)", (person, flag))

    def answer(self, person: str) -> R:
        """The copy of a person's record; Withheld, ManualReview, ReplicaMissing or NotFound."""
        rows = self._db.execute("SELECT flag FROM flag WHERE person = ?", (person,))
        flags = [row["flag"] for row in rows]
        if "withheld" in flags:
            raise Withheld
        if "manual" in flags:
            raise ManualReview
        copy = self._db.execute("SELECT * FROM replica WHERE person = ?", (person,)).fetchone()
        if copy is None:
            known = self._db.execute("SELECT 1 FROM original WHERE person = ?", (person,)).fetchone()
            raise NotFound if known is None else ReplicaMissing
        record = msgspec.json.decode(copy["record"], type=self._type)
        return msgspec.structs.replace(record, as_of=instant(copy["registered_us"]))
