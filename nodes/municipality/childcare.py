"""Support for children and child-rearing (子ども・子育て支援): certifies the need for childcare, sets the fee, gives places.

Rules kept here:
1. A parent applies (子ども・子育て支援法20条); what cannot be had over the mesh is asked for as paper.
2. The need is shown by each parent's certificate of employment (就労証明書, 施行規則): employers are not on the
   mesh, so it stays an attachment.
3. The fee goes by both parents' inhabitant tax: from April to August that of the year before, then that of the year.
   Each is asked of the city of residence on 1 January of the tax year (番号法19条8号).
4. A place is given by an official (児童福祉法24条3項: 利用調整), never by the arrival of an application.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct

from mesh import Caller, ManualReview, Node, NotFound, PersonalService, Refused, serves
from mesh.names import Zone
from mesh.service import Date, Month, Name, check_entry
from nodes.municipality.application_progress import PROGRESS, Progress
from nodes.municipality.asking import ask_household, ask_income, child_meant, tax_office_of
from nodes.municipality.childcare_fee import fee_tax_year, fee_yen
from nodes.municipality.resident import Member
from nodes.portal.application import Receipt

PROCEDURE: Final = "childcare"
TAX_PAPER: Final = "income-certificate"
EMPLOYMENT_PAPER: Final = "employment-certificate"
HOURS_MIN: Final = 64
"""Hours of work a month from which there is need; a city sets 48 to 64 (施行規則1条の5), illustrative."""
STANDARD_HOURS_MIN: Final = 120
"""Hours a month from which care is certified for standard hours (保育標準時間)."""

Outcome = Literal["certified", "no-need", "paper-needed"]


class Employment(Struct, frozen=True, forbid_unknown_fields=True):
    """What a certificate of employment (就労証明書) says; the parent attaches it."""

    born: Date
    """The employed parent's birth date, by which the office tells father from mother."""
    employer: Name
    hours_a_month: Annotated[int, Meta(ge=0, le=744)]


class ChildcareForm(Struct, frozen=True, forbid_unknown_fields=True):
    """An application for certification and a place (認定・利用申込)."""

    receipt: Receipt
    child_born: Date
    from_month: Month
    nursery: Name
    employment: tuple[Employment, ...]
    child_name: Name | None = None
    """Needed where several children of the household have one birth date."""


class ChildcareReceipt(Struct, frozen=True):
    """The office's number of the application."""

    number: int


APPLY = PersonalService(
    "childcare.apply.v1",
    ChildcareForm,
    ChildcareReceipt,
    title="Apply for childcare",
    title_ja="保育の認定・利用申込み",
)


class ChildcareOffice(Node):
    """The system 子ども・子育て支援 of one municipality."""

    title: ClassVar[str] = "Support for children and child-rearing"
    title_ja: ClassVar[str] = "子ども・子育て支援"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE application(
      number INTEGER PRIMARY KEY, receipt TEXT NOT NULL UNIQUE, applicant TEXT NOT NULL,
      child_born TEXT NOT NULL, child_name TEXT, from_month TEXT NOT NULL, nursery TEXT NOT NULL);
    CREATE TABLE employment(
      application INTEGER NOT NULL REFERENCES application, born TEXT NOT NULL, employer TEXT NOT NULL,
      hours INTEGER NOT NULL);
    CREATE TABLE tax(
      application INTEGER NOT NULL REFERENCES application, person TEXT NOT NULL, tax_yen INTEGER NOT NULL,
      source TEXT NOT NULL, PRIMARY KEY (application, person));
    CREATE TABLE paper(
      application INTEGER NOT NULL REFERENCES application, person TEXT NOT NULL, paper TEXT NOT NULL,
      why TEXT NOT NULL, PRIMARY KEY (application, person, paper));
    CREATE TABLE certification(
      application INTEGER PRIMARY KEY REFERENCES application, child TEXT NOT NULL, hours TEXT NOT NULL,
      fee_yen INTEGER NOT NULL);
    CREATE TABLE nursery(name TEXT PRIMARY KEY, places INTEGER NOT NULL);
    CREATE TABLE placement(application INTEGER PRIMARY KEY REFERENCES application, nursery TEXT NOT NULL);
    """

    # Applications.

    @serves(APPLY)
    async def apply(self, query: ChildcareForm, caller: Caller, person: str) -> ChildcareReceipt:
        """Take an application in; one receipt number is one application."""
        with self.effect():
            self.db.execute(
                "INSERT OR IGNORE INTO application(receipt, applicant, child_born, child_name, from_month, nursery)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (query.receipt, person, query.child_born, query.child_name, query.from_month, query.nursery),
            )
            number = int(
                self.db.execute(
                    "SELECT number FROM application WHERE receipt = ?", (query.receipt,)
                ).fetchone()["number"]
            )
            known = self.db.execute("SELECT 1 FROM employment WHERE application = ?", (number,)).fetchone()
            if known is None:
                self.db.executemany(
                    "INSERT INTO employment VALUES (?, ?, ?, ?)",
                    [(number, one.born, one.employer, one.hours_a_month) for one in query.employment],
                )
        return ChildcareReceipt(number)

    def applications(self) -> list[sqlite3.Row]:
        """All applications, the oldest first."""
        return self.db.execute("SELECT * FROM application ORDER BY number").fetchall()

    def papers(self, number: int) -> list[sqlite3.Row]:
        """The papers that the family was asked for: person, paper, why."""
        return self.db.execute(
            "SELECT * FROM paper WHERE application = ? ORDER BY rowid", (number,)
        ).fetchall()

    def certification(self, number: int) -> sqlite3.Row | None:
        """What was certified: child, hours (`standard` or `short`), fee_yen; None while nothing is."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM certification WHERE application = ?", (number,)
        ).fetchone()
        return row

    # Examination, by an official.

    async def examine(self, number: int) -> Outcome:
        """Gather what is missing and certify the need; raises `Refused` if a question was unlawful."""
        row = self._application(number)
        from_month = date.fromisoformat(f"{row['from_month']}-01")
        year = fee_tax_year(from_month)
        members = await ask_household(self, row["applicant"], PROCEDURE, year)
        child = await child_meant(self, members, row["child_born"], row["child_name"], PROCEDURE)
        parents = [one for one in members if one.relation != "child"]
        hours = self._hours(number, parents)
        for parent in parents:
            await self._gather_tax(number, parent, year)
        taxes = self._taxes(number)
        if self._note_missing_employment(number, parents, hours) or len(taxes) < len(parents):
            return "paper-needed"
        if min(hours.values()) < HOURS_MIN:
            self._report(number, "completed")
            return "no-need"
        kind = "standard" if min(hours.values()) >= STANDARD_HOURS_MIN else "short"
        fee = fee_yen(date.fromisoformat(child.born), from_month, sum(taxes.values()))
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO certification VALUES (?, ?, ?, ?)", (number, child.code, kind, fee)
            )
            self._report(number, "in-review")
        return "certified"

    def bring_tax_paper(self, number: int, person: str, tax_yen: int) -> None:
        """Enter what the 課税証明書 says that the family brought."""
        self._keep_tax(number, person, tax_yen, "paper")

    def open_nursery(self, name: str, places: int) -> None:
        """Say how many places a nursery can still give. `UsageError` for a name that no application could give."""
        check_entry("the nursery's name", name, Name)
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO nursery VALUES (?, ?)", (name, places))

    def place(self, number: int) -> bool:
        """Give the child a place at the nursery asked for, once, if one is left; an official decides so.

        Raises `ManualReview` before the need is certified.
        """
        row = self._application(number)
        if self.certification(number) is None:
            raise ManualReview("the need for childcare is not certified")
        if self.db.execute("SELECT 1 FROM placement WHERE application = ?", (number,)).fetchone() is not None:
            return True
        with self.effect():
            left = self.db.execute(
                "UPDATE nursery SET places = places - 1 WHERE name = ? AND places > 0", (row["nursery"],)
            ).rowcount
            if left:
                self.db.execute("INSERT INTO placement VALUES (?, ?)", (number, row["nursery"]))
                self._report(number, "completed")
        return bool(left)

    def _application(self, number: int) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM application WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no such application")
        return row

    async def _gather_tax(self, number: int, parent: Member, year: int) -> None:
        """Ask the city of 1 January for a parent's inhabitant tax, unless it is known."""
        if parent.code in self._taxes(number):
            return
        reply = await ask_income(self, parent, year, ("tax_year", "tax_yen"), PROCEDURE)
        if isinstance(reply, Refused):
            self._need_paper(number, parent.code, TAX_PAPER, reply.code)
        elif reply.tax_yen is not UNSET:
            self._keep_tax(number, parent.code, reply.tax_yen, tax_office_of(parent))

    def _hours(self, number: int, parents: Sequence[Member]) -> dict[str, int]:
        """The hours that each parent works, by person; parents without a certificate are left out."""
        if len({one.born for one in parents}) < len(parents):
            raise ManualReview(
                "both parents have one birth date: an official tells whose certificate is whose"
            )
        rows = self.db.execute("SELECT born, hours FROM employment WHERE application = ?", (number,))
        attached = {row["born"]: int(row["hours"]) for row in rows}
        return {one.code: attached[one.born] for one in parents if one.born in attached}

    def _note_missing_employment(self, number: int, parents: Sequence[Member], hours: dict[str, int]) -> bool:
        missing = [one for one in parents if one.code not in hours]
        for parent in missing:
            self._need_paper(number, parent.code, EMPLOYMENT_PAPER, "not attached")
        return bool(missing)

    def _taxes(self, number: int) -> dict[str, int]:
        rows = self.db.execute("SELECT person, tax_yen FROM tax WHERE application = ?", (number,))
        return {row["person"]: int(row["tax_yen"]) for row in rows}

    def _keep_tax(self, number: int, person: str, tax_yen: int, source: str) -> None:
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO tax VALUES (?, ?, ?, ?)", (number, person, tax_yen, source)
            )

    def _need_paper(self, number: int, person: str, paper: str, why: str) -> None:
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO paper VALUES (?, ?, ?, ?)", (number, person, paper, why))

    def _report(self, number: int, state: Literal["in-review", "completed"]) -> None:
        """Tell 申請管理 where the application stands; the resident looks there."""
        row = self._application(number)
        self.notify(
            PROGRESS,
            f"{self.member}/application-management",
            Progress(row["receipt"], state),
            subject=row["applicant"],
            procedure=PROCEDURE,
        )
