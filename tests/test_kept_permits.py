"""A repeat may come through another broker of the role: the kept answer goes back with the permit under which it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, structs

from mesh import Caller, EventType, LegalBasis, Node, PersonalService, receives, serves
from mesh.broker import Broker
from mesh.exchange import digest_of
from mesh.faults import Fates, drop
from mesh.host import Host
from mesh.keys import NodeKeys
from mesh.ledger import Ledger
from mesh.message import Event, Receipt, Reply, Request
from mesh.names import BROKER
from mesh.party import Party
from mesh.registry import key_record
from mesh.simulation import STARTS, Simulation
from mesh.store import Store
from mesh.testing import Transmission, ledger, messages, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"


class Query(Struct, frozen=True, forbid_unknown_fields=True): ...


class Amount(Struct, frozen=True):
    amount: int


AMOUNT = PersonalService("kept.amount.v1", Query, Amount, title="Amount", title_ja="金額")
MOVED = EventType("kept.moved.v1", title="Moved", title_ja="転入")


class Office(Node):
    schema = "CREATE TABLE done(what TEXT)"

    @serves(AMOUNT)
    async def amount(self, query: Query, caller: Caller, person: str) -> Amount:
        with self.effect():
            self.db.execute("INSERT INTO done VALUES ('asked')")
        return Amount(3)

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO done VALUES ('moved')")

    def done(self) -> list[str]:
        return [row[0] for row in self.db.execute("SELECT what FROM done")]


def furnish(sim: Simulation) -> Simulation:
    sim.add(Node, DESK)
    sim.add(Office, OFFICE)
    sim.allow(LegalBasis(DESK, "relief", OFFICE, AMOUNT.name, ("amount",)))
    sim.allow(LegalBasis(OFFICE, "relief", DESK, MOVED.name, ()))
    return sim


def code(sim: Simulation) -> str:
    return sim.code("muni/01208", sim.resident("12345678901"))


async def ask(sim: Simulation) -> Amount:
    answer: Amount = await sim.node(DESK).ask(OFFICE, AMOUNT, Query(), subject=code(sim), procedure="relief")
    return answer


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Simulation]:
    """One broker; the trace verifies."""
    path = tmp_path / "kept.trace"
    with simulation(trace=TraceWriter(path, scenario="kept", seed=1, settings={}, starts=STARTS)) as sim:
        yield furnish(sim)
    with Trace.open(path) as trace:
        assert verify(trace).finding is None


def second_broker(sim: Simulation) -> Broker:
    """Another broker of the role: keys, database and ledger of its own, and the role's sealing key."""
    own, another = sim.keys_of(BROKER), NodeKeys.derived(b"another", BROKER)
    keys = NodeKeys(BROKER, another.signing, own.sealing, another.tls)
    entry = sim._make_entry(BROKER)
    assert entry is not None
    start_us = sim.now_us()
    record = key_record(sim.authority, keys, from_us=start_us - 1, until_us=start_us + 10**13)
    sim.registry.put(structs.replace(entry, keys=(record, *entry.keys)))
    first = sim.node(BROKER, Broker)
    store = Store(None, Broker.schema)
    host = Host(
        BROKER, store=store, ledger=Ledger(BROKER, ()), loop=sim.loop, carrier=sim.transport, recorder=Silent(),
        random=sim.stream("another"), now_us=sim.now_us, monotonic_us=lambda: sim.loop.now_us,
        call_aside=sim._call_aside,
    )  # fmt: skip
    party = Party(
        BROKER, first._party.zone, keys, first._party.view, sealer=first._party.sealer, new_id=host.new_id
    )
    return Broker(host, party, sim.policy, codes=sim.codes, listeners=sim._listeners)


class Silent:
    """A recorder that keeps nothing: the trace knows one ledger for an address."""

    def ledger_rows(self, *_: Any) -> None: ...

    def tree_head(self, *_: Any) -> None: ...


async def test_a_repeat_under_another_permit_gets_the_kept_answer_with_the_kept_permit(
    town: Simulation,
) -> None:
    town.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    assert (await ask(town)).amount == 3
    first, second = [one for one in messages(town, Reply) if one.sender == OFFICE]
    assert first.line == second.line
    assert (first.permit, first.fate) == (None, "dropped")
    assert second.permit is not None
    assert digest_of(second.permit) == second.message.permitdigest
    permits = [one.permit for one in messages(town, Request) if one.recipient == OFFICE]
    assert len(set(permits)) == 2
    assert second.permit == permits[0]
    [passed_on] = [one for one in messages(town, Reply) if one.recipient == DESK]
    assert (passed_on.line, passed_on.permit) == (second.line, None), "untouched, and alone"
    assert town.node(OFFICE, Office).done() == ["asked"]


async def test_a_copy_of_the_very_delivery_gets_the_answer_alone(town: Simulation) -> None:
    await ask(town)
    [sent] = [one for one in messages(town, Request) if one.recipient == OFFICE]
    town.transmit(BROKER, OFFICE, sent.line + b"\n" + (sent.permit or b""))
    await asyncio.sleep(1)
    assert [one.permit for one in messages(town, Reply) if one.sender == OFFICE] == [None, None]


async def test_a_kept_answer_survives_a_restart_with_its_permit(town: Simulation) -> None:
    town.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    asking = asyncio.create_task(ask(town), name="asks")
    await asyncio.sleep(0.5)
    town.crash(OFFICE)
    town.restart(OFFICE)
    assert (await asking).amount == 3
    last = [one for one in messages(town, Reply) if one.sender == OFFICE][-1]
    assert last.permit is not None
    assert digest_of(last.permit) == last.message.permitdigest


def test_a_kept_answer_is_found_in_a_database_that_is_opened_anew(tmp_path: Path) -> None:
    answer = ("source", "id", "digest", b"line", 10**15, b"permit")
    store = Store(tmp_path / "kept.sqlite")
    store.commit([("answer", answer)])
    store.close()
    again = Store(tmp_path / "kept.sqlite")
    assert again.kept_answer("source", "id") == ("digest", b"line", b"permit")
    assert again.kept_answer("source", "another") is None
    again.close()


class Two:
    """Two brokers at one address; `answers` takes what comes to it."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = furnish(sim)
        self.first = sim.node(BROKER, Broker)
        self.second = second_broker(sim)
        self.answers = self.first
        find = sim.transport._find
        sim.transport._find = lambda address: self.answers if address == BROKER else find(address)


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    with simulation() as sim:
        yield Two(sim)


def replies(sim: Simulation) -> list[Transmission]:
    return [one for one in messages(sim, Reply) if one.sender == OFFICE]


async def test_a_second_broker_accepts_what_was_answered_under_the_permit_of_the_first(two: Two) -> None:
    two.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    asking = asyncio.create_task(ask(two.sim), name="asks")
    await asyncio.sleep(0.5)
    two.answers = two.second
    assert (await asking).amount == 3
    assert two.sim.node(OFFICE, Office).done() == ["asked"]
    rows = list(two.second._rows_with(replies(two.sim)[0].message.permitdigest))
    assert [(row.entry, row.code) for row in rows] == [("closed", None)]


def forged(two: Two, how: str) -> None:
    """The permit beside the kept answer is changed on its way to the second broker."""

    def rule(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        if sender != OFFICE or b"\n" not in line:
            return None
        answer, _, permit = line.partition(b"\n")
        if how == "none":
            return ((0, answer),)
        if how == "another":
            sent = [one.permit for one in messages(two.sim, Request) if one.recipient == OFFICE][-1]
            return ((0, answer + b"\n" + (sent or b"")),)
        return ((0, answer + b"\n" + permit[:-8] + b"AAAAAAAA"),)

    two.sim.disturbance.rules.append(rule)


@pytest.mark.parametrize("how", ["none", "another", "broken"])
async def test_it_accepts_no_other_permit(how: str, two: Two) -> None:
    two.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    forged(two, how)
    asking = asyncio.create_task(ask(two.sim), name="asks")
    await asyncio.sleep(0.5)
    two.answers = two.second
    with pytest.raises(Exception, match="timeout"):
        await asking
    assert {one.code for one in replies(two.sim)[1:]} == {"correlation_mismatch"}


async def test_a_second_broker_accepts_a_kept_receipt_too(two: Two) -> None:
    """Both brokers took the push over, because the receipt of the first for its publisher was lost."""
    two.sim.disturbance.rules.append(drop(BROKER, DESK, times=1))
    two.sim.node(DESK).publish(MOVED, code(two.sim))
    await asyncio.sleep(0.5)
    two.answers = two.second
    await asyncio.sleep(60)
    assert two.sim.node(OFFICE, Office).done() == ["moved"]
    receipts = [one for one in messages(two.sim, Receipt) if one.sender == OFFICE]
    assert [one.code for one in receipts] == [None, None]
    assert [one.permit is None for one in receipts] == [True, False]
    assert two.second.host.store.outbox() == []
    assert ledger(two.sim, OFFICE)


async def test_the_permit_must_be_for_this_request_and_these_parties(two: Two) -> None:
    two.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    await ask(two.sim)
    kept = replies(two.sim)[1]
    authoriser, now_us = two.second.authoriser, two.sim.now_us()
    right = {"requester": DESK, "provider": OFFICE, "service": AMOUNT.name}
    assert authoriser.was_permitted(kept.message, kept.permit or b"", **right, now_us=now_us)
    for name in right:
        wrong = right | {name: "muni/01100/other"}
        assert not authoriser.was_permitted(kept.message, kept.permit or b"", **wrong, now_us=now_us)
    other = structs.replace(kept.message, requestdigest="0" * 64)
    assert not authoriser.was_permitted(other, kept.permit or b"", **right, now_us=now_us)
    assert not authoriser.was_permitted(kept.message, b"", **right, now_us=now_us)
