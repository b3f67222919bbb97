"""Keys change while questions, answers and pushes are under way: nothing acknowledged is lost, nothing dishonest passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from msgspec import Struct

from mesh import (
    Caller,
    EventType,
    LegalBasis,
    MeshError,
    Node,
    NoticeType,
    PersonalService,
    Refused,
    receives,
    serves,
)
from mesh.message import Event, Request
from mesh.names import BROKER
from mesh.sealing import key_of
from mesh.service import Word
from mesh.simulation import STARTS, Simulation
from mesh.testing import messages, simulation
from mesh.trace.opener import opener_of
from mesh.trace.people import PersonFilter
from mesh.trace.perspective import perspective
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from tests.helpers_scenario import one_key_for_two

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"
EACH = pytest.mark.parametrize("revoked", [False, True], ids=["ordinary", "revoked"])


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


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """Its trace verifies."""
    path = tmp_path / "keys.trace"
    with simulation(trace=TraceWriter(path, scenario="keys", seed=1, settings={}, starts=STARTS)) as sim:
        yield Town(sim)
    with Trace.open(path) as trace:
        assert verify(trace).finding is None


async def refused(asked: Awaitable[object]) -> Refused:
    with pytest.raises(Refused) as caught:
        await asked
    return caught.value


# What was acknowledged.


@EACH
async def test_pushes_in_the_broker_s_outbox_outlive_its_sealing_key(revoked: bool, town: Town) -> None:
    with town.sim.offline(OFFICE):
        town.push()
        await asyncio.sleep(2)
        town.sim.change_keys(BROKER, "sealing", revoked=revoked)
        town.sim.crash(BROKER)
        town.sim.restart(BROKER)
        await asyncio.sleep(2)
    await asyncio.sleep(30)
    assert sorted(town.office.done()) == ["hello", "moved muni/28100"]


async def test_a_letter_in_the_inbox_outlives_the_sealing_key_for_which_it_was_sealed(town: Town) -> None:
    town.sim.node(OFFICE, Office)
    Office.fails = True
    try:
        town.desk.notify(LETTER, OFFICE, Letter("kept"), subject=town.code, procedure="relief")
        await asyncio.sleep(2)
        town.sim.change_keys(OFFICE, revoked=True)
        town.sim.crash(OFFICE)
    finally:
        Office.fails = False
    town.sim.restart(OFFICE)
    await asyncio.sleep(1)
    assert town.office.done() == ["kept"]
    rows = town.office.db.execute("SELECT data FROM mesh_inbox").fetchall()
    assert [bytes(row[0]) for row in rows] == [b""], "what was handled is kept by its node alone"


# Former keys.


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_was_sealed_for_a_former_key_opens_until_that_expires(restarts: bool, town: Town) -> None:
    own = town.sim.keys_of(OFFICE).sealing
    with town.sim.offline(OFFICE):
        asked = asyncio.ensure_future(town.ask())
        await asyncio.sleep(1)
        for _ in range(3):
            town.sim.change_keys(OFFICE)
        if restarts:
            town.sim.crash(OFFICE)
            town.sim.restart(OFFICE)
    assert (await asked).amount == 3
    kids = {
        key_of(one.message.data.split(".")[0].encode())
        for one in messages(town.sim, Request)
        if one.recipient == OFFICE
    }
    assert kids == {own.kid}, "the same bytes"
    party, now_us = town.office.party, town.sim.now_us()
    [first, *_] = [one.message for one in messages(town.sim, Request)]
    assert party.unseal(first.data, first, now_us)
    until_us = party.view.lookup(OFFICE).keys[0].valid_until_us
    assert party.unseal(first.data, first, until_us)
    with pytest.raises(MeshError, match="seal_invalid"):
        party.unseal(first.data, first, until_us + 1)


async def test_a_trace_opens_what_was_sealed_for_any_key_that_a_node_had(tmp_path: Path) -> None:
    path = tmp_path / "keys.trace"
    with simulation(trace=TraceWriter(path, scenario="keys", seed=1, settings={}, starts=STARTS)) as sim:
        town = Town(sim)
        for revoked in (False, True, False):
            await town.ask()
            for address in (DESK, OFFICE, BROKER):
                sim.change_keys(address, revoked=revoked)
        await town.ask()
        handle = town.handle
    with Trace.open(path) as trace:
        assert verify(trace).finding is None
        assert len(trace.sealing_keys(OFFICE)) == 4
        seen = [perspective(trace, "everything").see(sent) for sent in trace.transmissions()]
        assert len(seen) == 16
        assert [one for one in seen if one is None or one.sealed] == []
        # By the sealed subject alone, as of a question that was not permitted.
        about = PersonFilter(trace, handle)
        about._permitted = {}
        assert sum(about.concerns(sent) for sent in trace.transmissions()) == 16
        assert opener_of(trace, "muni/00000/nobody") is None


async def test_a_registry_in_which_two_nodes_share_a_key_does_not_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shared.trace"
    with monkeypatch.context() as patch:
        one_key_for_two(patch, DESK, OFFICE)
        with simulation(trace=TraceWriter(path, scenario="keys", seed=1, settings={}, starts=STARTS)) as sim:
            await Town(sim).ask()
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert finding is not None
    assert (finding.code, "belongs to one node" in finding.text) == ("sender_mismatch", True)
