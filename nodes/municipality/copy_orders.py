"""Orders for copies of family registers: who wants which register, what it costs, and what came of it.

Kept in the register's own tables; every method that writes is called inside its `effect()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mesh.errors import NotFound
from mesh.service import Name, check_entry
from mesh.store import Database
from nodes.agency.kinship import RecordKind

FEES_YEN: Final[dict[RecordKind, int]] = {"current": 450, "closed": 750}
"""戸籍 and 除籍・改製原戸籍 (地方公共団体の手数料の標準に関する政令)."""

State = Literal["ordered", "issued", "refused"]
SCHEMA = """
CREATE TABLE copy_order(
  number INTEGER PRIMARY KEY, record TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, born TEXT NOT NULL,
  photo_id INTEGER NOT NULL, in_person INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'ordered',
  why TEXT NOT NULL DEFAULT '', persons INTEGER NOT NULL DEFAULT 0);
"""


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks for a copy, as their document of identity says."""

    name: str
    born: str
    photo_id: bool = True
    """Showed a document with a photograph, such as マイナンバーカード."""
    in_person: bool = True
    """Neither by post nor through somebody with a mandate."""


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """One order; `key` is what the cash desk knows of it."""

    number: int
    record: str
    kind: RecordKind
    applicant: Applicant
    state: State
    why: str
    """The code with which the copy was refused."""
    persons: int
    """How many persons the issued copy names."""

    @property
    def key(self) -> str:
        """The order as the cash desk and the payment agent know it."""
        return f"od-{self.number:06d}"

    @property
    def fee_yen(self) -> int:
        """What the copy costs."""
        return FEES_YEN[self.kind]


class CopyOrders:
    """The orders of one counter."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def open(self, record: str, kind: RecordKind, applicant: Applicant) -> CopyOrder:
        """Keep a new order. `UsageError` for a name by which no other city could look."""
        check_entry("the applicant's name", applicant.name, Name)
        cursor = self._db.execute(
            "INSERT INTO copy_order(record, kind, name, born, photo_id, in_person) VALUES (?, ?, ?, ?, ?, ?)",
            (record, kind, applicant.name, applicant.born, applicant.photo_id, applicant.in_person),
        )
        return self.order(cursor.lastrowid or 0)

    def order(self, number: int) -> CopyOrder:
        """The order; `NotFound` if there is none."""
        row = self._db.execute("SELECT * FROM copy_order WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise NotFound("there is no such order")
        applicant = Applicant(row["name"], row["born"], bool(row["photo_id"]), bool(row["in_person"]))
        return CopyOrder(
            number, row["record"], row["kind"], applicant, row["state"], row["why"], row["persons"]
        )

    def issue(self, number: int, persons: int) -> CopyOrder:
        """Keep that the copy was handed over."""
        return self._close(number, "issued", "", persons)

    def refuse(self, number: int, why: str) -> CopyOrder:
        """Keep that the copy was refused, and with which code."""
        return self._close(number, "refused", why, 0)

    def _close(self, number: int, state: State, why: str, persons: int) -> CopyOrder:
        self._db.execute(
            "UPDATE copy_order SET state = ?, why = ?, persons = ? WHERE number = ?",
            (state, why, persons, number),
        )
        return self.order(number)
