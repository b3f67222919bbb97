"""Health management (健康管理): plans what is due for infants, keeps what the vaccination ledger needs to know.

Rules kept here:
1. The event of a birth tells only that a child was born; the birth date is asked of the register, inside the
   same city. A plan reminds; nobody is examined or vaccinated by it.
2. Reasons to wait have their original here; date and lot of a vaccination in the ledger, which is asked to
   correct them (see `paired_record` and `proposals`).
3. A reminder goes out when a named person has decided so, and the ledger itself, not a copy of it, says that
   the child is not vaccinated: better late than to whom it does not concern.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Final, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import Caller, Event, Node, NotFound, PersonalService, Refused, receives, serves
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.names import Zone
from nodes.data.calendar import day_of, months_after
from nodes.municipality.paired_record import (
    HEALTH_CHANGED,
    HEALTH_NOTES,
    VACCINATION,
    VACCINATION_CHANGED,
    VACCINATION_CORRECT,
    VACCINATION_RECORD,
    Card,
    Change,
    PairedRecord,
    fields_of,
    follow,
)
from nodes.municipality.paired_record import (
    SCHEMA as RECORD_SCHEMA,
)
from nodes.municipality.proposals import SCHEMA as PROPOSAL_SCHEMA
from nodes.municipality.proposals import Outcome, Proposals
from nodes.municipality.reminders import ITEM, Reminders, last_day
from nodes.municipality.reminders import SCHEMA as REMINDER_SCHEMA
from nodes.municipality.resident import BIRTH, HOUSEHOLD, HouseholdQuery
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "child-health"


class Appointment(NamedTuple):
    """Something due at an age in months."""

    key: str
    title: str
    title_ja: str
    months: int
    source: str


PLAN = (
    Appointment(
        "vaccination", "first vaccinations", "初回の定期予防接種", 2, "予防接種法5条; age illustrative"
    ),
    Appointment("check-up-4m", "check-up at 3 to 4 months", "3〜4か月児健診", 4, "母子保健法13条"),
    Appointment("check-up-18m", "check-up at 18 months", "1歳6か月児健診", 18, "母子保健法12条1項1号"),
    Appointment("check-up-3y", "check-up at 3 years", "3歳児健診", 36, "母子保健法12条1項2号"),
)


CHECK_UP_GRACE_MONTHS: Final = 3
"""How long after the planned age a check-up is not yet missed; illustrative."""


class CheckUps(Struct, frozen=True):
    """How many of the check-ups due so far (乳幼児健診) a child was not brought to (未受診)."""

    missed: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


CHECK_UPS = PersonalService(
    "health.check-ups.v1", Empty, CheckUps, title="Check-ups missed by a child", title_ja="健診の未受診の状況"
)


class HealthManagement(Node):
    """The system 健康管理 of one municipality."""

    title: ClassVar[str] = "Health management"
    title_ja: ClassVar[str] = "健康管理"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = f"""
    CREATE TABLE plan(
      child TEXT NOT NULL, appointment TEXT NOT NULL, due_on TEXT NOT NULL, event TEXT NOT NULL,
      PRIMARY KEY (child, appointment));
    CREATE TABLE attended(child TEXT NOT NULL, appointment TEXT NOT NULL, PRIMARY KEY (child, appointment));
    {RECORD_SCHEMA} {PROPOSAL_SCHEMA} {REMINDER_SCHEMA}
    """

    @property
    def record(self) -> PairedRecord:
        """Health management's side of the record that it keeps with the vaccination ledger."""
        return PairedRecord(self.db, "health")

    @property
    def proposals(self) -> Proposals:
        """The corrections that it proposed to the ledger."""
        return Proposals(self.db)

    @property
    def reminders(self) -> Reminders:
        """Whom to remind."""
        return Reminders(self.db)

    # Plans.

    @receives(BIRTH)
    async def plan_check_ups(self, event: Event, caller: Caller, person: str) -> None:
        """Plan what is due for a newborn."""
        reply = await self.ask(
            caller.address, HOUSEHOLD, HouseholdQuery(), subject=person, procedure=PROCEDURE
        )
        self.plan(person, next(one.born for one in reply.members if one.code == person), event.id)

    def plan(self, child: str, born: str, source: str) -> None:
        """Plan all that is due for a child; for one that moved in, an official calls this."""
        day = date.fromisoformat(born)
        rows = [(child, one.key, months_after(day, one.months).isoformat(), source) for one in PLAN]
        with self.effect():
            self.db.executemany("INSERT OR IGNORE INTO plan VALUES (?, ?, ?, ?)", rows)

    def attend(self, child: str, appointment: str) -> None:
        """Enter that a child was brought to a check-up."""
        with self.effect():
            self.db.execute("INSERT OR IGNORE INTO attended VALUES (?, ?)", (child, appointment))

    @serves(CHECK_UPS)
    async def check_ups(self, query: Empty, caller: Caller, person: str) -> CheckUps:
        """How many check-ups a child was not brought to, three months after each was due; no findings."""
        if not self.plan_of(person):
            raise NotFound
        last_due = months_after(day_of(self.host.now_us()), -CHECK_UP_GRACE_MONTHS).isoformat()
        row = self.db.execute(
            "SELECT count(*) AS missed FROM plan WHERE child = ? AND appointment LIKE 'check-up%' AND due_on < ?"
            " AND appointment NOT IN (SELECT appointment FROM attended WHERE attended.child = plan.child)",
            (person, last_due),
        ).fetchone()
        return CheckUps(row["missed"])

    def plan_of(self, child: str) -> list[tuple[str, str]]:
        """What is planned for a child: (appointment, due date), the next first."""
        rows = self.db.execute(
            "SELECT appointment, due_on FROM plan WHERE child = ? ORDER BY due_on, appointment", (child,)
        )
        return [(row["appointment"], row["due_on"]) for row in rows]

    # The record kept with the vaccination ledger.

    def note(self, person: str, change: Change) -> int:
        """Enter a reason to wait, and say so to the ledger; returns the new version. Raises `ManualReview`."""
        now_us = self.host.now_us()
        with self.effect():
            version = self.record.enter(person, change, source=self.address, at_us=now_us)
            self.publish(HEALTH_CHANGED, person, data_version=self.record.data_version())
        return version

    def propose(self, person: str, change: Change) -> int:
        """Take up a correction of a field whose original is the ledger's; returns the proposal's number."""
        with self.effect():
            return self.proposals.add(person, change, self.host.now_us())

    async def send_proposals(self) -> None:
        """Send the ledger what waits. A conflict goes on the list for a person; what cannot arrive waits on."""
        for number, person, change in self.proposals.waiting():
            try:
                await self.correct(person, change)
            except Refused as refused:
                if refused.fault is Fault.NETWORK:
                    return
                outcome: Outcome = "conflict"
            else:
                outcome = "made"
            with self.effect():
                self.proposals.close(number, outcome)

    async def correct(self, person: str, change: Change) -> None:
        """Ask the ledger for one correction now. Raises `Refused`: manual_review if its original moved on."""
        await self.ask(self._ledger, VACCINATION_CORRECT, change, subject=person, procedure=VACCINATION)

    def settle_conflict(self, number: int, *, by: str) -> None:
        """A named person has looked at a conflict. Raises `NotFound`."""
        with self.effect():
            self.proposals.settle(number, by=by, at_us=self.host.now_us())

    @serves(HEALTH_NOTES)
    async def notes(self, query: Empty, caller: Caller, person: str) -> Card:
        """Everything of which health management has the original, for the ledger of the same city."""
        return self.record.card(person)

    @receives(VACCINATION_CHANGED)
    async def follow(self, event: Event, caller: Caller, person: str) -> None:
        """Take over what the ledger changed."""
        await follow(self, self.record, VACCINATION_RECORD, event, person)

    # Reminders.

    async def enrol(self, child: str) -> None:
        """Take up a child of this city, with its birth date and parent as the register has them."""
        register = f"{self.member}/resident"
        reply = await self.ask(register, HOUSEHOLD, HouseholdQuery(), subject=child, procedure=PROCEDURE)
        born = next(one.born for one in reply.members if one.code == child)
        with self.effect():
            self.reminders.enrol(child, born, reply.members[0].code)

    def find_due(self) -> list[str]:
        """Put on the list who is due by what is known here; returns the children. It writes to nobody."""
        today = day_of(self.host.now_us())

        def is_open(child: str) -> bool:
            hold = self.record.value(child, ITEM, "hold_until")
            is_given = self.record.value(child, ITEM, "given_on") is not None
            return not is_given and (hold is None or hold < today.isoformat())

        found = self.reminders.due(today, is_open)
        with self.effect():
            for child in found:
                self.reminders.note(child, today)
        return found

    def decide(self, child: str, *, by: str, send: bool, why: str) -> None:
        """A named person decides whether the family is written to."""
        with self.effect():
            self.reminders.decide(child, by=by, send=send, why=why)

    async def remind(self, child: str) -> bool:
        """Write to a child's family, unless the ledger says by now that it is vaccinated; whether it was written.

        Raises `ManualReview` unless a named person decided so, and `Refused` while the ledger cannot be asked.
        """
        self.reminders.approved(child)
        card = await self.ask(self._ledger, VACCINATION_RECORD, Empty(), subject=child, procedure=VACCINATION)
        is_given = any((one.item, one.field) == (ITEM, "given_on") for one in fields_of(card))
        with self.effect():
            row = self.reminders.approved(child)  # A colleague may have sent it, or decided anew, meanwhile.
            if is_given:
                self.reminders.drop(child, "vaccinated meanwhile")
                return False
            self.reminders.mark_sent(child, day_of(self.host.now_us()))
            due = last_day(date.fromisoformat(row["born"])).isoformat()
            letter = Letter(
                "The first measles and rubella vaccination is due",
                "麻しん風しん予防接種（第一期）のご案内",
                due,
            )
            self.notify(PORTAL_LETTER, PORTAL, letter, subject=row["parent"], procedure=VACCINATION)
        return True

    @property
    def _ledger(self) -> str:
        return f"{self.member}/vaccination-ledger"
