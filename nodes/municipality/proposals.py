"""Corrections that an application proposes to the one that has the original, and what became of each.

A proposal waits while the other is away. Where the original moved on meanwhile it becomes a conflict: the
original stands, and the conflict stays on a list until a named person has settled it.

Kept in the application's own tables; every method that writes is called inside its `effect()`.
"""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from mesh import NotFound
from mesh.service import check_entry
from mesh.store import Database
from nodes.municipality.paired_record import Change

Outcome = Literal["waiting", "made", "conflict", "settled"]

SCHEMA: Final = """
CREATE TABLE proposal(
  number INTEGER PRIMARY KEY, person TEXT NOT NULL, item TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL,
  based_on INTEGER NOT NULL, clerk TEXT NOT NULL, at_us INTEGER NOT NULL, outcome TEXT NOT NULL DEFAULT 'waiting',
  settled_by TEXT, settled_us INTEGER);
"""


class Proposals:
    """The proposals of one application, over its database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, person: str, change: Change, at_us: int) -> int:
        """Keep a proposal to be sent; returns its number. `UsageError` for what could not be sent."""
        check_entry("the change", change, Change)
        values = (person, change.item, change.field, change.value, change.based_on, change.clerk, at_us)
        row = self._db.execute(
            "INSERT INTO proposal(person, item, field, value, based_on, clerk, at_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number",
            values,
        ).fetchone()
        return int(row["number"])

    def waiting(self) -> list[tuple[int, str, Change]]:
        """What is still to be sent, the oldest first: number, person, change."""
        rows = self.of("waiting")
        return [
            (
                row["number"],
                row["person"],
                Change(row["item"], row["field"], row["value"], row["based_on"], row["clerk"]),
            )
            for row in rows
        ]

    def of(self, outcome: Outcome) -> list[sqlite3.Row]:
        """The proposals with an outcome, the oldest first."""
        return self._db.execute(
            "SELECT * FROM proposal WHERE outcome = ? ORDER BY number", (outcome,)
        ).fetchall()

    def close(self, number: int, outcome: Outcome) -> None:
        """Keep what became of a proposal."""
        self._db.execute("UPDATE proposal SET outcome = ? WHERE number = ?", (outcome, number))

    def settle(self, number: int, *, by: str, at_us: int) -> None:
        """A person has looked at a conflict; `NotFound` if there is none of this number."""
        changed = self._db.execute(
            "UPDATE proposal SET outcome = 'settled', settled_by = ?, settled_us = ?"
            " WHERE number = ? AND outcome = 'conflict'",
            (by, at_us, number),
        ).rowcount
        if not changed:
            raise NotFound("there is no such conflict")
