"""Keys change while questions, answers and pushes are under way: nothing acknowledged is lost, nothing dishonest passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import Struct, structs

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
from mesh.errors import Fault
from mesh.exchange import digest_of
from mesh.faults import Fates, drop
from mesh.ledger import Row
from mesh.message import Event, Receipt, Reply, Request
from mesh.names import BROKER
from mesh.sealing import key_of
from mesh.service import Word
from mesh.simulation import STARTS, Simulation
from mesh.testing import ledger, messages, simulation
from mesh.trace.opener import opener_of
from mesh.trace.people import PersonFilter
from mesh.trace.perspective import perspective
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from nodes.agency.reconciliation import compare, gather
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


# Questions and answers under way.


async def while_it_is_at(town: Town, sender: str, recipient: str, change: Callable[[], object]) -> Amount:
    """Ask, and let something happen while the first line from one to the other is on its way."""
    done: list[None] = []

    def rule(one: str, other: str, line: bytes, now_us: int) -> Fates | None:
        if (one, other) == (sender, recipient) and not done:
            done.append(None)
            change()
        return None

    town.sim.disturbance.rules.append(rule)
    return await town.ask()


LEGS = [(DESK, BROKER), (BROKER, OFFICE), (OFFICE, BROKER), (BROKER, DESK)]
LEG = pytest.mark.parametrize(("sender", "recipient"), LEGS, ids=["asked", "permitted", "answered", "closed"])


@LEG
@pytest.mark.parametrize("whose", [DESK, OFFICE, BROKER], ids=["desk", "office", "broker"])
async def test_an_ordinary_change_at_any_leg_costs_nothing(
    sender: str, recipient: str, whose: str, town: Town
) -> None:
    town.begin()
    answer = await while_it_is_at(town, sender, recipient, lambda: town.sim.change_keys(whose))
    assert (answer.amount, town.office.done()) == (3, ["asked"])
    assert len(messages(town.sim)) == 4, "nothing went a second time"


@pytest.mark.parametrize(
    ("sender", "recipient", "whose", "kind", "code", "asked"),
    [
        (DESK, BROKER, OFFICE, "sealing", "seal_key_revoked", 2),
        (BROKER, OFFICE, OFFICE, "sealing", "seal_key_revoked", 2),
        (DESK, BROKER, BROKER, "sealing", "seal_key_revoked", 2),
        (DESK, BROKER, DESK, "signing", "certificate_revoked", 2),
        (BROKER, OFFICE, DESK, "signing", "certificate_revoked", 2),
        (BROKER, OFFICE, BROKER, "signing", "certificate_revoked", 1),
        (BROKER, OFFICE, BROKER, "sealing", None, 1),
        (OFFICE, BROKER, OFFICE, "signing", "certificate_revoked", 1),
        (BROKER, DESK, OFFICE, "signing", "certificate_revoked", 1),
        (BROKER, DESK, BROKER, "signing", None, 1),
    ],
)
async def test_after_a_revocation_a_question_in_flight_is_answered_all_the_same(
    sender: str, recipient: str, whose: str, kind: str, code: str | None, asked: int, town: Town
) -> None:
    def change() -> None:
        town.sim.change_keys(whose, kind, revoked=True)

    town.begin()
    assert (await while_it_is_at(town, sender, recipient, change)).amount == 3
    assert town.office.done() == ["asked"], "one effect"
    assert {one.code for one in messages(town.sim)} - {None} == ({code} if code else set())
    assert len({one.message.id for one in messages(town.sim, Request)}) == asked


async def test_an_answer_sealed_for_a_revoked_key_of_its_requester_ends_the_question(town: Town) -> None:
    def change() -> None:
        town.sim.change_keys(DESK, "sealing", revoked=True)

    town.begin()
    with pytest.raises(Refused) as caught:
        await while_it_is_at(town, BROKER, DESK, change)
    said = caught.value
    assert (said.code, said.by, said.definite, said.fault) == ("seal_key_revoked", DESK, False, Fault.NETWORK)
    assert town.sim.loop.now_us < 1_000_000, "at once, and not at the time-out"
    assert town.office.done() == ["asked"]
    assert (await town.ask()).amount == 3


async def test_who_says_that_a_key_was_revoked_which_was_not_is_not_asked_anew(town: Town) -> None:
    def lie(self: Office, query: Query, caller: Caller, person: str) -> object:
        raise MeshError("seal_key_revoked")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(town.office._methods, AMOUNT.name, lambda *_: lie(town.office, *_))
        said = await refused(town.ask())
    assert said.code == "seal_key_revoked"
    assert len({one.message.id for one in messages(town.sim, Request)}) == 1


async def test_one_attempt_is_one(town: Town) -> None:
    town.begin()
    line = town.ask(attempts=1)
    asked = asyncio.ensure_future(line)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    town.sim.change_keys(OFFICE, "sealing", revoked=True)
    assert (await refused(asked)).code == "seal_key_revoked"


# What is kept.


async def test_a_kept_answer_whose_key_was_revoked_is_signed_anew_once(town: Town) -> None:
    town.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    town.begin()
    asked = asyncio.ensure_future(town.ask())
    await asyncio.sleep(0.5)
    town.sim.change_keys(OFFICE, revoked=True)
    assert (await asked).amount == 3
    assert town.office.done() == ["asked"]
    first, second = [one for one in messages(town.sim, Reply) if one.sender == OFFICE]
    assert first.line != second.line
    assert first.message == structs.replace(second.message, time=first.message.time)
    rows = [row for row in ledger(town.sim, OFFICE) if row.entry == "answered"]
    assert [row.replydigest for row in rows] == [digest_of(first.line), digest_of(second.line)]
    # Whoever asks again gets the second, and no third.
    sent = [one for one in messages(town.sim, Request) if one.recipient == OFFICE][-1]
    town.sim.transmit(BROKER, OFFICE, sent.line + b"\n" + (sent.permit or b""))
    await asyncio.sleep(1)
    assert [one.line for one in messages(town.sim, Reply) if one.sender == OFFICE][2:] == [second.line]
    assert len([row for row in ledger(town.sim, OFFICE) if row.entry == "answered"]) == 2


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_kept_receipt_whose_key_was_revoked_is_signed_anew(revoked: bool, town: Town) -> None:
    town.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=2))
    town.begin()
    ids = town.push()
    await asyncio.sleep(0.5)
    town.sim.change_keys(OFFICE, revoked=revoked)
    await asyncio.sleep(30)
    assert sorted(town.office.done()) == ["hello", "moved muni/28100"]
    assert town.sim.node(BROKER).host.store.outbox() == []
    lines = [one.line for one in messages(town.sim, Receipt) if one.sender == OFFICE]
    assert (len(lines), len(set(lines))) == (4, 4 if revoked else 2)
    found = await commission_of(town)
    assert (found, len(ids)) == ([], 2)


async def commission_of(town: Town) -> list[object]:
    """What the commission finds in the ledgers."""
    ledgers = {one: ledger(town.sim, one) for one in (DESK, OFFICE, BROKER)}
    view = town.desk.party.view

    def lapsed(party: str, at_us: int) -> int:
        return view.lookup(party).lapsed(at_us)

    records = gather(ledgers, town.sim.now_us() + 1)
    return [one for record in records for one in compare(record, ledgers, lapsed)]


async def test_an_answer_that_is_recorded_twice_without_a_lapsed_key_is_found(town: Town) -> None:
    await town.ask()
    ledgers = {one: ledger(town.sim, one) for one in (DESK, OFFICE, BROKER)}
    [answered] = [row for row in ledgers[OFFICE] if row.entry == "answered"]
    again = structs.replace(answered, time_us=answered.time_us + 9, replydigest="0" * 64)
    other = structs.replace(again, subject="muni/28100:" + "A" * 43)

    def findings(row: Row, count: int) -> list[str]:
        changed = ledgers | {OFFICE: [*ledgers[OFFICE], row]}
        [record] = gather(changed, town.sim.now_us() + 1)
        return [one.text for one in compare(record, changed, lambda party, at_us: count)]

    assert findings(again, 1) == []
    assert len(findings(again, 0)) == 1
    assert len(findings(other, 1)) == 1


async def test_a_broker_s_kept_refusal_whose_key_was_revoked_is_said_anew(town: Town) -> None:
    town.sim.disturbance.rules.append(drop(BROKER, DESK, times=1))
    town.begin()
    asked = asyncio.ensure_future(
        refused(town.desk.ask(OFFICE, AMOUNT, Query(), subject=town.code, procedure="none"))
    )
    await asyncio.sleep(0.5)
    town.sim.change_keys(BROKER, revoked=True)
    assert (await asked).code == "no_legal_basis"


async def test_a_broker_s_kept_receipt_whose_key_was_revoked_is_signed_anew(town: Town) -> None:
    town.sim.disturbance.rules.append(drop(BROKER, DESK, times=2))
    town.begin()
    town.push()
    await asyncio.sleep(0.5)
    town.sim.change_keys(BROKER, revoked=True)
    await asyncio.sleep(30)
    assert town.desk.host.store.outbox() == []
    assert sorted(town.office.done()) == ["hello", "moved muni/28100"]
