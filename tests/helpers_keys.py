"""A desk that asks, publishes and notifies, and an office that answers, hears and reads, while keys change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec import Struct

from mesh import Caller, EventType, LegalBasis, MeshError, Node, NoticeType, PersonalService, receives, serves
from mesh.message import Event
from mesh.names import BROKER
from mesh.service import Word
from mesh.simulation import Simulation
from mesh.testing import ledger
from nodes.agency.reconciliation import Finding, compare, gather

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    slow: bool = False


class Amount(Struct, frozen=True):
    amount: int


class Letter(Struct, frozen=True):
    word: Word


AMOUNT = PersonalService("keys.amount.v1", Query, Amount, title="Amount", title_ja="金額")
MOVED = EventType("keys.moved.v1", title="Moved", title_ja="転入")
LETTER = NoticeType("keys.letter.v1", Letter, title="Letter", title_ja="手紙")


class Office(Node):
    schema = "CREATE TABLE done(what TEXT)"
    fails = False

    def _do(self, what: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO done VALUES (?)", (what,))

    @serves(AMOUNT)
    async def amount(self, query: Query, caller: Caller, person: str) -> Amount:
        if query.slow:
            await asyncio.sleep(3)
        self._do("asked")
        return Amount(3)

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None:
        self._do(f"moved {person[:10]}")

    @receives(LETTER)
    async def letter(self, body: Letter, caller: Caller, person: str) -> None:
        if self.fails:
            raise MeshError("manual_review")
        self._do(body.word)

    def done(self) -> list[str]:
        return [row[0] for row in self.db.execute("SELECT what FROM done")]


class Town:
    """A desk that asks, publishes and notifies, and an office that answers, hears and reads."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        sim.add(Node, DESK)
        sim.add(Office, OFFICE)
        sim.allow(LegalBasis(DESK, "relief", OFFICE, AMOUNT.name, ("amount",)))
        sim.allow(LegalBasis(OFFICE, "relief", DESK, MOVED.name, ()))
        sim.allow(LegalBasis(DESK, "relief", OFFICE, LETTER.name, ("word",)))
        self.handle = sim.resident("12345678901")

    def begin(self) -> None:
        """Have everybody up, so that nobody is made in the middle."""
        for address in (DESK, OFFICE, BROKER):
            self.sim.node(address)

    @property
    def desk(self) -> Node:
        return self.sim.node(DESK)

    @property
    def office(self) -> Office:
        return self.sim.node(OFFICE, Office)

    @property
    def code(self) -> str:
        return self.sim.code("muni/01208", self.handle)

    def ask(
        self, *, slow: bool = False, timeout_s: float = 30, attempts: int | None = None
    ) -> Awaitable[Amount]:
        return self.desk.ask(
            OFFICE,
            AMOUNT,
            Query(slow),
            subject=self.code,
            procedure="relief",
            timeout_s=timeout_s,
            attempts=attempts,
        )

    def push(self) -> list[str]:
        """An event and a notice; returns their ids."""
        event = self.desk.publish(MOVED, self.code)
        return [
            event,
            self.desk.notify(LETTER, OFFICE, Letter("hello"), subject=self.code, procedure="relief"),
        ]

    def found(self) -> list[Finding]:
        """What the commission would find in the ledgers."""
        ledgers = {one: ledger(self.sim, one) for one in (DESK, OFFICE, BROKER)}
        view = self.desk.party.view
        records = gather(ledgers, self.sim.now_us() + 1)
        return [
            one
            for record in records
            for one in compare(record, ledgers, lambda party, at_us: view.lookup(party).lapsed(at_us))
        ]
