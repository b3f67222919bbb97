"""Reminders of a vaccination that is due: found, decided on by a person, sent.

The first dose against measles and rubella (麻しん風しん第1期) is for children from 12 to 24 months of age
(予防接種法施行令3条), both reached on the eve of the birthday; the mayor recommends it (予防接種法8条). Finding decides nothing (DOMAIN.md rule 12): each
child waits for a named person, who may leave the family in peace and says why.

Kept in health management's own tables; every method that writes is called inside its `effect()`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date
from typing import Final

from mesh import ManualReview
from mesh.store import Database
from nodes.data.calendar import reaches

ITEM: Final = "mr-1"
FROM_MONTHS: Final = 12
UNTIL_MONTHS: Final = 24

SCHEMA: Final = """
CREATE TABLE child(code TEXT PRIMARY KEY, born TEXT NOT NULL, parent TEXT NOT NULL);
CREATE TABLE reminder(
  child TEXT PRIMARY KEY REFERENCES child, found_on TEXT NOT NULL, decided_by TEXT, send INTEGER, why TEXT,
  sent_on TEXT, dropped TEXT);
"""


class Reminders:
    """Who is due and what was decided, over health management's database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def enrol(self, child: str, born: str, parent: str) -> None:
        """Take up a child and the parent who is written to."""
        self._db.execute("INSERT OR REPLACE INTO child VALUES (?, ?, ?)", (child, born, parent))

    def due(self, today: date, is_open: Callable[[str], bool]) -> list[str]:
        """The children of the age, not found before, for whom the record leaves it open; in order of code."""
        rows = self._db.execute(
            "SELECT code, born FROM child WHERE code NOT IN (SELECT child FROM reminder) ORDER BY code"
        ).fetchall()
        return [
            row["code"]
            for row in rows
            if is_of_age(date.fromisoformat(row["born"]), today) and is_open(row["code"])
        ]

    def note(self, child: str, today: date) -> None:
        """Put a child on the list of whom to decide on."""
        self._db.execute("INSERT INTO reminder(child, found_on) VALUES (?, ?)", (child, today.isoformat()))

    def undecided(self) -> list[str]:
        """The children for whom nobody has decided yet, in order of finding."""
        rows = self._db.execute("SELECT child FROM reminder WHERE decided_by IS NULL ORDER BY rowid")
        return [row["child"] for row in rows]

    def decide(self, child: str, *, by: str, send: bool, why: str) -> None:
        """Keep what a named person decided about a child on the list."""
        self._db.execute(
            "UPDATE reminder SET decided_by = ?, send = ?, why = ? WHERE child = ?", (by, send, why, child)
        )

    def approved(self, child: str) -> sqlite3.Row:
        """A child's parent and birth, to write to; `ManualReview` unless a named person decided so."""
        row: sqlite3.Row | None = self._db.execute(
            "SELECT child.* FROM reminder JOIN child ON code = child"
            " WHERE child = ? AND send AND sent_on IS NULL AND dropped IS NULL",
            (child,),
        ).fetchone()
        if row is None:
            raise ManualReview("no person decided that this family is written to")
        return row

    def to_send(self) -> list[str]:
        """The children whose letters were decided on and not sent yet."""
        rows = self._db.execute(
            "SELECT child FROM reminder WHERE send AND sent_on IS NULL AND dropped IS NULL ORDER BY rowid"
        )
        return [row["child"] for row in rows]

    def mark_sent(self, child: str, today: date) -> None:
        """Keep that the letter is in the outbox."""
        self._db.execute("UPDATE reminder SET sent_on = ? WHERE child = ?", (today.isoformat(), child))

    def drop(self, child: str, why: str) -> None:
        """Keep that no letter is needed any more."""
        self._db.execute("UPDATE reminder SET dropped = ? WHERE child = ?", (why, child))

    def of(self, child: str) -> sqlite3.Row | None:
        """A child's line on the list: found_on, decided_by, send, why, sent_on, dropped."""
        row: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM reminder WHERE child = ?", (child,)
        ).fetchone()
        return row


def is_of_age(born: date, today: date) -> bool:
    """Whether the first dose is for a child of this birth today."""
    return reaches(born, months=FROM_MONTHS) <= today <= last_day(born)


def last_day(born: date) -> date:
    """The last day on which the first dose is a routine one: the eve of the second birthday."""
    return reaches(born, months=UNTIL_MONTHS)
