"""The city's privacy desk (個人情報保護担当): hears the commission's guidance, reports breaches, tells whom they concern.

Rules kept here:
1. Guidance (指導・助言, 番号法33条) is taken in and looked into; it binds no exchange.
2. A breach is reported to the commission, at first within about three to five days and finally within 30 days, or 60
   where it was done with wrongful intent (番号法29条の4第1項).
3. Whom it concerns is told once (同条2項): that it happened, and no value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import ClassVar, Final

from mesh import Caller, Node, NotFound, serves
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.agency.breach_intake import BREACH_INTAKE, BREACH_REPORT, BreachQuery, BreachReply, Stage
from nodes.agency.breach_rules import final_due
from nodes.agency.code_issuer import check_named
from nodes.agency.commission import GUIDANCE, GuidanceQuery
from nodes.data.calendar import day_of
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "breach-report"


class PrivacyDesk(Node):
    """The privacy desk of one municipality."""

    title: ClassVar[str] = "Privacy desk"
    title_ja: ClassVar[str] = "個人情報保護担当"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE guidance(
      number INTEGER PRIMARY KEY, party TEXT NOT NULL, text TEXT NOT NULL, text_ja TEXT NOT NULL,
      received_us INTEGER NOT NULL);
    CREATE TABLE concerned(
      guidance INTEGER NOT NULL REFERENCES guidance, message TEXT NOT NULL, PRIMARY KEY (guidance, message));
    CREATE TABLE breach(
      number INTEGER PRIMARY KEY, known_on TEXT NOT NULL, wilful INTEGER NOT NULL, reported INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE affected(
      breach INTEGER NOT NULL REFERENCES breach, person TEXT NOT NULL, letter TEXT NOT NULL DEFAULT '',
      PRIMARY KEY (breach, person));
    """

    @serves(GUIDANCE)
    async def take_guidance(self, query: GuidanceQuery, caller: Caller) -> Empty:
        """Take guidance in."""
        check_named(caller)
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO guidance VALUES (?, ?, ?, ?, ?)",
                (query.number, query.party, query.text, query.text_ja, self.host.now_us()),
            )
            self.db.executemany(
                "INSERT OR IGNORE INTO concerned VALUES (?, ?)",
                [(query.number, one) for one in query.messages],
            )
        return Empty()

    def guidance(self) -> list[sqlite3.Row]:
        """All guidance, the oldest first: number, party, text, text_ja, received_us."""
        return self.db.execute("SELECT * FROM guidance ORDER BY number").fetchall()

    def concerned(self, guidance: int) -> list[str]:
        """The exchanges that guidance is about, by their message ids."""
        rows = self.db.execute("SELECT message FROM concerned WHERE guidance = ? ORDER BY rowid", (guidance,))
        return [row["message"] for row in rows]

    def note_breach(self, people: Sequence[str], *, wilful: bool) -> int:
        """Note that a breach became known today, and whom it concerns; returns its number here."""
        with self.effect():
            number = self.db.execute(
                "INSERT INTO breach(known_on, wilful) VALUES (?, ?) RETURNING number",
                (day_of(self.host.now_us()).isoformat(), wilful),
            ).fetchone()["number"]
            self.db.executemany(
                "INSERT OR IGNORE INTO affected(breach, person) VALUES (?, ?)",
                [(number, one) for one in people],
            )
        return int(number)

    async def report(self, breach: int) -> BreachReply:
        """Report a breach to the commission: the first time the first report, then the final one."""
        row = self._breach(breach)
        stage: Stage = "final" if row["reported"] else "preliminary"
        persons = len(self._affected(breach))
        query = BreachQuery(stage, row["known_on"], persons, bool(row["wilful"]), breach)
        answer = await self.ask(BREACH_INTAKE, BREACH_REPORT, query, procedure=PROCEDURE)
        with self.effect():
            self.db.execute("UPDATE breach SET reported = ? WHERE number = ?", (answer.number, breach))
        return answer

    def tell_people(self, breach: int) -> list[str]:
        """Write to whom a breach concerns and who has no letter yet; returns the letters' message ids."""
        row = self._breach(breach)
        due = final_due(date.fromisoformat(row["known_on"]), wilful=bool(row["wilful"]))
        letter = Letter(
            "Your data was asked for without a reason",
            "あなたの情報が不適切に照会されました",
            due.isoformat(),
        )
        sent: list[str] = []
        with self.effect():
            for person in self._affected(breach, "letter = ''"):
                sent.append(self.notify(PORTAL_LETTER, PORTAL, letter, subject=person, procedure=PROCEDURE))
                self.db.execute(
                    "UPDATE affected SET letter = ? WHERE breach = ? AND person = ?",
                    (sent[-1], breach, person),
                )
        return sent

    def _breach(self, number: int) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM breach WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise NotFound("no such breach is noted")
        return row

    def _affected(self, breach: int, condition: str = "1") -> list[str]:
        sql = f"SELECT person FROM affected WHERE breach = ? AND {condition} ORDER BY person"  # noqa: S608
        return [row["person"] for row in self.db.execute(sql, (breach,))]
