"""Benefits for households without inhabitant tax (給付金), paid as 特定公的給付.

Rules kept here:
1. For a benefit that is designated (口座登録法10条) the city finds the households itself. It asks whether somebody
   is taxed, and no amount: its own tax office, or the city of 1 January for who moved in since (番号法19条8号). The
   person's consent is not asked; that designation and network replace it in 地方税法22条 is our reading.
2. Data finds, a person decides: each notice, each payment and each review has an official's name.
3. The payee is the head of the household, and the account is the head's own. An account in another name is not
   used: the household is asked for the copy of a bankbook, and the registry can be told.
4. Nothing is paid before the last day to refuse (贈与の申込みと受諾: who is silent accepts). Who refused is not paid.
5. A household is paid once: one payment, one order number, and the same order again after a crash.
6. A correction of the tax opens a review. It neither pays nor demands anything back, and nothing is ordered before an
   official has settled it.

Not modelled: households of dependants of somebody who is taxed, additions for children, 家計急変世帯. A correction in
another city is not heard of: no row lets its event cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar

from msgspec import UNSET, Struct

from mesh import Caller, Event, ManualReview, Node, PersonalService, Refused, receives, serves
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.names import Zone
from mesh.service import Date
from nodes.agency.account_registry import ACCOUNT_DOUBT, ACCOUNTS, REGISTERED_ACCOUNT, Doubt
from nodes.data.table import JST
from nodes.firm.bank import TRANSFER, Account, Outcome, TransferQuery
from nodes.municipality.benefit_file import SCHEMA, BenefitFile, Household, Programme, Stage
from nodes.municipality.benefit_rules import (
    BANK_PAPER,
    LETTERS,
    PROCEDURE,
    TAX_PAPER,
    is_adult,
    suspicion_of,
)
from nodes.municipality.resident import HEADS, HOUSEHOLD, HeadsQuery, HouseholdQuery, Member
from nodes.municipality.tax import CORRECTION, TAXED, TaxedQuery
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter


class Refusal(Struct, frozen=True):
    """That the household's refusal (受給の辞退) was taken down."""

    refused_on: Date


REFUSE = PersonalService(
    "benefit.refuse.v1", Empty, Refusal, title="Refuse a benefit", title_ja="給付金の受給辞退"
)


class BenefitsOffice(Node):
    """The system 給付金 of one municipality; it pays one programme."""

    title: ClassVar[str] = "Benefits"
    title_ja: ClassVar[str] = "給付金"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA

    @property
    def file(self) -> BenefitFile:
        """The office's households."""
        return BenefitFile(self.db)

    # Who is entitled.

    def open_programme(self, programme: Programme) -> None:
        """Begin to pay a benefit."""
        with self.effect():
            self.file.open(programme)

    async def list_households(self) -> int:
        """List the households that were registered on the reference date; returns how many."""
        programme, after = self.file.programme(), 0
        while True:
            query = HeadsQuery(programme.reference_on, after)
            page = await self.ask(self._office("resident"), HEADS, query, procedure=PROCEDURE)
            with self.effect():
                self.file.enter([(one.code, one.kana) for one in page.heads])
            if page.next is None:
                return len(self.file.households())
            after = page.next

    async def examine(self, number: int) -> Stage:
        """Find out whether a household is entitled, and how it can be paid.

        `unclear` while somebody's tax is not known: the household must bring a paper. Raises `ManualReview` for a
        household that was approved before: what it was told, or refused, stands.
        """
        household = self._check_stage(number, "listed", "unclear", "taxed", "eligible")
        programme = self.file.programme()
        members = await self._members(household, programme)
        adults = [one for one in members if is_adult(date.fromisoformat(one.born), programme.tax_year)]
        for adult in adults:
            await self._ask_taxed(household, adult, programme)
        taxed = self.file.taxed(number)
        stage: Stage = "unclear" if any(one.code not in taxed for one in adults) else "eligible"
        if any(taxed.values()):
            stage = "taxed"
        if stage == "eligible":
            await self._find_account(household)
        with self.effect():
            self.file.move(number, stage)
        return stage

    async def _members(self, household: Household, programme: Programme) -> Sequence[Member]:
        query = HouseholdQuery(programme.tax_year)
        reply = await self.ask(
            self._office("resident"), HOUSEHOLD, query, subject=household.head, procedure=PROCEDURE
        )
        return reply.members

    async def _ask_taxed(self, household: Household, member: Member, programme: Programme) -> None:
        """Ask the city of 1 January whether a member is taxed, unless that is known."""
        if member.code in self.file.taxed(household.number):
            return
        provider = f"muni/{member.january_city}/tax"
        try:
            query = TaxedQuery(programme.tax_year)
            reply = await self.ask(provider, TAXED, query, subject=member.code, procedure=PROCEDURE)
        except Refused as refused:
            self._need_paper(household.number, member.code, TAX_PAPER, refused)
            return
        if reply.taxed is not UNSET:
            with self.effect():
                self.file.keep_taxed(household.number, member.code, reply.taxed, provider)

    async def _find_account(self, household: Household) -> None:
        """Ask for the head's registered account; use it only if it is in the head's own name."""
        try:
            reply = await self.ask(
                ACCOUNTS, REGISTERED_ACCOUNT, Empty(), subject=household.head, procedure=PROCEDURE
            )
        except Refused as refused:
            self._need_paper(household.number, household.head, BANK_PAPER, refused)
            with self.effect():
                self.file.choose_way(household.number, "form", refused.code)
            return
        if (
            reply.bank is UNSET
            or reply.branch is UNSET
            or reply.number is UNSET
            or reply.holder_kana is UNSET
        ):
            return
        account = Account(reply.bank, reply.branch, reply.number, reply.holder_kana)
        suspicion = suspicion_of(account.holder_kana, household.kana)
        with self.effect():
            self.file.choose_way(household.number, "form" if suspicion else "push", suspicion or "")
            self.file.keep_account(household.number, account, "doubtful" if suspicion else "registry")
            if suspicion is not None:
                self.file.need_paper(household.number, household.head, BANK_PAPER, suspicion)

    def report_doubt(self, number: int, official: str) -> None:
        """Tell the registry that a head's registered account is in another name; an official decides it."""
        household, account = self.file.household(number), self.file.account(number, doubtful=True)
        suspicion = None if account is None else suspicion_of(account.holder_kana, household.kana)
        if account is None or suspicion is None:
            raise ManualReview("nothing is doubtful about this household's account")
        doubt = Doubt(suspicion, account.number[-3:])
        with self.effect():
            self.file.decide(number, "doubt reported", official, self.host.now_us())
            self.notify(ACCOUNT_DOUBT, ACCOUNTS, doubt, subject=household.head, procedure=PROCEDURE)

    def take_tax_paper(self, number: int, person: str, *, taxed: bool) -> None:
        """Enter what the 課税証明書 or 非課税証明書 says that the household brought."""
        with self.effect():
            self.file.keep_taxed(number, person, taxed, "paper")

    # Notice, refusal, form.

    def approve(self, number: int, official: str) -> None:
        """An official decides that an eligible household is to be told; `ManualReview` for any other."""
        self._check_stage(number, "eligible")
        with self.effect():
            self.file.decide(number, "approved", official, self.host.now_us())
            self.file.move(number, "approved")

    def send_notice(self, number: int, refuse_by: date) -> None:
        """Write to the head in the portal: what will be paid, and until when it can be refused."""
        household = self._check_stage(number, "approved")
        letter = Letter(*LETTERS[household.way], refuse_by.isoformat())
        with self.effect():
            self.file.notice(number, letter.due)
            self.notify(PORTAL_LETTER, PORTAL, letter, subject=household.head, procedure=PROCEDURE)

    @serves(REFUSE)
    async def refuse(self, query: Empty, caller: Caller, person: str) -> Refusal:
        """Take a refusal down; after the last day an official decides."""
        household = self.file.household_of(person)
        if household.stage != "noticed" or self._today() > household.refuse_by:
            raise ManualReview("the last day to refuse has passed, or nothing was offered")
        with self.effect():
            self.file.move(household.number, "refused")
        return Refusal(self._today())

    def take_form(self, number: int, account: Account) -> None:
        """Enter the returned 確認書 with the copy of a bankbook; `ManualReview` unless it is the head's own."""
        household = self._check_stage(number, "noticed")
        if suspicion_of(account.holder_kana, household.kana) is not None:
            raise ManualReview("the account is not the payee's")
        with self.effect():
            self.file.keep_account(number, account, "bankbook")

    # Payment.

    async def pay(self, number: int, official: str) -> Outcome:
        """Have a household paid, once; asked again, says what became of it.

        Raises `ManualReview` before the last day to refuse has passed, while there is no account or a review is
        open, and `Refused` if the bank did not answer: then the same order goes out with the next call.
        """
        payment = self.file.payment(number)
        if payment is None:
            household = self._check_stage(number, "noticed")
            if self._today() <= household.refuse_by:
                raise ManualReview("the household may still refuse")
            if self.file.account(number) is None:
                raise ManualReview("there is no account in the payee's name")
            if number in [under_review for under_review, _ in self.file.reviews()]:
                raise ManualReview("a correction of the tax waits for an official")
            with self.effect():
                self.file.decide(number, "payment ordered", official, self.host.now_us())
                self.file.order(number, self.file.programme().yen)
        elif payment[2] is not None:
            return payment[2]
        return await self._send_order(number)

    async def _send_order(self, number: int) -> Outcome:
        payment, account = self.file.payment(number), self.file.account(number)
        if payment is None or account is None:
            raise ManualReview("nothing was ordered")
        order = TransferQuery(payment[0], account, payment[1])
        bank = self.file.programme().bank
        reply = await self.ask(bank, TRANSFER, order, procedure=PROCEDURE)
        with self.effect():
            self.file.settle(number, reply.outcome)
        return reply.outcome

    # Corrections.

    @receives(CORRECTION)
    async def on_correction(self, event: Event, caller: Caller, person: str) -> None:
        """Look again at the household of whose tax was corrected, and leave what follows to a person."""
        number = self.file.household_with(person)
        if number is None:
            return
        query = TaxedQuery(self.file.programme().tax_year)
        reply = await self.ask(caller.address, TAXED, query, subject=person, procedure=PROCEDURE)
        if reply.taxed is UNSET or reply.taxed == self.file.taxed(number)[person]:
            return
        with self.effect():
            self.file.keep_taxed(number, person, reply.taxed, caller.address)
            self.file.open_review(event.id, number, reply.taxed)

    def settle_review(self, number: int, what: str, official: str) -> None:
        """An official decides what follows from a correction, such as to demand the money back."""
        with self.effect():
            self.file.settle_review(number, what)
            self.file.decide(number, what, official, self.host.now_us())

    # Inside.

    def _office(self, system: str) -> str:
        return f"{self.member}/{system}"

    def _today(self) -> str:
        return datetime.fromtimestamp(self.host.now_us() / 1_000_000, tz=JST).date().isoformat()

    def _check_stage(self, number: int, *stages: Stage) -> Household:
        household = self.file.household(number)
        if household.stage not in stages:
            raise ManualReview(f"the household is {household.stage}, not {' or '.join(stages)}")
        return household

    def _need_paper(self, number: int, person: str, paper: str, refused: Refused) -> None:
        """Note that the household must bring a paper; an unlawful question is this office's own mistake."""
        if refused.fault is Fault.REQUESTER:
            raise refused
        with self.effect():
            self.file.need_paper(number, person, paper, refused.code)
