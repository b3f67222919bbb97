"""Corners of the core that a run seldom comes to: each is reached here straight, and by one thing only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, structs

from mesh import Caller, DeadLetter, EventType, LegalBasis, Node, NotFound, PersonalService, receives, serves
from mesh.broker import Broker
from mesh.errors import CODES, MeshError, Refused
from mesh.exchange import Turn, digest_of
from mesh.faults import drop
from mesh.gates import PERMIT_FORM, Walk
from mesh.message import (
    Event,
    Refusal,
    RefusalData,
    Reply,
    Request,
    encode,
    format_time,
    parse_time,
)
from mesh.names import BROKER
from mesh.service import Word
from mesh.simulation import STARTS, Simulation
from mesh.testing import Forger, Transmission, answers_to, keep_record, ledger, messages, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter

DESK, OFFICE, OTHER = "muni/01208/desk", "muni/28100/office", "muni/13101/desk"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    case: Word = ""


class Answer(Struct, frozen=True):
    number: int


LISTED = PersonalService("corner.listed.v1", Query, Answer, title="Listed", title_ja="掲載")
UNLISTED = PersonalService("corner.unlisted.v1", Query, Answer, title="Unlisted", title_ja="不掲載")
MOVED = EventType("corner.moved.v1", title="Moved", title_ja="異動")


class Desk(Node):
    """Asks and publishes."""

    def undelivered(self, letter: DeadLetter) -> None:
        self.heard: list[tuple[str, str]] = [*getattr(self, "heard", []), (letter.code, letter.by)]


class Office(Node):
    """Answers and hears."""

    handled = 0

    @serves(LISTED)
    async def listed(self, query: Query, caller: Caller, person: str) -> Answer:
        self.handled += 1
        if query.case == "slow":
            await asyncio.sleep(5)
        if query.case == "missing":
            raise NotFound
        return Answer(7)

    @serves(UNLISTED)
    async def unlisted(self, query: Query, caller: Caller, person: str) -> Answer:
        self.handled += 1
        return Answer(8)

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None:
        self.handled += 1


class Afar(Office):
    """Stands in a zone to which no path leads."""

    zone = "internet"


class World:
    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for cls, address in ((Desk, DESK), (Desk, OTHER), (Office, OFFICE)):
            sim.add(cls, address)
        sim.allow(LegalBasis("muni/*/desk", "task", OFFICE, LISTED.name, ("number",)))
        sim.allow(LegalBasis(OFFICE, "hear", DESK, MOVED.name, until_us=sim.start_us + 100_000_000))
        self.lie: str | None = None
        """What `verify` finds: forgers keep no books."""
        self.code = sim.code("muni/01208", sim.resident("00000000019"))
        self.desk, self.office = sim.node(DESK, Desk), sim.node(OFFICE, Office)

    @property
    def broker(self) -> Broker:
        return self.sim.node(BROKER, Broker)

    def ask(self, case: str = "", **options: Any) -> asyncio.Task[Answer]:
        asking = self.desk.ask(OFFICE, LISTED, Query(case), subject=self.code, procedure="task", **options)
        return asyncio.create_task(asking, name="asks")

    def sent(self, kind: type[Struct], sender: str, recipient: str) -> list[Transmission]:
        return [one for one in messages(self.sim, kind) if (one.sender, one.recipient) == (sender, recipient)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """What `verify` finds in the trace of every test is what the test says: nothing, unless it has a liar. Where the lie
    is not what is tested ("") that is left to other tests.
    """
    path = tmp_path / "corner.trace"
    with simulation(trace=TraceWriter(path, scenario="corner", seed=1, settings={}, starts=STARTS)) as sim:
        made = World(sim)
        yield made
    with Trace.open(path) as trace:
        found = verify(trace).finding
    if made.lie is None:
        assert found is None, found
    elif made.lie:
        assert found is not None
        assert made.lie in found.text


# What nobody may ask.


@pytest.mark.parametrize("procedure", [None, "task"])
async def test_a_question_about_a_person_to_a_service_without_rows_gets_no_permit(
    procedure: str | None, world: World
) -> None:
    forger = Forger(world.sim, DESK)
    line = forger.send(
        forger.request(OFFICE, UNLISTED.name, subject=world.code, procedure=procedure, items="number")
    )
    await world.sim.sleep(1)
    assert [one.refusal for one in answers_to(world.sim, line)] == ["no_legal_basis"]
    assert [row.entry for row in ledger(world.sim, BROKER)] == ["refused"]
    assert world.office.handled == 0


async def test_of_the_two_things_that_make_a_question_personal_neither_goes_without_the_other(
    world: World,
) -> None:
    """A procedure without a person is a question about nobody; to a service with rows it needs one."""
    forger, codes = Forger(world.sim, DESK), []
    for subject, procedure in ((None, "task"), (world.code, None), (None, None)):
        line = forger.send(
            forger.request(OFFICE, LISTED.name, subject=subject, procedure=procedure, items="number")
        )
        keep_record(world.sim, line)
        await world.sim.sleep(1)
        codes.append(next((one.refusal, one.sender) for one in answers_to(world.sim, line)))
    assert codes == [("no_legal_basis", OFFICE), ("no_legal_basis", BROKER), ("no_legal_basis", BROKER)]
    assert world.office.handled == 0


# Pushes.


async def test_an_event_whose_row_ended_while_its_subscriber_was_down_is_one_dead_letter(
    world: World,
) -> None:
    with world.sim.offline(OFFICE):
        world.desk.publish(MOVED, world.code)
        await world.sim.sleep(200)
    await world.sim.sleep(100)
    assert [(one.to, one.state) for one in world.broker.given_up()] == [(OFFICE, "dead")]
    assert world.desk.heard == [("no_legal_basis", BROKER)]
    assert world.office.handled == 0
    assert [row.code for row in ledger(world.sim, BROKER) if row.entry == "closed"] == ["no_legal_basis"]
    [word] = {one.line: one.message for one in world.sent(Refusal, BROKER, DESK)}.values()
    assert not word.data.definite, "it went out, and may have come"


async def test_an_event_goes_once_to_each_whom_a_row_names_and_whose_zone_it_reaches(world: World) -> None:
    """One is named twice; one row is for the publisher's own member alone; one is across a zone."""
    own, foreign, afar = "muni/01208/clerk", "muni/28100/clerk", "firm/acme/office"
    for cls, address in ((Office, own), (Office, foreign), (Afar, afar)):
        world.sim.add(cls, address)
    world.sim.allow(LegalBasis("muni/*/office", "hear-too", "muni/*/desk", MOVED.name))
    world.sim.allow(LegalBasis("muni/*/clerk", "hear", "muni/*/desk", MOVED.name, same_member=True))
    world.sim.allow(LegalBasis("firm/*/office", "hear", "muni/*/desk", MOVED.name))
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(60)
    handled = {one: world.sim.node(one, Office).handled for one in (OFFICE, own, foreign, afar)}
    assert handled == {OFFICE: 1, own: 1, foreign: 0, afar: 0}
    permitted = {row.provider: row.procedure for row in ledger(world.sim, BROKER) if row.entry == "permitted"}
    assert permitted == {OFFICE: "hear", own: "hear"}
    assert world.broker.host.store.outbox() == []


async def test_a_push_to_whom_was_revoked_waits_and_does_not_go_out(world: World) -> None:
    world.sim.registry.revoke(OFFICE, world.sim.now_us())
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(60)
    assert world.broker.post.dead_letters() == []
    assert len(world.broker.host.store.outbox()) == 1
    assert [one for one in messages(world.sim) if one.recipient == OFFICE] == []


@pytest.mark.parametrize(("back", "ends"), [(1, True), (8, True), (9, False)])
async def test_a_refusal_under_one_of_the_last_eight_permits_ends_a_push(
    back: int, ends: bool, world: World
) -> None:
    world.sim.allow(LegalBasis("muni/*/office", "hear-too", DESK, MOVED.name))
    with world.sim.offline(OFFICE):
        world.desk.publish(MOVED, world.code)
        await world.sim.sleep(250)
        permitted = [row for row in ledger(world.sim, BROKER) if row.entry == "permitted"]
        assert len(permitted) > 9
        line = said_dead(
            world,
            OFFICE,
            "schema_invalid",
            permitted[0].requestdigest or "",
            permitdigest=permitted[-back].permitdigest,
        )
        assert world.broker.receive(line, OFFICE).code is None
        assert len(world.broker.post.dead_letters()) == ends
    world.lie = ""


async def test_a_push_that_the_broker_refuses_because_its_registry_is_behind_goes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = stale_at(world.broker, 3, monkeypatch)
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(60)
    assert (times[0], world.office.handled) == (0, 1)
    assert getattr(world.desk, "heard", []) == []
    said = [one.refusal for one in world.sent(Refusal, BROKER, DESK)]
    assert said == ["registry_stale"] * 3
    assert world.desk.host.store.outbox() == []


async def test_a_push_that_its_subscriber_refuses_because_its_registry_is_behind_goes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = stale_at(world.office, 3, monkeypatch)
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(60)
    assert (times[0], world.office.handled) == (0, 1)
    assert world.broker.given_up() == []
    assert [one.refusal for one in world.sent(Refusal, OFFICE, BROKER)] == ["registry_stale"] * 3
    assert world.broker.host.store.outbox() == []


def stale_at(node: Node, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """So many lines come to a node whose registry is past its next update."""
    left, check = [times], type(node._party.view).check_fresh

    def check_fresh(view: Any, now_us: int) -> None:
        if view is node._party.view and left[0]:
            left[0] -= 1
            raise MeshError("registry_stale")
        check(view, now_us)

    monkeypatch.setattr(type(node._party.view), "check_fresh", check_fresh)
    return left


# Who can tell the publisher of an event that it is a dead letter.


def said_dead(world: World, by: str, code: str, digest: str, **changes: Any) -> bytes:
    """A signed refusal of a push, to its publisher."""
    forger = Forger(world.sim, by)
    refusal = Refusal(
        specversion="1.0", id=f"{by} {code} {changes}", source=by, type=MOVED.name,
        time=format_time(world.sim.now_us()), recipient=DESK, datacontenttype="application/json",
        requestdigest=digest, code=code, data=RefusalData(True, "no"),
    )  # fmt: skip
    return forger.line(structs.replace(refusal, **changes))


TELLERS: list[tuple[str, str, dict[str, Any], str | None]] = [
    (OFFICE, "schema_invalid", {}, None),
    (OFFICE, "seal_invalid", {}, "correlation_mismatch"),
    (OTHER, "schema_invalid", {}, "correlation_mismatch"),
    (BROKER, "schema_invalid", {}, None),
    (BROKER, "seal_invalid", {}, None),
    (BROKER, "nothing_of_the_table", {}, "schema_invalid"),
    (OFFICE, "nothing_of_the_table", {}, "schema_invalid"),
    (OFFICE, "schema_invalid", {"recipient": OTHER}, "audience_mismatch"),
    (OFFICE, "schema_invalid", {"requestdigest": "0" * 64}, "correlation_mismatch"),
]


@pytest.mark.parametrize(("by", "code", "changes", "found"), TELLERS, ids=str)
async def test_of_a_dead_event_only_its_broker_and_who_may_hear_of_it_can_tell(
    by: str, code: str, changes: dict[str, Any], found: str | None, world: World
) -> None:
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(1)
    digest = ledger(world.sim, DESK)[0].requestdigest or ""
    rows = len(ledger(world.sim, DESK))
    line = said_dead(world, by, code, digest, **changes)
    for _ in range(2):
        world.sim.transmit(BROKER, DESK, line)
        await world.sim.sleep(1)
    assert [one.code for one in messages(world.sim, Refusal) if one.line == line] == [found] * 2
    assert getattr(world.desk, "heard", []) == ([] if found else [(code, by)])
    new = ledger(world.sim, DESK)[rows:]
    assert [(row.entry, row.code) for row in new] == ([] if found else [("closed", code)])
    signed = {one.line for one in answers_to(world.sim, line)}
    assert len(signed) == (found is None), "the word is signed for, with the same bytes each time"
    world.lie = ""


async def test_of_an_event_that_the_broker_has_not_signed_for_nobody_can_tell_yet(world: World) -> None:
    world.sim.disturbance.rules.append(drop(DESK, BROKER))
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(1)
    digest = ledger(world.sim, DESK)[0].requestdigest or ""
    line = said_dead(world, OFFICE, "schema_invalid", digest)
    assert world.desk.receive(line, BROKER).code == "correlation_mismatch"
    assert [row.entry for row in ledger(world.sim, DESK)] == ["opened"]
    [waiting] = world.desk.host.store.outbox()
    assert waiting[-1] == "waiting"


@pytest.mark.parametrize(
    ("code", "dead"), [("schema_invalid", True), ("seal_invalid", False), ("overloaded", False)]
)
async def test_a_refusal_of_the_broker_ends_a_push_if_it_says_never(
    code: str, dead: bool, world: World
) -> None:
    world.sim.disturbance.rules.append(drop(DESK, BROKER))
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(1)
    digest = ledger(world.sim, DESK)[0].requestdigest or ""
    assert world.desk.receive(said_dead(world, BROKER, code, digest), BROKER).code is None
    await world.sim.sleep(1)
    assert getattr(world.desk, "heard", []) == ([(code, BROKER)] if dead else [])
    assert [row.entry for row in ledger(world.sim, DESK)] == ["opened", *["closed"] * dead]
    assert [row[-1] for row in world.desk.host.store.outbox()] == ["dead" if dead else "waiting"]
    world.lie = "" if dead else None


# Copies and answers that come late.


@pytest.mark.parametrize("case", ["", "missing"])
async def test_a_late_copy_of_an_answered_question_may_have_had_its_effect(case: str, world: World) -> None:
    """Refused by the broker, and by the provider where a permit brings it there."""
    [answer] = await asyncio.gather(world.ask(case), return_exceptions=True)
    assert isinstance(answer, Answer if not case else Refused)
    [request] = world.sent(Request, DESK, BROKER)
    [passed] = world.sent(Request, BROKER, OFFICE)
    await world.sim.sleep(700)
    world.sim.transmit(DESK, BROKER, request.line)
    world.sim.transmit(BROKER, OFFICE, passed.line + b"\n" + (passed.permit or b""))
    await world.sim.sleep(1)
    late = [one.message for one in messages(world.sim, Refusal) if one.refusal == "message_expired"]
    assert {one.source for one in late} == {BROKER, OFFICE}
    assert [one.data.definite for one in late] == [False] * len(late)
    assert world.office.handled == 1


async def test_a_late_copy_of_what_never_was_answered_had_none(world: World) -> None:
    forger = Forger(world.sim, DESK)
    line = forger.line(
        forger.request(OFFICE, LISTED.name, subject=world.code, procedure="task", items="number")
    )
    permit = Forger(world.sim, BROKER).permit(line, subject="muni/28100:x")
    await world.sim.sleep(700)
    world.sim.transmit(DESK, BROKER, line)
    world.sim.transmit(BROKER, OFFICE, line + b"\n" + permit)
    await world.sim.sleep(1)
    said = [
        (one.message.source, one.message.code, one.message.data.definite)
        for one in answers_to(world.sim, line)
    ]
    assert set(said) == {(BROKER, "message_expired", True), (OFFICE, "message_expired", True)}


async def test_an_answer_under_way_when_the_broker_restarts_reaches_who_asked_once(world: World) -> None:
    asking = world.ask("slow", attempts=1, timeout_s=30)
    await world.sim.sleep(2)
    world.sim.crash(BROKER)
    world.sim.restart(BROKER)
    assert await asking == Answer(7)
    assert len(world.sent(Request, DESK, BROKER)) == 1, "nothing was repeated"
    rows = [(row.entry, row.code) for row in ledger(world.sim, BROKER)]
    assert rows == [("permitted", None), ("closed", None)]
    assert world.office.handled == 1


async def test_a_refusal_under_way_when_the_broker_restarts_does_too(world: World) -> None:
    world.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    asking = world.ask("missing", attempts=1, timeout_s=30)
    await world.sim.sleep(2)
    [lost] = world.sent(Refusal, OFFICE, BROKER)
    world.sim.crash(BROKER)
    world.sim.restart(BROKER)
    world.sim.transmit(OFFICE, BROKER, lost.line)
    with pytest.raises(Refused) as caught:
        await asking
    assert (caught.value.by, caught.value.definite) == (OFFICE, True)
    assert world.broker.receive(lost.line, OFFICE).code is None
    assert [row.entry for row in ledger(world.sim, BROKER)] == ["permitted", "closed"]


async def test_a_stranger_s_refusal_ends_no_question(world: World) -> None:
    """Not at the broker, nor at who asked; and nobody answers it."""
    asking = world.ask("slow", attempts=1, timeout_s=30)
    await world.sim.sleep(1)
    [digest] = [row.requestdigest or "" for row in ledger(world.sim, DESK)]
    before = len(messages(world.sim))
    stranger = world.sim.node(OTHER)._party
    for code in ("no_legal_basis", "not_found"):
        for to in (DESK, BROKER):
            line = stranger.refusal(MeshError(code), to=to, digest=digest, now_us=world.sim.now_us())
            for recipient in (DESK, BROKER):
                world.sim.transmit(OTHER, recipient, line)
    await world.sim.sleep(1)
    brought = messages(world.sim)[before:]
    world.lie = "it did not record its refusal"
    assert {one.sender for one in brought} == {OTHER}
    assert None not in [one.code for one in brought]
    assert await asking == Answer(7)


# A permit that its provider does not take.

OF_THE_PERMIT = ["message_malformed", "key_unknown", "signature_invalid", "schema_invalid", "sender_mismatch"]


@pytest.mark.parametrize("code", OF_THE_PERMIT)
async def test_of_a_permit_that_its_provider_does_not_take_who_asked_hears_from_the_broker(
    code: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One code of each step that is before anybody is known; `verify` sees that the permit was good."""
    refuse_permits(world.office, code, monkeypatch)
    [said] = await asyncio.gather(world.ask(timeout_s=2, attempts=1), return_exceptions=True)
    assert isinstance(said, Refused)
    assert (said.code, said.by, said.definite) == (code, BROKER, CODES[code].definite)
    assert [row.code for row in ledger(world.sim, BROKER) if row.entry == "closed"] == [code]
    world.lie = "the message passes" if code in ("signature_invalid", "sender_mismatch") else None


@pytest.mark.parametrize("code", ["no_legal_basis", "seal_invalid", "nothing_of_the_table"])
async def test_what_a_provider_says_to_the_broker_of_anything_else_ends_nothing(
    code: str, world: World
) -> None:
    asking = world.ask("slow", attempts=1, timeout_s=30)
    await world.sim.sleep(1)
    [passed] = world.sent(Request, BROKER, OFFICE)
    refusal = Refusal(
        specversion="1.0", id="made", source=OFFICE, type=LISTED.name, time=format_time(world.sim.now_us()),
        recipient=BROKER, datacontenttype="application/json", requestdigest=digest_of(passed.line),
        permitdigest=digest_of(passed.permit or b""), code=code, data=RefusalData(True, "no"),
    )  # fmt: skip
    line = Forger(world.sim, OFFICE).line(refusal)
    assert world.broker.receive(line, OFFICE).code == "correlation_mismatch"
    assert await asking == Answer(7)


async def test_a_reply_to_the_broker_is_nobody_s(world: World) -> None:
    asking = world.ask("slow", attempts=1, timeout_s=30)
    await world.sim.sleep(20)
    [reply] = world.sent(Reply, OFFICE, BROKER)
    other = Forger(world.sim, OFFICE).line(structs.replace(reply.message, id="other", recipient=BROKER))
    assert world.broker.receive(other, OFFICE).code == "correlation_mismatch"
    assert await asking == Answer(7)


def refuse_permits(node: Node, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def admit_permit(*_: Any, walk: Walk) -> Any:
        walk.to(PERMIT_FORM)
        raise MeshError(code)

    monkeypatch.setattr(node._party, "admit_permit", admit_permit)


# Whom an id names.


async def test_an_id_names_one_message_of_its_source_be_it_a_question_or_a_push(world: World) -> None:
    """Also after a restart, and whichever came first."""
    forger = Forger(world.sim, DESK)
    asked = forger.request(OFFICE, LISTED.name, subject=world.code, procedure="task", items="number")
    pushed = event(world, forger)
    world.sim.transmit(DESK, BROKER, forger.line(asked))
    world.sim.transmit(DESK, BROKER, forger.line(pushed))
    keep_record(world.sim, forger.line(asked))
    for _ in range(2):
        await world.sim.sleep(5)
        as_push, as_question = structs.replace(pushed, id=asked.id), structs.replace(asked, id=pushed.id)
        for message in (as_push, as_question, structs.replace(asked, traceparent="x")):
            assert world.broker.receive(forger.line(message), DESK).code == "id_conflict"
        assert world.broker.receive(forger.line(asked), DESK).code is None
        world.sim.crash(BROKER)
        world.sim.restart(BROKER)
    world.lie = "its requester never opened it"


def event(world: World, forger: Forger) -> Event:
    message_id, now_us = forger.new_id(), world.sim.now_us()
    return Event(
        specversion="1.0", id=message_id, source=DESK, type=MOVED.name, time=format_time(now_us),
        recipient=BROKER, subject=forger.seal(message_id, BROKER, encode(world.code)),
        expiry=format_time(now_us + 60_000_000),
    )  # fmt: skip


async def test_what_the_broker_refused_for_good_it_refuses_alike_after_a_restart(world: World) -> None:
    forger = Forger(world.sim, DESK)
    request = forger.request(OFFICE, LISTED.name, subject=world.code, procedure="other", items="number")
    line = forger.line(request)
    for _ in range(3):
        world.sim.transmit(DESK, BROKER, line)
        await world.sim.sleep(1)
        world.sim.crash(BROKER)
        world.sim.restart(BROKER)
    said = answers_to(world.sim, line)
    assert [one.refusal for one in said] == ["no_legal_basis"] * 3
    assert len({one.line for one in said}) == 1
    assert [row.entry for row in ledger(world.sim, BROKER)] == ["refused"]
    other = structs.replace(request, traceparent="x")
    assert world.broker.receive(forger.line(other), DESK).code == "id_conflict"
    world.lie = "it names a message that was never transmitted"


async def test_what_is_refused_for_the_moment_is_judged_afresh(world: World) -> None:
    """Of the same bytes, and nothing of the refusal is kept."""
    world.broker.authoriser.rates.per_second_max = 0
    forger = Forger(world.sim, DESK)
    line = forger.send(
        forger.request(OFFICE, LISTED.name, subject=world.code, procedure="task", items="number")
    )
    keep_record(world.sim, line)
    await world.sim.sleep(1)
    world.broker.authoriser.rates.per_second_max = None
    world.sim.transmit(DESK, BROKER, line)
    await world.sim.sleep(1)
    assert [one.refusal for one in answers_to(world.sim, line) if one.recipient == DESK] == [
        "rate_limited",
        None,
    ]


async def test_the_second_attempt_that_finds_nobody_may_not_be_the_only_one(world: World) -> None:
    forger = Forger(world.sim, DESK)
    line = forger.line(
        forger.request(OFFICE, LISTED.name, subject=world.code, procedure="task", items="number")
    )
    keep_record(world.sim, line)
    with world.sim.offline(OFFICE):
        for _ in range(2):
            world.sim.transmit(DESK, BROKER, line)
            await world.sim.sleep(1)
    said = [one.message for one in answers_to(world.sim, line) if one.recipient == DESK]
    assert [(one.code, one.data.definite) for one in said] == [
        ("recipient_unreachable", True),
        ("recipient_unreachable", False),
    ]


async def test_how_long_what_is_kept_is_kept(world: World) -> None:
    """An outcome 600 s beyond the expiry of its question, a receipt and what is in the inbox 7 days beyond the push's."""
    forger = Forger(world.sim, DESK)
    asked = forger.request(OFFICE, LISTED.name, subject=world.code, procedure="task", items="number")
    refused = forger.request(OFFICE, LISTED.name, subject=world.code, procedure="other", items="number")
    pushed = event(world, forger)
    for message in (asked, refused, pushed):
        forger.send(message)
    await world.sim.sleep(1)
    kept = {
        (node.address, *row)
        for node in (world.office, world.broker)
        for row in node.host.store.db.execute("SELECT id, keep_us FROM mesh_outcome")
    }
    inbox = world.office.host.store.db.execute("SELECT id, keep_us FROM mesh_inbox").fetchall()
    beyond_us, week_us = 600_000_000, 7 * 86_400_000_000
    assert kept == {
        (OFFICE, asked.id, parse_time(asked.expiry) + beyond_us),
        (BROKER, refused.id, parse_time(refused.expiry) + beyond_us),
        (BROKER, pushed.id, parse_time(pushed.expiry) + week_us),
    }
    assert list(map(tuple, inbox)) == [(pushed.id, parse_time(pushed.expiry) + week_us)]
    world.lie = "its requester never opened it"


# `verify`.


async def test_a_refusal_that_is_recorded_and_was_never_sent_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = world.broker.host
    perform = host.perform

    def silent(turn: Turn) -> None:
        if [row.entry for row in turn.rows] == ["refused"]:
            turn.sends.clear()
        perform(turn)

    monkeypatch.setattr(host, "perform", silent)
    [said] = await asyncio.gather(
        world.desk.ask(
            OFFICE, LISTED, Query(), subject=world.code, procedure="other", timeout_s=1, attempts=1
        ),
        return_exceptions=True,
    )
    assert isinstance(said, Refused)
    assert said.code == "timeout"
    assert [row.entry for row in ledger(world.sim, BROKER)] == ["refused"]
    world.lie = "it names a message that was never transmitted"


# What a handler may say, and what is made of it.

HANDLERS_OWN = ["message_malformed", "key_unknown", "signature_invalid", "schema_invalid", "consent_required"]
HANDLERS_OWN += ["over_broad", "manual_review", "ledger_broken"]
"""One code of each step whose codes a handler may raise."""
NOT_A_HANDLERS = ["audience_mismatch", "message_expired", "id_conflict", "zone_forbidden", "overloaded"]
NOT_A_HANDLERS += ["correlation_mismatch"]


@pytest.mark.parametrize("code", HANDLERS_OWN + NOT_A_HANDLERS)
async def test_what_a_handler_may_say_in_its_own_name(
    code: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raises(*_: Any) -> Answer:
        raise MeshError(code)

    monkeypatch.setitem(world.office._methods, LISTED.name, raises)
    monkeypatch.setattr(world.office, "log", lambda error: None)
    await asyncio.gather(world.ask(timeout_s=2, attempts=1), return_exceptions=True)
    said = [row.code for row in ledger(world.sim, OFFICE) if row.entry == "answered"]
    assert said == [code if code in HANDLERS_OWN else "handler_failed"]
    world.lie = ""


async def test_who_was_revoked_while_its_question_was_handled_gets_no_answer(world: World) -> None:
    asking = world.ask("slow", attempts=1, timeout_s=8)
    await world.sim.sleep(2)
    world.sim.registry.revoke(DESK, world.sim.now_us())
    await asyncio.gather(asking, return_exceptions=True)
    assert [row.code for row in ledger(world.sim, OFFICE) if row.entry == "answered"] == [
        "certificate_revoked"
    ]
    assert world.sent(Reply, OFFICE, BROKER) == []
    world.lie = ""


# Whether it failed for certain.


async def test_what_the_provider_decided_is_certain_however_often_it_was_asked(world: World) -> None:
    world.sim.disturbance.rules.append(drop(DESK, BROKER, times=2))
    with pytest.raises(Refused) as caught:
        await world.ask("missing")
    assert (caught.value.code, caught.value.by, caught.value.definite) == ("not_found", OFFICE, True)
    assert len(world.sent(Request, DESK, BROKER)) == 3


async def test_what_the_broker_says_of_the_third_attempt_says_nothing_of_the_first(world: World) -> None:
    world.sim.disturbance.rules.append(drop(DESK, BROKER, times=2))
    with pytest.raises(Refused) as caught:
        await world.desk.ask(OFFICE, LISTED, Query(), subject=world.code, procedure="other")
    assert (caught.value.code, caught.value.by, caught.value.definite) == ("no_legal_basis", BROKER, False)


# What is held in memory, and for how long.


async def test_when_all_is_answered_and_signed_for_nothing_is_held(world: World) -> None:
    await world.ask()
    with pytest.raises(Refused):
        await world.ask("missing")
    world.desk.publish(MOVED, world.code)
    await world.sim.sleep(5)
    assert world.office._provider._answering == {}
    assert world.office._subscriber._entering == {}
    assert world.broker.post._ids._taken.keys() == {
        (DESK, one.message.id) for one in world.sent(Request, DESK, BROKER)
    }
    # A question may live 600 s, clocks may lie 300 s apart, and its outcome is kept 600 s.
    await world.sim.sleep(600 + 300 + 600 + 1)
    forger = Forger(world.sim, OTHER)
    forger.send(forger.request(OFFICE, LISTED.name, subject=world.code, procedure="task", items="number"))
    await world.sim.sleep(1)
    assert len(world.broker.router._by_digest) == len(world.broker.post._ids._taken) == 1, "the newest alone"


async def test_of_questions_that_nobody_waits_for_1024_are_remembered(world: World) -> None:
    requester, now_us = world.desk._requester, world.sim.now_us()
    asked = []
    for _ in range(1025):
        question, _ = requester.ask(OFFICE, LISTED.name, b"{}", now_us, life_us=1, procedure="task")
        requester.expire(question)
        asked.append(question.digest)
    assert not requester.knows(asked[0])
    assert all(requester.knows(digest) for digest in asked[1:])
