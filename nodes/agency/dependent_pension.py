"""The desk of 日本年金機構 for dependent spouses: who becomes 第3号被保険者 (国民年金法7条1項3号).

Rules kept here:
1. That two persons are married is asked of the Minister of Justice (戸籍関係情報) in place of 戸籍謄本: about each
   of the two, and they are married if both answers hold the same symbol.
2. What cannot be asked is brought on paper, and the notice waits for it.
"""

from __future__ import annotations

import sqlite3
from typing import ClassVar, Final, Literal

from msgspec import UNSET

from mesh import Node, NotFound, Refused
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.names import Zone
from nodes.agency.family_register_link import FAMILY_LINK, FAMILY_RELATIONS

DEPENDANTS: Final = "org/nenkin/dependants"
PROCEDURE: Final = "pension-dependant"
Outcome = Literal["accepted", "not-married", "waiting"]


class DependentSpouses(Node):
    """Takes notices of dependent spouses and examines them."""

    title: ClassVar[str] = "Dependent spouses"
    title_ja: ClassVar[str] = "第3号被保険者"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE notice(
      number INTEGER PRIMARY KEY, insured TEXT NOT NULL, spouse TEXT NOT NULL, outcome TEXT NOT NULL,
      why TEXT NOT NULL DEFAULT '');
    """

    def take_notice(self, insured: str, spouse: str) -> int:
        """Take a notice in from the employer (第3号被保険者関係届); both are this body's codes."""
        with self.effect():
            cursor = self.db.execute(
                "INSERT INTO notice(insured, spouse, outcome) VALUES (?, ?, 'waiting')", (insured, spouse)
            )
        return cursor.lastrowid or 0

    async def examine(self, number: int) -> Outcome:
        """Ask about both and decide; `waiting` for 戸籍謄本 if there is no answer about one of them."""
        notice = self.notice(number)
        try:
            marriages = [await self._marriage(notice[who]) for who in ("insured", "spouse")]
        except Refused as refused:
            if refused.fault is Fault.REQUESTER:
                raise
            return self._decide(number, "waiting", refused.code)
        married = marriages[0] is not None and marriages[0] == marriages[1]
        return self._decide(number, "accepted" if married else "not-married")

    def bring_register_copy(self, number: int, *, married: bool) -> Outcome:
        """Enter what the 戸籍謄本 says that the couple brought."""
        return self._decide(number, "accepted" if married else "not-married", "paper")

    def notice(self, number: int) -> sqlite3.Row:
        """A notice: insured, spouse, outcome, why; `NotFound` if there is none."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM notice WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no such notice")
        return row

    async def _marriage(self, person: str) -> str | None:
        reply = await self.ask(
            FAMILY_LINK, FAMILY_RELATIONS, Empty(), subject=person, procedure=PROCEDURE, items=("spouse",)
        )
        return None if reply.spouse is UNSET else reply.spouse

    def _decide(self, number: int, outcome: Outcome, why: str = "") -> Outcome:
        with self.effect():
            self.db.execute("UPDATE notice SET outcome = ?, why = ? WHERE number = ?", (outcome, why, number))
        return outcome
