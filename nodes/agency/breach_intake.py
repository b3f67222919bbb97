"""Where the commission (個人情報保護委員会) takes in reports of breaches (漏えい等報告, 番号法29条の4第1項).

Rules kept here:
1. A breach is reported twice: at first what is known, finally what came of it. The answer says whether it was in time
   and by when the final report is due.
2. A late report is taken in like any other; that it was late is on record.
3. Whoever reported first reports finally: nobody adds to another body's report.
4. A report whose answer was lost comes again: it is one report, of the day on which it came first.
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
    """A report of a breach; `reference` is the reporter's own number of it, the same in both reports."""

    stage: Stage
    known_on: Date
    persons: Annotated[int, Meta(ge=1)]
    wilful: bool
    """Done with wrongful intent (不正の目的)."""
    reference: Annotated[int, Meta(ge=1)]


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

    title: ClassVar[str] = "Reports of breaches"
    title_ja: ClassVar[str] = "漏えい等報告"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = """
    CREATE TABLE breach(
      number INTEGER PRIMARY KEY, reporter TEXT NOT NULL, reference INTEGER NOT NULL, known_on TEXT NOT NULL,
      persons INTEGER NOT NULL, wilful INTEGER NOT NULL, preliminary_on TEXT NOT NULL, final_on TEXT,
      UNIQUE (reporter, reference))
    """

    @serves(BREACH_REPORT)
    async def take(self, query: BreachQuery, caller: Caller) -> BreachReply:
        """Take in a report; `not_found` for a final one without its first, or of another body's."""
        check_named(caller)
        if query.stage == "preliminary":
            return self._take_preliminary(query, caller.address)
        return self._take_final(query, caller.address)

    def _take_preliminary(self, query: BreachQuery, reporter: str) -> BreachReply:
        with self.effect():
            self.db.execute(
                "INSERT OR IGNORE INTO breach(reporter, reference, known_on, persons, wilful, preliminary_on)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (reporter, query.reference, query.known_on, query.persons, query.wilful, self._today()),
            )
        row = self._breach(query, reporter)
        known_on = date.fromisoformat(row["known_on"])
        in_time = date.fromisoformat(row["preliminary_on"]) <= preliminary_due(known_on)
        due = final_due(known_on, wilful=bool(row["wilful"]))
        return BreachReply(row["number"], in_time, due.isoformat())

    def _take_final(self, query: BreachQuery, reporter: str) -> BreachReply:
        number = self._breach(query, reporter)["number"]
        with self.effect():
            self.db.execute(
                "UPDATE breach SET final_on = coalesce(final_on, ?), persons = ?, wilful = ? WHERE number = ?",
                (self._today(), query.persons, query.wilful, number),
            )
        row = self._breach(query, reporter)
        due = final_due(date.fromisoformat(row["known_on"]), wilful=query.wilful)
        return BreachReply(number, date.fromisoformat(row["final_on"]) <= due, due.isoformat())

    def _breach(self, query: BreachQuery, reporter: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM breach WHERE reporter = ? AND reference = ?", (reporter, query.reference)
        ).fetchone()
        if row is None:
            raise NotFound("there is no first report of this breach")
        return row

    def _today(self) -> str:
        return day_of(self.host.now_us()).isoformat()

    def breaches(self) -> list[sqlite3.Row]:
        """Every breach reported: whose (reporter, reference), known_on, persons, wilful, and when reported."""
        return self.db.execute("SELECT * FROM breach ORDER BY number").fetchall()
