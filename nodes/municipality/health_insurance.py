"""National health insurance (国民健康保険): tells newcomers who had it to enrol, enrols, and reduces the premium by income.

Rules kept here:
1. The head of a household that moves in is told only if somebody in it had this insurance before; employees have
   their employer's (国民健康保険法6条).
2. A resident notifies within 14 days (9条; 施行規則); nobody is enrolled by a move alone. Who moves out is
   struck off by it (8条).
3. The flat part of the premium is reduced by 7, 5 or 2 tenths by the household's income (施行令29条の7), which is asked
   of the city of residence on 1 January (番号法19条8号).
"""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import Annotated, ClassVar, Final

from msgspec import UNSET, Meta, Struct

from mesh import Caller, Event, ManualReview, Node, NotFound, PersonalService, Refused, receives, serves
from mesh.names import Zone
from mesh.service import Date
from nodes.data.calendar import TO_A_CITY, Term, day_of, deadline
from nodes.municipality.asking import ask_household, ask_income, tax_office_of
from nodes.municipality.guidance import GUIDE_SCHEMA, Guidance, who_had
from nodes.municipality.resident import MOVE_IN, MOVED_OUT, Member

PROCEDURE: Final = "health-insurance"
INCOME_PAPER: Final = "income-certificate"


ENROL_TERM: Final = Term(14, "国民健康保険法施行規則2条", moves_by=f"民法142条, {TO_A_CITY}")


class EnrolForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A notice that somebody becomes insured here (資格取得届)."""

    since: Date
    other_insurance: bool
    """Whether the person is insured by an employer or as a dependant."""


class EnrolReply(Struct, frozen=True):
    """The office's number of the notice, and whether it came within 14 days."""

    number: int
    in_time: bool


ENROL = PersonalService(
    "health-insurance.enrol.v1",
    EnrolForm,
    EnrolReply,
    title="Enrol in national health insurance",
    title_ja="国民健康保険の資格取得届",
)


class Reduction(Struct, frozen=True):
    """What was found out about a household: tenths by which the flat part falls; None while a paper is missing."""

    tenths: Annotated[int, Meta(ge=0, le=7)] | None
    papers: tuple[str, ...]
    """Persons whose certificate of income is needed."""


class HealthInsurance(Node):
    """The system 国民健康保険 of one municipality."""

    title: ClassVar[str] = "National health insurance"
    title_ja: ClassVar[str] = "国民健康保険"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = GUIDE_SCHEMA + (
        "CREATE TABLE insured("
        "number INTEGER PRIMARY KEY, person TEXT NOT NULL UNIQUE, since TEXT NOT NULL, until TEXT NOT NULL DEFAULT '');"
        "CREATE TABLE income("
        "person TEXT NOT NULL, tax_year INTEGER NOT NULL, income_yen INTEGER NOT NULL, source TEXT NOT NULL,"
        " PRIMARY KEY (person, tax_year));"
    )

    @property
    def guidance(self) -> Guidance:
        """Whom to tell to enrol."""
        return Guidance(self)

    @receives(MOVE_IN)
    async def on_move_in(self, event: Event, caller: Caller, person: str) -> None:
        """Note the head of a household in which somebody had this insurance in the city before."""
        if await who_had(self, person, "health-insurance", procedure=PROCEDURE):
            with self.effect():
                self.guidance.note(person, event.id)

    @receives(MOVED_OUT)
    async def on_moved_out(self, event: Event, caller: Caller, person: str) -> None:
        """Strike off who moved out."""
        with self.effect():
            self.db.execute(
                "UPDATE insured SET until = ? WHERE person = ? AND until = ''",
                (day_of(self.host.now_us()).isoformat(), person),
            )

    @serves(ENROL)
    async def enrol(self, query: EnrolForm, caller: Caller, person: str) -> EnrolReply:
        """Enrol a resident; who is insured elsewhere cannot be (6条), and an official explains."""
        if query.other_insurance:
            raise ManualReview("the person is insured elsewhere")
        in_time = day_of(self.host.now_us()) <= deadline(date.fromisoformat(query.since), ENROL_TERM)
        with self.effect():
            self.db.execute(
                "INSERT INTO insured(person, since) VALUES (?, ?)"
                " ON CONFLICT (person) DO UPDATE SET since = excluded.since, until = '' WHERE until != ''",
                (person, query.since),
            )
            row = self.db.execute("SELECT number FROM insured WHERE person = ?", (person,)).fetchone()
        return EnrolReply(int(row["number"]), in_time)

    def insured(self, person: str) -> sqlite3.Row:
        """A person's insurance here: number, since, until (empty while it lasts); `NotFound` without one."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM insured WHERE person = ?", (person,)
        ).fetchone()
        if row is None:
            raise NotFound("the person is not insured here")
        return row

    def count(self) -> int:
        """How many are insured here today."""
        return int(self.db.execute("SELECT count(*) FROM insured WHERE until = ''").fetchone()[0])

    async def reduce(self, person: str, tax_year: int) -> Reduction:
        """An official sets the premium: gather the adults' income and find the reduction of the household."""
        members = await ask_household(self, person, PROCEDURE, tax_year)
        adults = [one for one in members if one.relation != "child"]
        missing = [one.code for one in adults if not await self._gather(one, tax_year)]
        if missing:
            return Reduction(None, tuple(missing))
        rows = self.db.execute("SELECT person, income_yen FROM income WHERE tax_year = ?", (tax_year,))
        incomes = {row["person"]: int(row["income_yen"]) for row in rows}
        insured = sum(1 for one in members if self._is_insured(one.code))
        return Reduction(reduction_tenths(sum(incomes[one.code] for one in adults), insured), ())

    def bring_income_paper(self, person: str, tax_year: int, income_yen: int) -> None:
        """Enter what a 課税証明書 says."""
        self._keep(person, tax_year, income_yen, "paper")

    async def _gather(self, adult: Member, tax_year: int) -> bool:
        """Ask the city of 1 January for an adult's income, unless it is known; whether it is now."""
        known = "SELECT 1 FROM income WHERE person = ? AND tax_year = ?"
        if self.db.execute(known, (adult.code, tax_year)).fetchone() is not None:
            return True
        reply = await ask_income(self, adult, tax_year, ("tax_year", "total_income_yen"), PROCEDURE)
        if isinstance(reply, Refused) or reply.total_income_yen is UNSET:
            return False
        self._keep(adult.code, tax_year, reply.total_income_yen, tax_office_of(adult))
        return True

    def _keep(self, person: str, tax_year: int, income_yen: int, source: str) -> None:
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO income VALUES (?, ?, ?, ?)", (person, tax_year, income_yen, source)
            )

    def _is_insured(self, person: str) -> bool:
        row = self.db.execute("SELECT until FROM insured WHERE person = ?", (person,)).fetchone()
        return row is not None and not row["until"]


def reduction_tenths(income_yen: int, insured: int) -> int:
    """Tenths by which the flat part falls, by the thresholds of fiscal 2025 (国民健康保険法施行令29条の7).

    The addition for several earners of salary or pension is left out.
    """
    for tenths, each_yen in ((7, 0), (5, 305_000), (2, 560_000)):
        if income_yen <= 430_000 + each_yen * insured:
            return tenths
    return 0
