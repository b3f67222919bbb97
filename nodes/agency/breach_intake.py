"""Where the commission (個人情報保護委員会) takes in reports of breaches (漏えい等報告, 番号法29条の4第1項).

Rules kept here:
1. A breach is reported twice: at first what is known, finally what came of it. The answer says whether it was in time
   and by when the final report is due.
2. A late report is taken in like any other; that it was late is on record.
3. Whoever reported first reports finally: nobody adds to another body's report.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from mesh import Caller, Node, NotFound, Service, serves
from mesh.names import Zone
from mesh.service import Date
from nodes.agency.breach_rules import final_due, preliminary_due
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import day_of

BREACH_INTAKE: Final = "gov/ppc/breach-intake"

Stage = Literal["preliminary", "final"]


class BreachQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A report of a breach; the final one names the number that the first was given."""

    stage: Stage
    known_on: Date
    persons: Annotated[int, Meta(ge=1)]
    wilful: bool
    """Done with wrongful intent (不正の目的)."""
    number: int = 0


class BreachReply(Struct, frozen=True):
    """That the report was taken in, whether in time, and by when the final one is due."""

    number: int
    in_time: bool
    final_due: Date


BREACH_REPORT = Service(
    "oversight.breach.v1", BreachQuery, BreachReply, title="Report of a breach", title_ja="漏えい等報告"
)


class BreachIntake(Node):
    """Keeps what was reported, by whom and when."""

    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = """
    CREATE TABLE breach(
      number INTEGER PRIMARY KEY, reporter TEXT NOT NULL, known_on TEXT NOT NULL, persons INTEGER NOT NULL,
      wilful INTEGER NOT NULL, preliminary_on TEXT NOT NULL, final_on TEXT)
    """

    @serves(BREACH_REPORT)
    async def take(self, query: BreachQuery, caller: Caller) -> BreachReply:
        """Take in a report; `not_found` for a final one without its first, or of another body's."""
        check_named(caller)
        if query.stage == "preliminary":
            return self._take_preliminary(query, caller.address)
        return self._take_final(query, caller.address)

    def _take_preliminary(self, query: BreachQuery, reporter: str) -> BreachReply:
        known_on, today = date.fromisoformat(query.known_on), day_of(self.host.now_us())
        with self.effect():
            number = self.db.execute(
                "INSERT INTO breach(reporter, known_on, persons, wilful, preliminary_on) VALUES (?, ?, ?, ?, ?)"
                " RETURNING number",
                (reporter, query.known_on, query.persons, query.wilful, today.isoformat()),
            ).fetchone()["number"]
        due = final_due(known_on, wilful=query.wilful)
        return BreachReply(number, today <= preliminary_due(known_on), due.isoformat())

    def _take_final(self, query: BreachQuery, reporter: str) -> BreachReply:
        row = self.db.execute(
            "SELECT known_on FROM breach WHERE number = ? AND reporter = ?", (query.number, reporter)
        ).fetchone()
        if row is None:
            raise NotFound("there is no first report of this number")
        today = day_of(self.host.now_us())
        due = final_due(date.fromisoformat(row["known_on"]), wilful=query.wilful)
        with self.effect():
            self.db.execute(
                "UPDATE breach SET final_on = ?, persons = ?, wilful = ? WHERE number = ?",
                (today.isoformat(), query.persons, query.wilful, query.number),
            )
        return BreachReply(query.number, today <= due, due.isoformat())

    def breaches(self) -> list[sqlite3.Row]:
        """Every breach reported: number, reporter, known_on, persons, wilful, preliminary_on, final_on."""
        return self.db.execute("SELECT * FROM breach ORDER BY number").fetchall()
