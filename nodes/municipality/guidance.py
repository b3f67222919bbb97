"""Whom an office should tell what to do next (手続案内): noted when an event arrives, written to when a person says so.

A note grants nothing and enrols nobody: it leads to a letter, and the resident applies (DOMAIN.md rule 12).
Kept in the office's own table; `note` is called inside the office's `effect()`.
"""

from __future__ import annotations

import sqlite3

from mesh import Node
from mesh.builtin import Empty
from nodes.municipality.asking import ask_household
from nodes.municipality.moves import ENTITLEMENTS, Entitlement
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

GUIDE_SCHEMA = """
CREATE TABLE guide(
  person TEXT NOT NULL, event TEXT NOT NULL, letter TEXT NOT NULL DEFAULT '', PRIMARY KEY (person, event));
"""


class Guidance:
    """The notes of one office."""

    def __init__(self, office: Node) -> None:
        self._office = office

    def note(self, person: str, event: str) -> None:
        """Note that a person is to be told, because of an event."""
        self._office.db.execute("INSERT OR IGNORE INTO guide(person, event) VALUES (?, ?)", (person, event))

    def notes(self) -> list[sqlite3.Row]:
        """All notes, the oldest first: person, event, letter (the message's id, empty before it is sent)."""
        return self._office.db.execute("SELECT * FROM guide ORDER BY rowid").fetchall()

    def write(self, letter: Letter, procedure: str) -> int:
        """An official has looked at the notes: write to whom no letter went yet; how many letters."""
        waiting = [row for row in self.notes() if not row["letter"]]
        for row in waiting:
            with self._office.effect():
                sent = self._office.notify(
                    PORTAL_LETTER, PORTAL, letter, subject=row["person"], procedure=procedure
                )
                self._office.db.execute(
                    "UPDATE guide SET letter = ? WHERE person = ? AND event = ?",
                    (sent, row["person"], row["event"]),
                )
        return len(waiting)


async def who_had(office: Node, person: str, kind: Entitlement, *, procedure: str) -> list[str]:
    """Those of a newcomer's household who had something in the city before, as its register was told."""
    register, told = f"{office.member}/resident", []
    for one in await ask_household(office, person, procedure):
        had = await office.ask(register, ENTITLEMENTS, Empty(), subject=one.code, procedure=procedure)
        if kind in had.entitlements:
            told.append(one.code)
    return told
