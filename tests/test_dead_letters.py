"""What ends a push, what never does, who hears of it, and that nobody's letters shut others out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from mesh import (
    Caller,
    DeadLetter,
    Event,
    EventType,
    LegalBasis,
    MeshError,
    Node,
    NoticeType,
    Service,
    receives,
    serves,
)
from mesh.broker import Broker
from mesh.builtin import Empty
from mesh.errors import CODES, Again, Step, UsageError
from mesh.exchange import Turn
from mesh.faults import Fates, drop
from mesh.ledger import Row
from mesh.message import Notice, Receipt, Refusal, parse_time
from mesh.names import BROKER
from mesh.service import Word
from mesh.simulation import STARTS, Simulation
from mesh.testing import ledger, messages, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from nodes.agency.reconciliation import compare, gather
from tests.test_exchange_under_failure import tear

TOWN, OTHER, CLINIC = "muni/01208/town", "muni/01100/town", "muni/28100/clinic"
SECOND_CLINIC = "muni/27100/clinic"
SECOND_US = 1_000_000
EARLY = (Step.FORM, Step.KEY, Step.SIGNATURE, Step.PAYLOAD, Step.ADDRESS)
REFUSABLE = [
    name
    for name, code in CODES.items()
    if name not in ("timeout", "ledger_broken", "not_provided") and not code.sealed
]
"""With what a push can be refused: of a push nobody is asked about anybody."""


class Letter(Struct, frozen=True):
    word: Word


LETTER = NoticeType("test.letter.v1", Letter, title="Letter", title_ja="手紙")
ROOMS = Service("test.rooms.v1", Empty, Empty, title="Rooms", title_ja="会議室")
MOVED = EventType("test.moved.v1", title="Moved", title_ja="転居")


class Town(Node):
    """Notifies, and writes down what came back."""

    schema = "CREATE TABLE back(message TEXT, code TEXT, by_whom TEXT)"

    def undelivered(self, letter: DeadLetter) -> None:
        with self.effect():
            self.db.execute("INSERT INTO back VALUES (?, ?, ?)", (letter.message, letter.code, letter.by))


class Clinic(Node):
    schema = "CREATE TABLE seen(word TEXT)"

    @serves(ROOMS)
    async def rooms(self, query: Empty, caller: Caller) -> Empty:
        return Empty()

    @receives(MOVED)
    async def on_moved(self, event: Event, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES ('moved')")

    @receives(LETTER)
    async def on_letter(self, body: Letter, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES (?)", (body.word,))


class World:
    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for town in (TOWN, OTHER):
            sim.add(Town, town)
        sim.add(Clinic, CLINIC)
        sim.allow(LegalBasis("muni/*/town", "letters", "muni/*/clinic", LETTER.name, ("word",)))
        self.honest = True
        """Whether the clinic says what it found; else `verify` finds that its gate let the line pass those steps."""
        self.lie = ""
        """What `verify` says of it then."""
        self.refusing: dict[str, str] = {}
        """The codes with which the clinic refuses letters, by their word."""
        subscriber = sim.node(CLINIC)._subscriber
        read = subscriber._read

        def refuse(name: str, data: bytes) -> object:
            for word, code in self.refusing.items():
                if word.encode() in data:
                    raise MeshError(code)
            return read(name, data)

        subscriber._read = refuse

    @property
    def broker(self) -> Broker:
        return self.sim.node(BROKER, Broker)

    def notify(self, word: str, town: str = TOWN) -> str:
        code = self.sim.code(town.rsplit("/", 1)[0], self.sim.resident("12345678901"))
        return self.sim.node(town).notify(LETTER, CLINIC, Letter(word), subject=code, procedure="letters")

    def seen(self) -> list[str]:
        return [row[0] for row in self.sim.node(CLINIC).db.execute("SELECT word FROM seen")]

    def back(self, town: str = TOWN) -> list[tuple[str, str, str]]:
        return [tuple(row) for row in self.sim.node(town).db.execute("SELECT * FROM back")]

    def closed(self, address: str) -> list[Row]:
        return [row for row in ledger(self.sim, address) if row.entry == "closed"]

    def brief(self, life_s: int) -> str:
        """A letter that expires so soon."""
        town, turn, now_us = self.sim.node(TOWN), Turn(), self.sim.now_us()
        code = self.sim.code("muni/01208", self.sim.resident("12345678901"))
        message_id: str = town._publisher.notify(
            LETTER.name, CLINIC, b'{"word":"brief"}', code, "letters", "word", now_us, turn,
            life_us=life_s * SECOND_US,
        )  # fmt: skip
        town.host.perform(turn)
        town._arm()
        return message_id

    def brief_event(self, life_s: int) -> str:
        """An event that expires so soon."""
        town, turn = self.sim.node(TOWN), Turn()
        code = self.sim.code("muni/01208", self.sim.resident("12345678901"))
        message_id: str = town._publisher.publish(
            MOVED.name, code, self.sim.now_us(), turn, life_us=life_s * SECOND_US
        )
        town.host.perform(turn)
        town._arm()
        return message_id


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The trace of every test here verifies."""
    path = tmp_path / "letters.trace"
    writer = TraceWriter(path, scenario="letters", seed=1, settings={}, starts=STARTS)
    with simulation(trace=writer) as sim:
        made = World(sim)
        yield made
        if made.honest:
            ledgers = {one: ledger(sim, one) for one in (TOWN, OTHER, CLINIC, BROKER)}
            records = gather(ledgers, sim.now_us() + 1)
            assert [one for record in records for one in compare(record, ledgers)] == []
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert not made.honest or finding is None
    assert made.lie in str(finding)


async def test_a_refusal_for_good_is_a_dead_letter_at_once_of_which_the_publisher_hears(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    message_id = world.notify("bad")
    await asyncio.sleep(0.5)
    [letter] = world.broker.given_up()
    assert (letter.to, letter.attempts) == (CLINIC, 1)
    assert world.back() == [(message_id, "schema_invalid", CLINIC)]
    assert [row.code for row in world.closed(TOWN)] == [None, "schema_invalid"]
    assert [(row.code, row.provider) for row in world.closed(BROKER)] == [("schema_invalid", CLINIC)]
    sent = len(messages(world.sim))
    await asyncio.sleep(100_000)
    assert len(messages(world.sim)) == sent, "nothing goes on"
    assert world.broker.given_up() == [letter]


async def test_forty_unreadable_letters_of_one_sender_hold_up_nobody(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    for _ in range(40):
        world.notify("bad")
    world.notify("mine")
    world.notify("theirs", OTHER)
    await asyncio.sleep(1)
    assert sorted(world.seen()) == ["mine", "theirs"]
    assert len(world.broker.given_up()) == len(world.back()) == 40


async def test_forty_letters_that_nobody_signs_for_hold_up_no_other_sender(world: World) -> None:
    world.refusing["stuck"] = "seal_invalid"
    for _ in range(40):
        world.notify("stuck")
    await asyncio.sleep(10)
    world.notify("theirs", OTHER)
    await asyncio.sleep(0.1)
    assert world.seen() == ["theirs"]
    out = {one.message.id for one in messages(world.sim, Notice) if one.recipient == CLINIC}
    assert len(out) == 32 + 1, "of one sender 32 are without a receipt"
    world.refusing.clear()
    await asyncio.sleep(60)
    assert world.seen().count("stuck") == 40


@pytest.mark.parametrize("code", [one for one in REFUSABLE if CODES[one].again is Again.NEVER])
async def test_what_stays_wrong_ends_a_delivery(code: str, world: World) -> None:
    world.refusing["odd"], world.honest = code, CODES[code].step not in EARLY
    message_id = world.notify("odd")
    await asyncio.sleep(1)
    assert (len(world.broker.given_up()), world.back()) == (1, [(message_id, code, CLINIC)])


@pytest.mark.parametrize("code", [one for one in REFUSABLE if CODES[one].again is not Again.NEVER])
async def test_what_time_or_somebody_may_mend_ends_none(code: str, world: World) -> None:
    world.refusing["odd"], world.honest = code, CODES[code].step not in EARLY
    world.notify("odd")
    await asyncio.sleep(3600)
    assert (world.broker.given_up(), world.back()) == ([], [])
    world.refusing.clear()
    await asyncio.sleep(30)
    assert world.seen() == ["odd"]


@pytest.mark.parametrize("code", ["no_legal_basis", "schema_invalid"])
async def test_of_a_brokers_refusal_for_good_the_publisher_hears(
    code: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise MeshError(code)

    monkeypatch.setattr(world.broker.post, "on_push", refuse)
    message_id = world.notify("hello")
    await asyncio.sleep(1)
    assert world.back() == [(message_id, code, BROKER)]
    assert [row[-1] for row in world.sim.node(TOWN).host.store.outbox()] == ["dead"]


async def test_of_an_expiry_the_publisher_hears(world: World) -> None:
    with world.sim.offline(CLINIC):
        message_id = world.brief(60)
        await asyncio.sleep(61)
        assert world.back() == [(message_id, "message_expired", BROKER)]
    assert len(world.broker.given_up()) == 1


async def test_of_an_expiry_after_a_restart_of_the_broker_it_hears_too(world: World) -> None:
    with world.sim.offline(CLINIC):
        message_id = world.brief(60)
        await asyncio.sleep(5)
        world.sim.crash(BROKER)
        world.sim.restart(BROKER)
        world.sim.crash(CLINIC)
    await asyncio.sleep(61)
    assert world.back() == [(message_id, "message_expired", BROKER)]
    world.sim.restart(CLINIC)
    assert [row.code for row in world.closed(BROKER)] == ["message_expired"]


async def test_a_broker_that_gives_a_push_up_before_its_time_is_found(world: World) -> None:
    with world.sim.offline(CLINIC):
        world.notify("early")
        await asyncio.sleep(5)
        digest = next(row.requestdigest for row in ledger(world.sim, TOWN) if row.entry == "opened")
        delivery = world.broker.post.outbox.find(CLINIC, digest or "")
        assert delivery is not None
        turn = Turn()
        world.broker.post._say_dead(delivery, MeshError("message_expired"), world.sim.now_us(), turn)
        world.broker.host.perform(turn)
        world.broker._arm()
        await asyncio.sleep(5)
    assert [code for _, code, _ in world.back()] == ["message_expired"]
    world.honest, world.lie = False, "the broker refuses what it had permitted"


@pytest.mark.parametrize("went_out", [True, False])
async def test_a_broker_that_denies_that_a_push_went_out_or_gives_one_up_unsent_too_early_is_found(
    world: World, went_out: bool
) -> None:
    """Who never sent it closes nothing: so a broker could strike a delivery that it did not like from its ledger."""
    if not went_out:
        world.refusing["stuck"] = "seal_invalid"
        for _ in range(32):
            world.notify("stuck")
        await asyncio.sleep(5)
    with world.sim.offline(CLINIC):
        message_id = world.brief(60)
        await asyncio.sleep(61 if went_out else 5)
        digest = next(row.requestdigest for row in ledger(world.sim, TOWN) if row.id == message_id)
        broker, now_us = world.broker, world.sim.now_us()
        line = broker.party.refusal(
            MeshError("message_expired"), to=TOWN, digest=digest or "", now_us=now_us, about=LETTER.name
        )
        turn = Turn()
        broker.post._send_word(TOWN, line, now_us, turn)
        broker.host.perform(turn)
        broker._arm()
        await asyncio.sleep(5)
    assert world.back()[-1] == (message_id, "message_expired", BROKER)
    records = gather({one: ledger(world.sim, one) for one in (TOWN, CLINIC, BROKER)}, world.sim.now_us() + 1)
    said = [
        one
        for record in records
        for one in compare(record, (TOWN, CLINIC, BROKER))
        if record.key[1] == message_id
    ]
    assert bool(said) is went_out, "the commission does not know when a push expires"
    world.honest, world.lie = False, "the broker did not record the answer that it passed on"


@pytest.mark.parametrize("honest", [True, False])
async def test_an_event_may_expire_unsent_to_one_subscriber_though_it_went_to_another(
    world: World, honest: bool
) -> None:
    """And of one that did go out, the broker closes what it says of it."""
    world.sim.add(Clinic, SECOND_CLINIC)
    world.sim.allow(LegalBasis("muni/*/clinic", "moves", "muni/*/town", MOVED.name))
    if honest:
        world.refusing["stuck"] = "seal_invalid"
        for _ in range(32):
            world.notify("stuck")
        await asyncio.sleep(5)
        message_id = world.brief_event(60)
        await asyncio.sleep(70)
        assert world.closed(BROKER)[-1].id == message_id, "the second clinic signed"
        assert world.back() == [(message_id, "message_expired", BROKER)]
        assert world.seen() == []
        return
    with world.sim.offline(CLINIC):
        broker = world.broker
        broker.post._close = lambda *_: None  # type: ignore[method-assign]
        world.brief_event(60)
        await asyncio.sleep(70)
        del broker.post._close
    assert [code for _, code, _ in world.back()] == ["message_expired"]
    world.honest, world.lie = False, "did not record"


async def test_a_recipient_that_says_so_of_what_never_came_to_it_is_found(world: World) -> None:
    """Only the broker knows that a push expired before it went out."""
    world.sim.disturbance.rules.append(drop(BROKER, CLINIC))
    world.refusing["stuck"] = "seal_invalid"
    for _ in range(32):
        world.notify("stuck")
    message_id = world.brief(60)
    await asyncio.sleep(61)
    digest = next(row.requestdigest for row in ledger(world.sim, TOWN) if row.id == message_id)
    clinic, now_us = world.sim.node(CLINIC)._party, world.sim.now_us()
    line = clinic.refusal(
        MeshError("message_expired"), to=TOWN, digest=digest or "", now_us=now_us, about=LETTER.name
    )
    world.sim.transmit(CLINIC, BROKER, line)
    await asyncio.sleep(1)
    world.honest, world.lie = False, "it did not record its refusal"


async def test_of_one_that_expired_before_it_ever_went_out_the_publisher_hears(world: World) -> None:
    world.refusing["stuck"] = "seal_invalid"
    for _ in range(32):
        world.notify("stuck")
    await asyncio.sleep(5)
    message_id = world.brief(60)
    await asyncio.sleep(70)
    assert world.back() == [(message_id, "message_expired", BROKER)]
    assert world.closed(BROKER) == []


async def test_of_an_expiry_before_the_broker_signed_the_publisher_knows_itself(world: World) -> None:
    world.sim.disturbance.rules.append(drop(TOWN, BROKER))
    message_id = world.brief(60)
    await asyncio.sleep(61)
    assert world.back() == [(message_id, "message_expired", TOWN)]


async def test_a_row_of_the_law_that_ended_ends_its_deliveries(world: World) -> None:
    with world.sim.offline(CLINIC):
        message_id = world.notify("late")
        await asyncio.sleep(5)
        policy = world.broker.authoriser.policy

        def nothing(*_: Any) -> Any:
            raise MeshError("no_legal_basis")

        policy.decide, decide = nothing, policy.decide  # type: ignore[method-assign]
        await asyncio.sleep(60)
        policy.decide = decide  # type: ignore[method-assign]
    assert world.back() == [(message_id, "no_legal_basis", BROKER)]


async def test_word_of_a_dead_letter_goes_until_it_is_signed_for_and_is_heard_once(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    lost = [3]

    def lose(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        """The word itself, then the publisher's receipt for it."""
        if {sender, recipient} == {TOWN, BROKER} and now_us > 15_000 and lost[0]:
            lost[0] -= 1
            return ((None, line),)
        return None

    world.sim.disturbance.rules.append(lose)
    message_id = world.notify("bad")
    await asyncio.sleep(100)
    assert world.back() == [(message_id, "schema_invalid", CLINIC)]
    told = [one for one in messages(world.sim, Refusal) if one.recipient == TOWN]
    assert len(told) > 2
    signed = [one for one in messages(world.sim, Receipt) if one.sender == TOWN]
    assert signed[-1].fate == "delivered"
    assert [row[-1] for row in world.broker.host.store.outbox()] == ["dead"], "only the letter is kept"


async def test_a_publisher_that_is_down_hears_when_it_is_back(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    message_id = world.notify("bad")
    await asyncio.sleep(0.012)
    world.sim.crash(TOWN)
    await asyncio.sleep(1000)
    world.sim.restart(TOWN)
    await asyncio.sleep(60)
    assert world.back() == [(message_id, "schema_invalid", CLINIC)]


async def test_an_old_refusal_does_not_end_what_a_person_sent_again(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    world.notify("bad")
    await asyncio.sleep(1)
    [old] = [one.line for one in messages(world.sim, Refusal) if one.sender == CLINIC]
    with world.sim.offline(CLINIC):
        assert world.broker.deliver_again(world.broker.given_up()[0].number)
        await asyncio.sleep(1)
        world.sim.transmit(CLINIC, BROKER, old)
        await asyncio.sleep(1)
        assert world.broker.given_up() == []
        world.refusing.clear()
    await asyncio.sleep(30)
    assert world.seen() == ["bad"]


async def test_what_was_never_taken_over_is_no_dead_letter(world: World) -> None:
    """A refusal that comes a second time is heard once, and one of a question that was answered is none of a push."""
    town = world.sim.node(TOWN)
    code = world.sim.code("muni/01208", world.sim.resident("12345678901"))
    message_id = town.notify(LETTER, CLINIC, Letter("x"), subject=code, procedure="unlawful")
    await asyncio.sleep(1)
    [told] = [one.line for one in messages(world.sim, Refusal) if one.recipient == TOWN]
    world.sim.transmit(BROKER, TOWN, told)
    await town.ask(CLINIC, ROOMS, Empty())
    digest = [row.requestdigest for row in ledger(world.sim, TOWN) if row.entry == "opened"][-1]
    now_us = world.sim.now_us()
    line = world.broker.party.refusal(
        MeshError("message_expired"), to=TOWN, digest=digest or "", now_us=now_us, about=ROOMS.name
    )
    world.sim.crash(TOWN)
    world.sim.restart(TOWN)  # So that its requester no longer knows what was asked.
    world.sim.transmit(BROKER, TOWN, line)
    await asyncio.sleep(1)
    assert world.back() == [(message_id, "no_legal_basis", BROKER)]
    assert [one for one in messages(world.sim, Receipt) if one.sender == TOWN] == []
    world.honest, world.lie = False, "did not record its refusal"


async def test_an_event_is_refused_by_who_may_hear_of_it_and_by_nobody_else(world: World) -> None:
    world.sim.allow(LegalBasis(CLINIC, "moves", "muni/*/town", MOVED.name))
    world.sim.add(Clinic, SECOND_CLINIC)
    code = world.sim.code("muni/01208", world.sim.resident("12345678901"))
    world.sim.node(TOWN).publish(MOVED, code)
    await asyncio.sleep(1)
    digest = next(row.requestdigest for row in ledger(world.sim, TOWN) if row.entry == "opened")
    for address, told in ((SECOND_CLINIC, []), (CLINIC, [CLINIC])):
        line = world.sim.node(address)._party.refusal(
            MeshError("schema_invalid"),
            to=TOWN,
            digest=digest or "",
            now_us=world.sim.now_us(),
            about=MOVED.name,
        )
        world.sim.transmit(BROKER, TOWN, line)
        await asyncio.sleep(1)
        assert [by for _, _, by in world.back()] == told
    world.honest = False


async def test_word_of_a_dead_letter_is_for_its_publisher(world: World) -> None:
    world.notify("good")
    await asyncio.sleep(1)
    digest = next(row.requestdigest for row in ledger(world.sim, TOWN) if row.entry == "opened")
    line = world.broker.party.refusal(
        MeshError("message_expired"),
        to=OTHER,
        digest=digest or "",
        now_us=world.sim.now_us(),
        about=LETTER.name,
    )
    world.sim.transmit(BROKER, TOWN, line)
    await asyncio.sleep(1)
    assert [one.code for one in messages(world.sim, Refusal)] == ["audience_mismatch"]
    assert world.back() == []
    world.honest, world.lie = False, "it did not record its refusal"


async def test_nobody_but_the_recipient_and_the_broker_can_tell_of_a_dead_letter(world: World) -> None:
    world.notify("good")
    await asyncio.sleep(1)
    digest = next(row.requestdigest for row in ledger(world.sim, TOWN) if row.entry == "opened")
    said = {"to": TOWN, "digest": digest or "", "now_us": world.sim.now_us(), "about": LETTER.name}
    for address, code, refused in (
        (OTHER, "schema_invalid", "correlation_mismatch"),
        (CLINIC, "seal_invalid", "correlation_mismatch"),
        (CLINIC, "schema_invalid", None),
    ):
        line = world.sim.node(address)._party.refusal(MeshError(code), **said)
        world.sim.transmit(BROKER, TOWN, line)
        await asyncio.sleep(1)
        assert messages(world.sim)[-1 if refused else -2].code == refused
    assert [code for _, code, _ in world.back()] == ["schema_invalid"]


# A disk that is full for a while.


@pytest.mark.parametrize("times", [1, 5])
async def test_of_an_expiry_that_could_not_be_committed_the_publisher_hears_all_the_same(
    times: int, world: World
) -> None:
    with world.sim.offline(CLINIC):
        message_id = world.brief(60)
        await asyncio.sleep(59)
        tear(world.broker, times=times)
        await asyncio.sleep(30)
    assert world.back() == [(message_id, "message_expired", BROKER)]
    assert len(world.broker.given_up()) == 1
    assert [row.code for row in world.closed(BROKER)] == ["message_expired"]


async def test_of_a_row_that_ended_likewise(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise MeshError("no_legal_basis")

    with world.sim.offline(CLINIC):
        message_id = world.notify("hello")
        await asyncio.sleep(5)
        monkeypatch.setattr(world.broker.post, "_basis_for", refuse)
        tear(world.broker, times=2)
        await asyncio.sleep(60)
    assert world.back() == [(message_id, "no_legal_basis", BROKER)]


async def test_a_publisher_whose_own_push_expires_hears_of_it_likewise(world: World) -> None:
    with world.sim.offline(BROKER):
        message_id = world.brief(60)
        await asyncio.sleep(59)
        tear(world.sim.node(TOWN), times=3)
        await asyncio.sleep(30)
    assert world.back() == [(message_id, "message_expired", TOWN)]


async def test_no_record_names_a_permit_that_was_not_committed(world: World) -> None:
    """The last attempt before the expiry could not be recorded, and so never went out."""
    with world.sim.offline(CLINIC):
        world.brief(60)
        await asyncio.sleep(1)
        recorded = len([row for row in ledger(world.sim, BROKER) if row.entry == "permitted"])
        tear(world.broker, times=20)
        await asyncio.sleep(58)
        node = world.broker
        del node.host.commit  # type: ignore[attr-defined]
        await asyncio.sleep(10)
    permitted = [row.permitdigest for row in ledger(world.sim, BROKER) if row.entry == "permitted"]
    assert len(permitted) == recorded
    assert [row.permitdigest for row in world.closed(BROKER)] == [permitted[-1]]


async def test_what_could_not_be_purged_is_still_there(world: World) -> None:
    with world.sim.offline(CLINIC):
        world.brief(60)
        await asyncio.sleep(61)
    outbox, turn = world.broker.post.outbox, Turn()
    outbox.purge(world.sim.now_us() + SECOND_US, turn)
    assert (world.broker.given_up(), [name for name, _ in turn.writes]) == ([], ["outbox_gone"])
    for undo in turn.undo:
        undo(MeshError("storage_unavailable"))
    assert len(world.broker.given_up()) == 1


async def test_a_letter_that_could_not_be_sent_again_is_said_to_be_dead_still(world: World) -> None:
    with world.sim.offline(CLINIC):
        world.brief(60)
        await asyncio.sleep(61)
    (letter,) = world.broker.given_up()
    tear(world.broker)
    assert not world.broker.deliver_again(letter.number)
    assert world.broker.deliver_again(letter.number)
    await asyncio.sleep(1)
    assert world.seen() == ["brief"]


# What its publisher sends again.


def letters(world: World) -> list[tuple[str, str, str]]:
    return [(one.message, one.code, one.by) for one in world.sim.node(TOWN).dead_letters()]


def lines_of(world: World, message_id: str) -> set[bytes]:
    return {one.line for one in messages(world.sim, Notice) if one.message.id == message_id}


async def test_a_publisher_lists_its_dead_letters_and_sends_the_same_bytes_again(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    ids = [world.notify("bad one"), world.notify("bad two")]
    await asyncio.sleep(1)
    assert letters(world) == [(one, "schema_invalid", CLINIC) for one in ids]
    world.sim.crash(TOWN)
    world.sim.restart(TOWN)
    assert letters(world) == [(one, "schema_invalid", CLINIC) for one in ids], "also after a restart"
    town = world.sim.node(TOWN)
    assert town.send_again(ids[0]) == ids[0]
    await asyncio.sleep(1)
    assert letters(world)[1:] == [(ids[0], "schema_invalid", CLINIC)], "refused once more"
    world.refusing.clear()
    for one in ids:
        assert town.send_again(one) == one
        assert town.send_again(one) == one, "in one turn it is sent once"
    await asyncio.sleep(1)
    assert sorted(world.seen()) == ["bad one", "bad two"]
    assert [len(lines_of(world, one)) for one in ids] == [1, 1]
    assert (letters(world), world.broker.given_up()) == ([], [])
    with pytest.raises(UsageError, match=f"{TOWN} has no dead letter '{ids[0]}'"):
        town.send_again(ids[0])


async def test_what_expired_is_sent_again_as_a_new_message(world: World) -> None:
    with world.sim.offline(CLINIC):
        old = world.brief(60)
        await asyncio.sleep(61)
        assert letters(world) == [(old, "message_expired", BROKER)]
    new = world.sim.node(TOWN).send_again(old)
    assert world.sim.node(TOWN).send_again(old) == new, "in one turn there is one new message"
    await asyncio.sleep(1)
    assert new != old
    assert (world.seen(), letters(world)) == (["brief"], [])
    [sent] = {
        one.message.id: one.message for one in messages(world.sim, Notice) if one.message.id == new
    }.values()
    assert parse_time(sent.expiry) - parse_time(sent.time) == 60 * SECOND_US, (
        "it lives as long as the first did"
    )


async def test_what_expired_before_the_broker_signed_is_sent_again_too(world: World) -> None:
    world.sim.disturbance.rules.append(drop(TOWN, BROKER))
    old = world.brief(60)
    await asyncio.sleep(61)
    assert letters(world) == [(old, "message_expired", TOWN)]
    world.sim.disturbance.rules.clear()
    assert world.sim.node(TOWN).send_again(old) != old
    await asyncio.sleep(1)
    assert world.seen() == ["brief"]
    assert world.sim.node(TOWN).host.store.outbox() == []


async def test_what_the_broker_had_refused_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise MeshError("no_legal_basis")

    with monkeypatch.context() as patch:
        patch.setattr(world.broker.post, "on_push", refuse)
        message_id = world.notify("hello")
        await asyncio.sleep(1)
    assert letters(world) == [(message_id, "no_legal_basis", BROKER)]
    assert world.sim.node(TOWN).send_again(message_id) == message_id
    await asyncio.sleep(1)
    assert world.seen() == ["hello"]
    assert world.sim.node(TOWN).host.store.outbox() == []


@pytest.mark.parametrize("kind", ["sealing", "signing"])
async def test_what_is_sealed_for_or_signed_by_a_revoked_key_is_sent_again_as_a_new_message(
    kind: str, world: World
) -> None:
    """The bytes could not arrive: a delivery whose seal nobody opens, and a push that no broker believes."""
    whose, away = (CLINIC, CLINIC) if kind == "sealing" else (TOWN, BROKER)
    with world.sim.offline(away):
        old = world.notify("hello")
        await asyncio.sleep(2)
        world.sim.change_keys(whose, kind, revoked=True)
    await asyncio.sleep(30)
    code = "seal_key_revoked" if kind == "sealing" else "certificate_revoked"
    assert letters(world) == [(old, code, CLINIC if kind == "sealing" else BROKER)]
    assert world.sim.node(TOWN).send_again(old) != old
    await asyncio.sleep(1)
    assert world.seen() == ["hello"]


async def test_what_was_sent_again_when_the_receipt_was_lost_is_delivered_once(world: World) -> None:
    world.refusing["bad"] = "schema_invalid"
    message_id = world.notify("bad")
    await asyncio.sleep(1)
    world.refusing.clear()
    world.sim.disturbance.rules.append(drop(BROKER, TOWN, times=2))
    world.sim.node(TOWN).send_again(message_id)
    await asyncio.sleep(60)
    assert world.seen() == ["bad"]
    assert world.sim.node(TOWN).host.store.outbox() == []
    assert world.broker.host.store.outbox() == []


async def test_what_can_be_sent_again_is_forgotten_in_time(world: World) -> None:
    """A push that arrived seven days after its expiry; a dead letter thirty days after it was heard of."""
    town = world.sim.node(TOWN)

    def kept() -> int:
        return int(town.db.execute("SELECT count(*) FROM mesh_push").fetchone()[0])

    world.refusing["bad"] = "schema_invalid"
    world.brief(60)
    await asyncio.sleep(10)
    world.refusing["brief"] = "schema_invalid"
    message_id = world.brief(60)
    await asyncio.sleep(8 * 86_400)
    assert (kept(), [one for one, _, _ in letters(world)]) == (1, [message_id])
    await asyncio.sleep(23 * 86_400)
    assert (kept(), letters(world)) == (0, [])
    with pytest.raises(UsageError, match="no dead letter"):
        town.send_again(message_id)


@pytest.mark.parametrize(("by", "code"), [(CLINIC, "schema_invalid"), (BROKER, "message_expired")])
async def test_word_that_a_revoked_key_signed_is_given_anew(by: str, code: str, world: World) -> None:
    """Its publisher would not believe it. What its recipient refused goes to it once more, and is refused by its new key."""
    world.refusing["brief"] = "schema_invalid"
    with world.sim.offline(CLINIC if by == BROKER else OTHER):
        message_id = world.brief(600)
        await asyncio.sleep(0.012)
        world.sim.crash(TOWN)
        await asyncio.sleep(610 if by == BROKER else 60)
        assert [one.to for one in world.broker.given_up()] == [CLINIC]
        world.sim.change_keys(by, "signing", revoked=True)
        world.sim.restart(TOWN)
        await asyncio.sleep(60)
    assert world.back() == [(message_id, code, by)]


async def test_a_broker_has_no_dead_letters_of_its_own(world: World) -> None:
    for call in (world.broker.dead_letters, lambda: world.broker.send_again("x")):
        with pytest.raises(UsageError, match="is not for a broker"):
            call()
