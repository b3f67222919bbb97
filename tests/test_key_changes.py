"""Keys change while questions, answers and pushes are under way: nothing acknowledged is lost, nothing dishonest passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import structs

from mesh import (
    Caller,
    MeshError,
    Refused,
)
from mesh.errors import Fault
from mesh.exchange import digest_of
from mesh.faults import Fates, drop
from mesh.ledger import Row
from mesh.message import Kind, Receipt, Reply, Request, format_time
from mesh.names import BROKER
from mesh.party import Party, read_line
from mesh.post import Post
from mesh.sealing import key_of
from mesh.simulation import STARTS
from mesh.testing import ledger, messages, simulation
from mesh.trace.opener import opener_of
from mesh.trace.people import PersonFilter
from mesh.trace.perspective import perspective
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from nodes.agency.reconciliation import compare, gather
from tests.helpers_keys import AMOUNT, DESK, LETTER, MOVED, OFFICE, Amount, Letter, Office, Query, Town
from tests.helpers_scenario import one_key_for_two
from tests.sweeps.key_changes import FATES, FLOWS, Case, cases, main, play, share_of

CASES = (
    Case("question", 2, OFFICE, "signing", "revoked", "lost"),
    Case("notice", 1, DESK, "signing", "revoked", "lost"),
)
"""What falls if nothing that is kept is signed anew, and no copy gets its receipt."""
EACH = pytest.mark.parametrize("revoked", [False, True], ids=["ordinary", "revoked"])


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
    assert (town.found(), len(ids)) == ([], 2)


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


@pytest.mark.parametrize("kind", ["event", "notice"])
async def test_a_push_that_was_taken_over_before_its_key_was_revoked_gets_its_receipt(
    kind: str, town: Town
) -> None:
    """To refuse the copy would tell its publisher that it died, though it was delivered."""
    town.begin()
    town.sim.disturbance.rules.append(drop(BROKER, DESK, times=1))
    if kind == "event":
        town.desk.publish(MOVED, town.code)
    else:
        town.desk.notify(LETTER, OFFICE, Letter("hello"), subject=town.code, procedure="relief")
    await asyncio.sleep(0.5)
    [first] = {one.line for one in messages(town.sim) if one.sender == DESK}
    town.sim.change_keys(DESK, "signing", revoked=True)
    await asyncio.sleep(30)
    assert (town.desk.dead_letters(), town.desk.host.store.outbox(), len(town.office.done())) == ([], [], 1)
    # Nobody else gets it, and no other bytes do.
    before = len(messages(town.sim))
    town.sim.transmit(OFFICE, BROKER, first)
    town.sim.transmit(DESK, BROKER, first[:-8] + b"AAAAAAAA")
    await asyncio.sleep(1)
    later = messages(town.sim)[before:]
    assert [one.code for one in later][:2] == ["certificate_revoked", "certificate_revoked"]
    assert {type(one.message).__name__ for one in later[2:]} == {"Refusal"}


# The table.


def test_a_key_that_changes_at_any_step_of_a_question_or_push_loses_nothing() -> None:
    """A sample of `tests/sweeps/key_changes.py`."""
    outcomes = [play(case) for case in share_of(cases(), 0.05)]
    assert {one.case.flow for one in outcomes} == set(FLOWS)
    assert {one.case.whose for one in outcomes} == {DESK, OFFICE, BROKER}
    assert {one.case.fate for one in outcomes} == set(FATES)
    assert [(str(one.case), one.wrong) for one in outcomes if one.wrong] == []


def test_the_table_says_what_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--only", "notice", "--share", "0.02"]
    assert main(words) == 0
    assert "4 of 4 hold" in capsys.readouterr().out
    monkeypatch.setattr(Party, "current", lambda self, line, now_us: line)
    monkeypatch.setattr(Post, "on_copy", lambda *_: False)
    wrong = [one for case in CASES if (one := play(case)).wrong]
    assert len(wrong) == len(CASES)
    monkeypatch.setattr("tests.sweeps.key_changes.cases", lambda: list(CASES))
    assert main(["--json"]) == 1


@pytest.mark.parametrize("lie", ["no key lapsed", "another answer"])
async def test_an_answer_that_is_given_twice_without_reason_or_differs_is_found(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def current(self: Party, line: bytes, now_us: int) -> bytes:
        changes = {"time": format_time(now_us)}
        if lie == "another answer":
            changes["traceparent"] = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
        return self.sign(structs.replace(read_line(line), **changes), Kind.REPLY)

    monkeypatch.setattr(Party, "current", current)
    path = tmp_path / "twice.trace"
    with simulation(trace=TraceWriter(path, scenario="keys", seed=1, settings={}, starts=STARTS)) as sim:
        town = Town(sim)
        town.begin()
        sim.disturbance.rules.append(drop(BROKER, DESK, times=1))
        asked = asyncio.ensure_future(town.ask())
        await asyncio.sleep(0.5)
        if lie == "another answer":
            sim.change_keys(OFFICE, revoked=True)
        assert (await asked).amount == 3
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert finding is not None
    assert "it was answered twice" in finding.text
