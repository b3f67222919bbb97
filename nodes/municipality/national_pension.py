"""National pension (国民年金) at the city: takes notices of insured persons in and reports them to the pension body.

Rules kept here:
1. Only who is insured on their own account (第1号被保険者, 20 to 59) notifies the city; others go through the employer
   (国民年金法7条, 12条). A new address alone they notify where their 個人番号 is not linked with the 基礎年金番号; else,
   since 5 March 2018, 日本年金機構 hears of it from 住民基本台帳ネットワーク.
2. The city decides nothing: it takes in and reports to 日本年金機構 (12条4項), each notice once.
3. A newcomer is told only if they were such before.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import ClassVar, Final

from msgspec import Struct

from mesh import Caller, Event, ManualReview, Node, PersonalService, receives, serves
from mesh.names import Zone
from mesh.service import Date
from nodes.agency.pension import PENSION, PENSION_REPORT, PensionReport, ReportKind
from nodes.data.calendar import age_on, day_of
from nodes.municipality.asking import ask_household
from nodes.municipality.guidance import GUIDE_SCHEMA, Guidance, who_had
from nodes.municipality.resident import MOVE_IN

PROCEDURE: Final = "national-pension"
AGES: Final = range(20, 60)
"""From the eve of the 20th birthday to that of the 60th (国民年金法8条1号, 9条3号; 年齢計算ニ関スル法律)."""


class PensionForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A notice to the national pension."""

    kind: ReportKind
    since: Date


class PensionReceipt(Struct, frozen=True):
    """The office's number of the notice."""

    number: int


NOTIFY_PENSION = PersonalService(
    "national-pension.notify.v1",
    PensionForm,
    PensionReceipt,
    title="Notify the national pension",
    title_ja="国民年金の届出",
)


class NationalPension(Node):
    """The system 国民年金 of one municipality."""

    title: ClassVar[str] = "National pension"
    title_ja: ClassVar[str] = "国民年金"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = GUIDE_SCHEMA + (
        "CREATE TABLE filing("
        "number INTEGER PRIMARY KEY, person TEXT NOT NULL, kind TEXT NOT NULL, since TEXT NOT NULL,"
        " UNIQUE (person, kind, since));"
    )

    @property
    def guidance(self) -> Guidance:
        """Whom to tell to notify."""
        return Guidance(self)

    @receives(MOVE_IN)
    async def on_move_in(self, event: Event, caller: Caller, person: str) -> None:
        """Note those of the household who were insured on their own account before."""
        told = await who_had(self, person, "national-pension", procedure=PROCEDURE)
        with self.effect():
            for code in told:
                self.guidance.note(code, event.id)

    @serves(NOTIFY_PENSION)
    async def take(self, query: PensionForm, caller: Caller, person: str) -> PensionReceipt:
        """Take a notice in and report it; who is not of the age goes to an official."""
        members = await ask_household(self, person, PROCEDURE)
        born = next(date.fromisoformat(one.born) for one in members if one.code == person)
        if age_on(born, day_of(self.host.now_us())) not in AGES:
            raise ManualReview("only who is 20 to 59 is insured here on their own account")
        key = (person, query.kind, query.since)
        with self.effect():
            is_new = self.db.execute(
                "INSERT OR IGNORE INTO filing(person, kind, since) VALUES (?, ?, ?)", key
            ).rowcount
            number = self.db.execute(
                "SELECT number FROM filing WHERE person = ? AND kind = ? AND since = ?", key
            ).fetchone()["number"]
            if is_new:
                report = PensionReport(query.kind, query.since)
                self.notify(PENSION_REPORT, PENSION, report, subject=person, procedure=PROCEDURE)
        return PensionReceipt(int(number))

    def filings(self, person: str) -> list[sqlite3.Row]:
        """A person's notices: number, kind, since."""
        return self.db.execute("SELECT * FROM filing WHERE person = ? ORDER BY number", (person,)).fetchall()
