"""The electoral roll (選挙人名簿): follows the resident register by itself; nobody applies to be on it.

Rules kept here:
1. The election board hears of the register's entries (住民基本台帳法15条2項: 選挙管理委員会への通知).
2. At the regular registrations, on 1 March, June, September and December, it enters who is 18 and has been in the
   register for three months (公職選挙法21条, 22条). The age is reached on the eve of the birthday.
3. Who moved out is marked (27条), and struck off four months later (28条).
"""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import ClassVar, Final

from mesh import Caller, Event, ManualReview, Node, receives
from mesh.names import Zone
from nodes.data.calendar import day_of, months_after, reaches
from nodes.municipality.asking import ask_household
from nodes.municipality.resident import MOVE_IN, MOVED_OUT

PROCEDURE: Final = "electoral-roll"
VOTING_AGE: Final = 18
RESIDENCE_MONTHS: Final = 3
MARKED_MONTHS: Final = 4
REGISTRATION_MONTHS: Final = (3, 6, 9, 12)


class ElectoralRoll(Node):
    """The system 選挙人名簿管理 of one municipality's election board."""

    title: ClassVar[str] = "Electoral roll"
    title_ja: ClassVar[str] = "選挙人名簿管理"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE voter(
      person TEXT PRIMARY KEY, born TEXT NOT NULL, since TEXT NOT NULL, entered_on TEXT NOT NULL DEFAULT '',
      marked_on TEXT NOT NULL DEFAULT '');
    """

    @receives(MOVE_IN)
    async def on_move_in(self, event: Event, caller: Caller, person: str) -> None:
        """Note who came; the time in the register counts from the day of the 転入届."""
        today = day_of(self.host.now_us())
        members = await ask_household(self, person, PROCEDURE)
        with self.effect():
            self.db.executemany(
                "INSERT OR REPLACE INTO voter(person, born, since) VALUES (?, ?, ?)",
                [(one.code, one.born, today.isoformat()) for one in members],
            )

    @receives(MOVED_OUT)
    async def on_moved_out(self, event: Event, caller: Caller, person: str) -> None:
        """Mark who moved out; whoever was not entered yet is forgotten."""
        with self.effect():
            self.db.execute("DELETE FROM voter WHERE person = ? AND entered_on = ''", (person,))
            self.db.execute(
                "UPDATE voter SET marked_on = ? WHERE person = ? AND marked_on = ''",
                (day_of(self.host.now_us()).isoformat(), person),
            )

    def take_over(self, person: str, born: date, since: date) -> None:
        """Enter who was on the roll before this system: for a city that goes live."""
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO voter VALUES (?, ?, ?, ?, '')",
                (person, born.isoformat(), since.isoformat(), since.isoformat()),
            )

    def register(self) -> list[str]:
        """The regular registration, on its day; whom it entered. Raises `ManualReview` on any other day."""
        today = day_of(self.host.now_us())
        if today.day != 1 or today.month not in REGISTRATION_MONTHS:
            raise ManualReview("regular registrations are on 1 March, June, September and December")
        rows = self.db.execute("SELECT * FROM voter WHERE entered_on = '' ORDER BY rowid").fetchall()
        entered = [row["person"] for row in rows if _qualifies(row, today)]
        with self.effect():
            self.db.executemany(
                "UPDATE voter SET entered_on = ? WHERE person = ?",
                [(today.isoformat(), person) for person in entered],
            )
            self._strike_off(today)
        return entered

    def entry(self, person: str) -> sqlite3.Row | None:
        """What the roll says of a person: since, entered_on, marked_on (empty if not); None if it has no such."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM voter WHERE person = ?", (person,)
        ).fetchone()
        return row

    def _strike_off(self, today: date) -> None:
        marked = self.db.execute("SELECT person, marked_on FROM voter WHERE marked_on != ''").fetchall()
        gone = [
            (row["person"],)
            for row in marked
            if months_after(date.fromisoformat(row["marked_on"]), MARKED_MONTHS) <= today
        ]
        self.db.executemany("DELETE FROM voter WHERE person = ?", gone)


def _qualifies(row: sqlite3.Row, today: date) -> bool:
    of_age = reaches(date.fromisoformat(row["born"]), VOTING_AGE) <= today
    return of_age and months_after(date.fromisoformat(row["since"]), RESIDENCE_MONTHS) <= today
