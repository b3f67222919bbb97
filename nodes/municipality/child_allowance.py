"""Child allowance (児童手当): invites families to claim, takes claims in, gathers what decides them, decides.

Rules kept here:
1. An event never grants (児童手当法7条: the claimant applies): an official writes to the family, once, that it may claim.
2. What the mesh cannot give is asked of the family as paper, and the claim waits for it.
3. The claimant is the parent who earns more (生計を維持する程度の高い者, 児童手当法4条3項).
4. Public servants are paid by their employer (17条), so nothing is asked about them.
5. What is asked about a person under protection stays lawful, and is hidden from the history (番号法23条2項).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import ClassVar, Final

from msgspec import UNSET, Struct

from mesh import Caller, Event, ManualReview, Node, PersonalService, Refused, receives, serves
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.ledger import Row, read_row
from mesh.names import BROKER, Zone
from mesh.service import Date
from nodes.agency.case_check import CASES, CaseKind, CasesQuery, CasesReply
from nodes.agency.code_issuer import check_named
from nodes.agency.pension import ENROLMENT, PENSION
from nodes.data.calendar import day_of
from nodes.municipality.allowance_rules import (
    Rules,
    due_date,
    first_month,
    is_under_three,
    monthly_yen,
    rules_for,
    tax_year,
)
from nodes.municipality.asking import ask_household, ask_income, tax_office_of
from nodes.municipality.claim_file import SCHEMA, Claim, ClaimFile, Decision, Income, NeededPaper, Occasion
from nodes.municipality.resident import BIRTH, MOVE_IN, Member
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "child-allowance"
MARKING: Final = "history-mark"
INCOME_PAPER: Final = "income-certificate"
PENSION_PAPER: Final = "pension-proof"
LETTERS: Final[dict[Occasion, tuple[str, str]]] = {
    "birth": ("Please claim child allowance for your newborn", "児童手当の認定請求をお願いします"),
    "move-in": ("Please claim child allowance", "児童手当の認定請求をお願いします"),
}
"""How a family is invited to claim, by what happened."""


class ClaimQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A claim (認定請求); who claims is its subject, the rest of the family is in the register."""

    occasion: Occasion
    happened_on: Date
    """The birth, or the planned move-out (転出予定日)."""
    public_servant: bool = False


class ClaimReceipt(Struct, frozen=True):
    """That the office has the claim, since when, and whether that was in time."""

    number: int
    filed_on: Date
    due_on: Date
    in_time: bool


CLAIM = PersonalService(
    "child-allowance.claim.v1",
    ClaimQuery,
    ClaimReceipt,
    title="Claim child allowance",
    title_ja="児童手当の認定請求",
)


class ChildAllowanceOffice(Node):
    """The system 児童手当 of one municipality."""

    title: ClassVar[str] = "Child allowance"
    title_ja: ClassVar[str] = "児童手当"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA + (
        "CREATE TABLE invitation("
        "event TEXT PRIMARY KEY, occasion TEXT NOT NULL, parent TEXT NOT NULL, about TEXT NOT NULL, official TEXT);"
    )

    @property
    def file(self) -> ClaimFile:
        """The office's claims."""
        return ClaimFile(self.db)

    # Invitations.

    @receives(BIRTH)
    async def on_birth(self, event: Event, caller: Caller, person: str) -> None:
        """Note that the newborn's family is to be invited to claim."""
        await self._invite(event, person, "birth")

    @receives(MOVE_IN)
    async def on_move_in(self, event: Event, caller: Caller, person: str) -> None:
        """Note that a family with children that moved in is to be invited to claim."""
        await self._invite(event, person, "move-in")

    async def _invite(self, event: Event, person: str, occasion: Occasion) -> None:
        members = await self._ask_household(person, None)
        if not any(one.relation == "child" for one in members):
            return
        with self.effect():
            self.db.execute(
                "INSERT INTO invitation VALUES (?, ?, ?, ?, NULL)",
                (event.id, occasion, members[0].code, person),
            )

    def invitations(self) -> list[sqlite3.Row]:
        """Whom to invite to claim, in order: event, occasion, parent, about (the person of the event), official."""
        return self.db.execute("SELECT * FROM invitation ORDER BY rowid").fetchall()

    def invite(self, event: str, due_on: date, official: str) -> None:
        """An official writes to the parent in the portal until when to claim; `ManualReview` if one did before."""
        with self.effect():
            row = self.db.execute(
                "UPDATE invitation SET official = ? WHERE event = ? AND official IS NULL"
                " RETURNING occasion, parent",
                (official, event),
            ).fetchone()
            if row is None:
                raise ManualReview("nobody is to be invited by this event, or somebody was")
            letter = Letter(*LETTERS[row["occasion"]], due_on.isoformat())
            self.notify(PORTAL_LETTER, PORTAL, letter, subject=row["parent"], procedure=PROCEDURE)

    # What it says under inspection.

    @serves(CASES)
    async def cases(self, query: CasesQuery, caller: Caller) -> CasesReply:
        """Which case each of the office's exchanges was for, as far as its own file has one."""
        check_named(caller)
        return CasesReply(tuple(self._case_of(message) for message in query.messages))

    def _case_of(self, message: str) -> CaseKind:
        person = next((row.subject for row in self._records(message) if row.entry == "opened"), None)
        if person is None:
            return "none"
        if self.file.has_case_of(person):
            return "claim"
        invited = self.db.execute("SELECT 1 FROM invitation WHERE ? IN (parent, about)", (person,)).fetchone()
        return "none" if invited is None else "invitation"

    def _records(self, text: str) -> list[Row]:
        """The office's own records in which a person or a message occurs."""
        return [read_row(row) for row in self.host.store.ledger_rows_with(text)]

    # Claims and papers.

    @serves(CLAIM)
    async def claim(self, query: ClaimQuery, caller: Caller, person: str) -> ClaimReceipt:
        """Take a claim in from the portal; it counts from the day on which it arrives."""
        return self.take_claim(person, query)

    def take_claim(self, claimant: str, query: ClaimQuery) -> ClaimReceipt:
        """Take a claim in; at the counter an official calls this for the family.

        Raises `ManualReview` for a date that is none.
        """
        happened_on = _date_of(query.happened_on)
        filed_on = day_of(self.host.now_us())
        with self.effect():
            number = self.file.open(
                Claim(claimant, query.occasion, happened_on, filed_on, query.public_servant)
            )
        due_on = due_date(happened_on)
        return ClaimReceipt(number, filed_on.isoformat(), due_on.isoformat(), filed_on <= due_on)

    def bring_income_paper(
        self, claim: int, person: str, *, total_income_yen: int, dependants: int = 0
    ) -> None:
        """Enter what the 課税証明書 says that the family brought."""
        with self.effect():
            self.file.keep_income(claim, person, Income(total_income_yen, dependants, "paper"))

    def bring_pension_paper(self, claim: int, person: str, scheme: str) -> None:
        """Enter what the 年金加入証明 says that the family brought."""
        with self.effect():
            self.file.keep_pension(claim, person, scheme, "paper")

    # Examination.

    async def examine(self, claim: int) -> Decision:
        """Gather what is still missing and decide; `waiting` if the family must bring paper first.

        An official calls this. Raises `NotFound` for an unknown claim, `Refused` if a question was unlawful.
        """
        filed = self.file.claim(claim)
        filer = filed.claimant
        if filed.public_servant:
            return self._decide(claim, Decision("employer-pays", filer))
        month = first_month(filed.happened_on, filed.filed_on)
        rules = rules_for(month)
        members = await self._ask_household(filer, tax_year(month))
        parents = [one for one in members if one.relation != "child"]
        born = [date.fromisoformat(one.born) for one in members if one.relation == "child"]
        for parent in parents:
            await self._gather_income(claim, parent, rules, tax_year(month))
        incomes = self.file.incomes(claim)
        if len(incomes) < len(parents):
            return Decision("waiting", filer)
        # Where both earn the same, whoever filed is the claimant.
        earner = max(parents, key=lambda one: (incomes[one.code].total_income_yen, one.code == filer))
        if earner.code != filer:
            return self._decide(claim, Decision("other-parent", earner.code, rules=rules.key))
        if any(is_under_three(one, month) for one in born):
            await self._gather_pension(claim, earner)
            if self.file.pension_scheme(claim, filer) is None:
                return Decision("waiting", filer)
        income = incomes[filer]
        yen = monthly_yen(born, month, income_yen=income.total_income_yen, dependants=income.dependants)
        outcome = Decision("granted" if yen else "over-limit", filer, yen, f"{month:%Y-%m}", rules.key)
        return self._decide(claim, outcome)

    async def _ask_household(self, person: str, january: int | None) -> Sequence[Member]:
        """The household, from the register of this city."""
        members = await ask_household(self, person, PROCEDURE, january)
        await self._hide_last(person, f"{self.member}/resident", any(one.protected for one in members))
        return members

    async def _gather_income(self, claim: int, parent: Member, rules: Rules, year: int) -> None:
        """Ask the city of 1 January for a parent's income, unless it is known."""
        if parent.code in self.file.incomes(claim):
            return
        provider = tax_office_of(parent)
        reply = await ask_income(self, parent, year, rules.income_items, PROCEDURE)
        if isinstance(reply, Refused):
            self._need_paper(claim, parent.code, INCOME_PAPER, reply)
        elif reply.total_income_yen is not UNSET:
            dependants = 0 if reply.dependants is UNSET else reply.dependants
            with self.effect():
                income = Income(reply.total_income_yen, dependants, provider, reply.as_of)
                self.file.keep_income(claim, parent.code, income)
        await self._hide_last(parent.code, provider, parent.protected)

    async def _gather_pension(self, claim: int, parent: Member) -> None:
        """Ask for the claimant's pension scheme, unless it is known: who pays for under-threes depends on it."""
        if self.file.pension_scheme(claim, parent.code) is not None:
            return
        try:
            reply = await self.ask(
                PENSION,
                ENROLMENT,
                Empty(),
                subject=parent.code,
                procedure=PROCEDURE,
                items=("employer_kind", "scheme"),
            )
        except Refused as refused:
            self._need_paper(claim, parent.code, PENSION_PAPER, refused)
        else:
            if reply.scheme is not UNSET:
                with self.effect():
                    self.file.keep_pension(claim, parent.code, reply.scheme, PENSION)
        await self._hide_last(parent.code, PENSION, parent.protected)

    async def _hide_last(self, person: str, provider: str, protected: bool) -> None:
        """Hide the last exchange about a person, in all three records, if they are under protection."""
        if not protected:
            return
        opened = [row for row in self._records(person) if row.entry == "opened" and row.provider == provider]
        await self.hide(opened[-1].id, (BROKER, provider), procedure=MARKING)

    def _need_paper(self, claim: int, person: str, paper: str, refused: Refused) -> None:
        """Note that the family must bring a paper; an unlawful question is this office's own mistake."""
        if refused.fault is Fault.REQUESTER:
            raise refused
        with self.effect():
            self.file.need_paper(claim, NeededPaper(person, paper, refused.code))

    def _decide(self, claim: int, decision: Decision) -> Decision:
        with self.effect():
            self.file.decide(claim, decision)
        return decision


def _date_of(text: str) -> date:
    """The date; its pattern was checked already, its day was not."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ManualReview("the claim names a day that the calendar does not have") from None
