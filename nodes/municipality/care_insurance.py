"""Long-term care insurance (介護保険): who is insured, at which level of care, and which share of the costs they pay.

Rules kept here:
1. Who was certified elsewhere and applies within 14 days of becoming insured here is certified at the same level,
   without an assessment (介護保険法36条). From day 15 on, or where the certification had ended, it takes one (27条).
2. What is carried over is a new certification, with a term of its own (規則38条1項), from the day of moving in, as
   cities do it.
3. The share (負担割合) is another matter: it rests on the income of all insured of the household, and the city of
   1 January is asked for it, which need not be the city that certified (49条の2, 203条).
4. Requests are answered from the copy (副本). Two versions of the data layout live side by side: the first says that
   kinds of service were designated (37条) and has no place for which, so that the person brings the paper.
5. The register's event makes somebody insured (12条5項) and invites; it certifies nobody.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar, Final

from msgspec import UNSET, Struct, UnsetType

from mesh import (
    Caller,
    Event,
    FromCopy,
    ManualReview,
    Node,
    PersonalService,
    Refused,
    instant,
    receives,
    serves,
)
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.names import Zone
from mesh.service import Date, Name
from nodes.data.household import CareLevel
from nodes.data.table import JST
from nodes.municipality.asking import ask_household, ask_income
from nodes.municipality.care_file import SCHEMA, Application, CareFile, Certification, Outcome
from nodes.municipality.care_rules import Means, is_insured, last_day, share_tenths, share_year, valid_until
from nodes.municipality.resident import MOVE_IN, RESIDENCY, Member
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "care-insurance"
CERTIFICATE: Final = "care-certificate"
INCOME_ITEMS: Final = ("pension_yen", "tax_year", "tax_yen", "total_income_yen")


class CertificationReply(FromCopy, frozen=True):
    """What 受給資格証明書 would say, in the first layout."""

    level: CareLevel | UnsetType = UNSET
    valid_from: Date | UnsetType = UNSET
    valid_until: Date | UnsetType = UNSET
    designated: bool | UnsetType = UNSET
    """Whether the person may use certain kinds of service only (サービスの種類の指定)."""


class CertificationReply2(CertificationReply, frozen=True):
    """The same in the second layout, which names the kinds."""

    service_kinds: tuple[Name, ...] | UnsetType = UNSET


class ApplyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application of who was certified elsewhere; what it is about is known to the two cities."""


class Receipt(Struct, frozen=True):
    """That the office has the application, and whether that was in time."""

    number: int
    due_on: Date
    in_time: bool


CERTIFICATION = PersonalService(
    "care.certification.v1",
    Empty,
    CertificationReply,
    title="Certification of needed care",
    title_ja="要介護認定等情報",
)
CERTIFICATION_2 = PersonalService(
    "care.certification.v2",
    Empty,
    CertificationReply2,
    title="Certification of needed care",
    title_ja="要介護認定等情報",
)
APPLY = PersonalService(
    "care.apply.v1",
    ApplyQuery,
    Receipt,
    title="Apply for a certification after moving",
    title_ja="住所移転後の要介護・要支援認定申請",
)


class CareInsurance(Node):
    """The system 介護保険 of one municipality, with the first version of the layout."""

    title: ClassVar[str] = "Long-term care insurance"
    title_ja: ClassVar[str] = "介護保険"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA

    @property
    def file(self) -> CareFile:
        """The office's records."""
        return CareFile(self.db)

    # Who is insured.

    @receives(MOVE_IN)
    async def on_move_in(self, event: Event, caller: Caller, person: str) -> None:
        """Enter everybody of the household who is 65 or over as insured since the day they moved in."""
        insured: list[tuple[str, str, str]] = []
        for member in await ask_household(self, person, PROCEDURE):
            where = await self.ask(
                caller.address, RESIDENCY, Empty(), subject=member.code, procedure=PROCEDURE
            )
            if where.since is UNSET or where.came_from is UNSET:
                continue
            if is_insured(date.fromisoformat(member.born), date.fromisoformat(where.since)):
                insured.append((member.code, where.since, where.came_from or ""))
        with self.effect():
            for code, since, came_from in insured:
                self.file.insure(code, since, came_from)

    def invite(self, code: str) -> None:
        """Write to who moved in: a certification from elsewhere can be carried over until the last day."""
        due = last_day(date.fromisoformat(self.file.insured(code).since))
        letter = Letter(
            "Carry your care certification over after moving",
            "要介護認定の引継ぎの申請をお願いします",
            due.isoformat(),
        )
        self.notify(PORTAL_LETTER, PORTAL, letter, subject=code, procedure=PROCEDURE)

    # Applications.

    @serves(APPLY)
    async def apply(self, query: ApplyQuery, caller: Caller, person: str) -> Receipt:
        """Take an application in; it counts from the day on which it arrives."""
        return self.take_application(person)

    def take_application(self, person: str) -> Receipt:
        """Take an application in; at the counter an official calls this. `NotFound` for who is not insured."""
        due = last_day(date.fromisoformat(self.file.insured(person).since))
        filed_on = self._today()
        with self.effect():
            number = self.file.open(person, filed_on.isoformat())
        return Receipt(number, due.isoformat(), filed_on <= due)

    async def examine(self, number: int) -> Outcome:
        """Find out what the old city certified, and carry it over if the law allows.

        `waiting` while a paper is missing; `assessment` if it takes a new one, for the reason on file.
        """
        application = self.file.application(number)
        insured = self.file.insured(application.person)
        since = date.fromisoformat(insured.since)
        if date.fromisoformat(application.filed_on) > last_day(since):
            return self._conclude(number, "assessment", "late")
        old = self.file.on_paper(number) or await self._ask_old_city(application, insured.came_from)
        if old is None:
            return self.file.application(number).outcome
        if date.fromisoformat(old.valid_until) < since:
            return self._conclude(number, "assessment", "expired")
        with self.effect():
            self.file.certify(
                application.person,
                Certification(old.level, insured.since, valid_until(since).isoformat(), old.service_kinds),
            )
            self.file.conclude(number, "carried-over", insured.came_from)
        return "carried-over"

    def bring_certificate(self, number: int, certification: Certification) -> None:
        """Enter what the 受給資格証明書 says that the person brought."""
        with self.effect():
            self.file.keep_paper(number, certification)

    def assess(self, number: int, level: CareLevel) -> None:
        """Enter what 認定審査会 decided; it holds from the day of the application (27条8項)."""
        application = self.file.application(number)
        if application.outcome != "assessment":
            raise ManualReview("this application takes no assessment")
        begins = application.filed_on
        until = valid_until(date.fromisoformat(begins)).isoformat()
        with self.effect():
            self.file.certify(application.person, Certification(level, begins, until, ()))
            self.file.conclude(number, "assessed", application.why)

    async def _ask_old_city(self, application: Application, came_from: str) -> Certification | None:
        """What the old city certified; None if the application now waits for paper or takes an assessment."""
        where = f"muni/{came_from}/care-insurance"
        try:
            reply = await self._ask_in_either_layout(where, application.person)
        except Refused as refused:
            if refused.code == "not_found":
                self._conclude(application.number, "assessment", "never certified")
            else:
                self._need_paper(application.number, CERTIFICATE, refused)
            return None
        if reply.level is UNSET or reply.valid_from is UNSET or reply.valid_until is UNSET:
            return None
        kinds = reply.service_kinds if isinstance(reply, CertificationReply2) else UNSET
        if reply.designated and kinds is UNSET:
            with self.effect():
                self.file.need_paper(application.number, CERTIFICATE, "not in the layout")
            return None
        return Certification(
            reply.level, reply.valid_from, reply.valid_until, () if kinds is UNSET else kinds
        )

    async def _ask_in_either_layout(self, where: str, person: str) -> CertificationReply:
        """Ask in the second version, and where the city does not have it yet, in the first."""
        try:
            return await self.ask(where, CERTIFICATION_2, Empty(), subject=person, procedure=PROCEDURE)
        except Refused as refused:
            if refused.code != "service_unknown":
                raise
        return await self.ask(where, CERTIFICATION, Empty(), subject=person, procedure=PROCEDURE)

    # The share.

    async def decide_share(self, person: str) -> int | None:
        """Decide how many tenths a person pays until next July; None while somebody's income is not known."""
        year = share_year(self._today())
        members = await ask_household(self, person, PROCEDURE, year)
        means: dict[str, Means] = {}
        for one in members:
            if is_insured(date.fromisoformat(one.born), self._today()):
                known = await self._ask_means(one, year)
                if known is None:
                    return None
                means[one.code] = known
        tenths = share_tenths(means[person], list(means.values())) if person in means else 1
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO share VALUES (?, ?, ?)", (person, year, tenths))
        return tenths

    async def _ask_means(self, member: Member, year: int) -> Means | None:
        reply = await ask_income(self, member, year, INCOME_ITEMS, PROCEDURE)
        if isinstance(reply, Refused):
            return None
        if reply.total_income_yen is UNSET or reply.pension_yen is UNSET or reply.tax_yen is UNSET:
            return None
        return Means(reply.total_income_yen, reply.pension_yen, reply.tax_yen > 0)

    # What it holds and answers.

    def certify(self, code: str, certification: Certification) -> None:
        """Certify somebody: the original (正本)."""
        with self.effect():
            self.file.certify(code, certification)

    def register_replica(self, code: str) -> None:
        """Register the copy (副本) of somebody's certification."""
        with self.effect():
            self.file.copy(code, self.host.now_us())

    @serves(CERTIFICATION)
    async def certification(self, query: Empty, caller: Caller, person: str) -> CertificationReply:
        """The certification of a person, from the copy, as the first layout has it."""
        held, registered_us = self.file.replica(person)
        return CertificationReply(
            held.level,
            held.valid_from,
            held.valid_until,
            bool(held.service_kinds),
            as_of=instant(registered_us),
        )

    # Inside.

    def _today(self) -> date:
        return datetime.fromtimestamp(self.host.now_us() / 1_000_000, tz=JST).date()

    def _conclude(self, number: int, outcome: Outcome, why: str) -> Outcome:
        with self.effect():
            self.file.conclude(number, outcome, why)
        return outcome

    def _need_paper(self, number: int, paper: str, refused: Refused) -> None:
        """Note that the person must bring a paper; an unlawful question is this office's own mistake."""
        if refused.fault is Fault.REQUESTER:
            raise refused
        with self.effect():
            self.file.need_paper(number, paper, refused.code)
