"""Pushes where something goes wrong: a commit, a restart, two copies at once, somebody else's refusal."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from mesh import LegalBasis, Node, PersonalService, Service, post, receives, serves, subscriber
from mesh.broker import Earlier
from mesh.builtin import HISTORY
from mesh.errors import MeshError
from mesh.exchange import Turn, Write, digest_of
from mesh.faults import drop, repeat
from mesh.message import Event, Notice, Permit, Receipt, Refusal, RefusalData, format_time
from mesh.names import BROKER
from mesh.party import read_line
from mesh.routing import Ids, Router
from mesh.service import Caller, EventType, NoticeType, Word
from mesh.simulation import Simulation
from mesh.store import Database, Store
from mesh.testing import Forger, answers_to, ledger, messages, simulation

TOWN, CLINIC = "muni/01208/town", "muni/28100/clinic"
SECOND_US = 1_000_000


class Number(Struct, frozen=True, forbid_unknown_fields=True):
    value: int = 0


class Letter(Struct, frozen=True):
    word: Word


class Record(Struct, frozen=True):
    a: int = 0


ECHO = Service("test.echo.v1", Number, Number, title="echo", title_ja="復唱")
RECORD = PersonalService("test.record.v1", Number, Record, title="record", title_ja="記録")
MOVED = EventType("test.moved.v1", title="moved", title_ja="転居")
LETTER = NoticeType("test.letter.v1", Letter, title="letter", title_ja="手紙")


class Town(Node):
    """Asks and notifies."""


class Clinic(Node):
    """Answers, and writes down each push that it handled."""

    schema = "CREATE TABLE seen(text TEXT)"

    @serves(ECHO)
    async def echo(self, query: Number, caller: Caller) -> Number:
        return query

    @serves(RECORD)
    async def record(self, query: Number, caller: Caller, person: str) -> Record:
        return Record()

    @receives(LETTER)
    async def on_letter(self, body: Letter, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES (?)", (body.word,))

    @receives(MOVED)
    async def on_moved(self, event: Event, caller: Caller, person: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO seen VALUES ('moved')")


class World:
    """A town, a clinic, a broker and the law between them."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        sim.add(Town, TOWN)
        sim.add(Clinic, CLINIC)
        sim.allow(LegalBasis("muni/*/town", "letters", "muni/*/clinic", LETTER.name, ("word",)))
        sim.allow(LegalBasis("muni/*/clinic", "moves", "muni/*/town", MOVED.name))
        self.code = sim.code("muni/01208", sim.resident("12345678901"))

    @property
    def town(self) -> Any:
        return self.sim.node(TOWN)

    @property
    def clinic(self) -> Any:
        return self.sim.node(CLINIC)

    @property
    def broker(self) -> Any:
        return self.sim.node(BROKER)

    def notify(self, word: str = "hello") -> str:
        message_id: str = self.town.notify(
            LETTER, CLINIC, Letter(word), subject=self.code, procedure="letters"
        )
        return message_id

    def seen(self) -> list[str]:
        return [row[0] for row in self.clinic.db.execute("SELECT text FROM seen")]

    def entries(self, address: str) -> list[str]:
        return [row.entry for row in ledger(self.sim, address)]

    def event(self, forger: Forger, **attributes: Any) -> Event:
        """An event of the town, made by hand."""
        message_id, now_us = attributes.pop("id", None) or forger.new_id(), self.sim.now_us()
        fields: dict[str, Any] = {
            "time": format_time(now_us),
            "expiry": format_time(now_us + 600 * SECOND_US),
            "subject": forger.seal(message_id, BROKER, b'"%b"' % self.code.encode()),
        }
        fields |= attributes
        return Event(
            specversion="1.0",
            id=message_id,
            source=TOWN,
            type=MOVED.name,
            recipient=BROKER,
            **fields,
        )

    def lawless(self, forger: Forger, **attributes: Any) -> Any:
        """A request that is refused for good."""
        return forger.request(
            CLINIC, RECORD.name, subject=self.code, procedure="none", items="a", **attributes
        )


@pytest.fixture
async def world() -> Any:
    with simulation() as sim:
        yield World(sim)


def fail_next_commit(node: Any, statement: str) -> None:
    """The node's next commit that contains the statement fails, as on a full disk."""
    store, commit, left = node.host.store, node.host.store.commit, [1]

    def failing(writes: Sequence[Write], *rest: Any) -> None:
        if left[0] and statement in [name for name, _ in writes]:
            left[0] = 0
            store.undo_effect()
            raise sqlite3.OperationalError("disk full")
        commit(writes, *rest)

    store.commit = failing


def failed_commits(node: Any) -> list[str]:
    """The codes of the commits of the node that fail from here on."""
    failed: list[str] = []
    reload = node.host.commit_failed

    def note(error: MeshError) -> None:
        failed.append(error.code)
        reload(error)

    node.host.commit_failed = note
    return failed


# Commits that fail.


async def test_a_push_that_the_inbox_could_not_take_is_taken_the_next_time(world: World) -> None:
    fail_next_commit(world.clinic, "inbox")
    world.notify()
    await asyncio.sleep(60)
    assert world.seen() == ["hello"]


async def test_a_push_that_its_publisher_could_not_record_never_leaves(world: World) -> None:
    fail_next_commit(world.town, "outbox")
    with contextlib.suppress(MeshError):
        world.notify("lost")
    await asyncio.sleep(60)
    assert (world.seen(), world.entries(TOWN), world.entries(BROKER)) == ([], [], [])
    world.notify("kept")
    await asyncio.sleep(60)
    assert (world.seen(), world.entries(TOWN)) == (["kept"], ["opened", "closed"])
    assert world.town.host.ledger.size == 2, "a row that was not committed takes no place"


async def test_a_push_that_the_broker_could_not_take_over_comes_again_and_is_passed_on_once(
    world: World,
) -> None:
    fail_next_commit(world.broker, "outbox")
    world.notify()
    await asyncio.sleep(600)
    assert (world.seen(), world.entries(BROKER)) == (["hello"], ["permitted", "closed"])
    assert world.entries(TOWN) == ["opened", "closed"]
    assert world.broker.post.outbox.next_due_us() is None


@pytest.mark.parametrize("address", [TOWN, BROKER])
async def test_a_receipt_that_could_not_be_committed_is_asked_for_again(world: World, address: str) -> None:
    fail_next_commit(world.sim.node(address), "outbox_gone")
    world.notify()
    await asyncio.sleep(60)
    assert world.seen() == ["hello"]
    assert world.entries(address)[-1] == "closed"
    assert world.sim.node(address).host.store.outbox() == []


async def test_a_refusal_that_could_not_be_committed_is_decided_anew(world: World) -> None:
    fail_next_commit(world.broker, "outcome")
    forger = Forger(world.sim, TOWN)
    line = forger.send(world.lawless(forger))
    await asyncio.sleep(5)
    assert answers_to(world.sim, line) == []
    forger.send(line)
    await asyncio.sleep(5)
    assert [one.refusal for one in answers_to(world.sim, line)] == ["no_legal_basis"]
    assert world.entries(BROKER) == ["refused"]


async def test_receipted_pushes_are_no_longer_stored(world: World) -> None:
    world.notify()
    world.notify()
    await asyncio.sleep(60)
    assert world.broker.host.store.outbox() == []
    assert world.town.host.store.outbox() == []


# Copies and ids.


async def test_two_copies_in_one_turn_of_the_loop_are_taken_over_once_and_harm_nobody(world: World) -> None:
    failed = failed_commits(world.broker)
    world.sim.disturbance.rules.append(repeat("muni/*/town", BROKER, after_us=0))
    innocent = asyncio.ensure_future(world.town.ask(CLINIC, ECHO, Number(7), timeout_s=5))
    world.notify()
    assert await innocent == Number(7)
    await asyncio.sleep(60)
    assert (world.seen(), failed, world.entries(TOWN).count("closed")) == (["hello"], [], 2)


@pytest.fixture
async def hostile(world: World) -> Any:
    """The town's keys in hostile hands; another town may hear of what it says, so that the law takes it."""
    world.sim.add(Clinic, "muni/01208/clinic")
    world.sim.allow(LegalBasis("muni/*/clinic", "moves", "muni/*/town", MOVED.name))
    return Forger(world.sim, TOWN)


@pytest.mark.parametrize("pause_s", [0, 30])
@pytest.mark.parametrize("push_first", [True, False])
async def test_an_id_names_a_push_or_a_request(
    world: World, hostile: Forger, push_first: bool, pause_s: int
) -> None:
    """Also within one turn of the loop; whoever reuses one spoils nobody else's commit."""
    failed = failed_commits(world.broker)
    message_id = hostile.new_id()
    push = hostile.line(world.event(hostile, id=message_id))
    request = hostile.line(world.lawless(hostile, id=message_id))
    first, second = (push, request) if push_first else (request, push)
    hostile.send(first)
    await asyncio.sleep(pause_s)
    innocent = asyncio.ensure_future(world.town.ask(CLINIC, ECHO, Number(7), timeout_s=5))
    await asyncio.sleep(0)
    hostile.send(second)
    assert await innocent == Number(7)
    await asyncio.sleep(5)
    assert [one.refusal for one in answers_to(world.sim, second) if one.sender == BROKER] == ["id_conflict"]
    assert failed == []


async def test_two_equal_refusals_in_one_turn_of_the_loop_are_kept_once(world: World) -> None:
    failed = failed_commits(world.broker)
    forger = Forger(world.sim, TOWN)
    line = forger.send(world.lawless(forger))
    forger.send(line)
    await asyncio.sleep(5)
    refusals = answers_to(world.sim, line)
    assert [one.refusal for one in refusals] == ["no_legal_basis"] * 2
    assert refusals[0].line == refusals[1].line
    assert (failed, world.entries(BROKER)) == ([], ["refused"])


# Restarts of the broker.


async def test_after_a_restart_a_push_is_not_taken_for_a_request(world: World) -> None:
    world.sim.crash(CLINIC)
    world.notify()
    await asyncio.sleep(10)
    world.sim.crash(BROKER)
    world.sim.restart(BROKER)
    await asyncio.sleep(60)
    assert "closed" not in world.entries(BROKER)
    world.sim.restart(CLINIC)
    await asyncio.sleep(60)
    assert world.seen() == ["hello"]
    # Only its publisher's own outbox hears of it: nothing is refused to it.
    assert [row.code for row in ledger(world.sim, TOWN)] == [None, None]


async def test_after_a_restart_a_refusal_is_repeated_as_it_was(world: World) -> None:
    forger = Forger(world.sim, TOWN)
    line = forger.send(world.lawless(forger))
    await asyncio.sleep(5)
    world.sim.crash(BROKER)
    world.sim.restart(BROKER)
    forger.send(line)
    await asyncio.sleep(5)
    first, second = answers_to(world.sim, line)
    assert (first.refusal, first.line) == ("no_legal_basis", second.line)
    assert world.entries(BROKER) == ["refused"]


async def test_a_router_takes_up_its_own_refusals_only(world: World) -> None:
    """The answers of the broker's own services are its provider's to repeat."""
    forger = Forger(world.sim, TOWN)
    line = forger.send(forger.request(BROKER, HISTORY.name, subject=world.code, procedure="none"))
    await asyncio.sleep(5)
    party = world.broker._party
    kept = [
        party.refusal(MeshError("not_found"), to=TOWN, digest="a" * 64, now_us=0, permit_digest="b" * 64),
        party.refusal(MeshError("no_legal_basis"), to=TOWN, digest="c" * 64, now_us=0),
        line,
    ]
    store = world.broker.host.store
    for number, outcome in enumerate(kept):
        store.commit([("outcome", (TOWN, str(number), f"{number}" * 64, outcome, world.sim.now_us()))])
    router = Router(world.broker.authoriser, Ids(store.kept))
    router.load(Earlier(world.broker.host, 0))
    request = read_line(line)
    found = [
        router._find(msgspec.structs.replace(request, id=str(number)), f"{number}" * 64, world.sim.now_us())
        for number in range(3)
    ]
    assert [one and one.refusal for one in found] == [None, kept[1], None]
    # What was refused was never passed on, so nobody can be unreachable for it.
    turn = Turn()
    router._by_digest[digest_of(line)] = router._by_digest["1" * 64]
    router.on_unreachable(line, world.sim.now_us(), turn)
    assert turn.sends == []


# Refusals of pushes.


async def test_a_push_that_comes_too_fast_goes_again(world: World) -> None:
    world.broker.authoriser.rates.per_second_max = 1
    for word in ("a", "b", "c"):
        world.notify(word)
    await asyncio.sleep(600)
    assert sorted(world.seen()) == ["a", "b", "c"]
    assert "rate_limited" in [one.refusal for one in messages(world.sim)]
    assert [row.code for row in ledger(world.sim, TOWN) if row.entry == "closed"] == [None] * 3


async def test_a_push_that_the_law_does_not_know_ends(world: World) -> None:
    world.town.notify(LETTER, CLINIC, Letter("no"), subject=world.code, procedure="none")
    await asyncio.sleep(60)
    assert [row.code for row in ledger(world.sim, TOWN)] == [None, "no_legal_basis"]
    assert [row[-1] for row in world.town.host.store.outbox()] == ["dead"]


@pytest.mark.parametrize(
    ("refuser", "recipient", "code", "passage"),
    [
        (CLINIC, TOWN, "withheld", "correlation_mismatch"),
        (BROKER, CLINIC, "withheld", "audience_mismatch"),
        (BROKER, TOWN, "no_such_code", "schema_invalid"),
    ],
)
async def test_nobody_else_ends_a_push(
    world: World, refuser: str, recipient: str, code: str, passage: str
) -> None:
    world.sim.crash(BROKER)
    world.notify()
    await asyncio.sleep(3)
    [pushed] = {one.line for one in messages(world.sim, Notice)}
    forger = Forger(world.sim, refuser)
    refusal = Refusal(
        specversion="1.0",
        id=forger.new_id(),
        source=refuser,
        type=LETTER.name,
        time=format_time(world.sim.now_us()),
        recipient=recipient,
        datacontenttype="application/json",
        requestdigest=digest_of(pushed),
        code=code,
        data=RefusalData(True, "no"),
    )
    forger.send(refusal, to=TOWN)
    await asyncio.sleep(1)
    assert [one.code for one in answers_to(world.sim, pushed)] == [passage]
    world.sim.restart(BROKER)
    await asyncio.sleep(60)
    assert world.seen() == ["hello"]


# The gates.


def notice(forger: Forger, sim: Simulation, code: str, to: str, time_us: int) -> Notice:
    message_id = forger.new_id()
    return Notice(
        specversion="1.0",
        id=message_id,
        source=TOWN,
        type=LETTER.name,
        time=format_time(time_us),
        recipient=to,
        datacontenttype="application/jose",
        subject=forger.seal(message_id, BROKER, b'"%b"' % code.encode()),
        procedure="letters",
        items="word",
        expiry=format_time(time_us + SECOND_US),
        data=forger.seal(message_id, to, b'{"word":"hello"}', key_of=CLINIC),
    )


async def test_the_broker_looks_at_a_notice_s_address_before_its_time(world: World) -> None:
    forger, long_ago_us = Forger(world.sim, TOWN), world.sim.now_us() - 1000 * SECOND_US
    lines = [
        forger.send(notice(forger, world.sim, world.code, to, long_ago_us))
        for to in ("muni/00000/none", TOWN, CLINIC)
    ]
    await asyncio.sleep(5)
    refusals = [one.refusal for line in lines for one in answers_to(world.sim, line)]
    assert refusals == ["recipient_unknown", "service_unknown", "message_expired"]


@pytest.mark.parametrize(
    ("permit_s", "life_s", "accepted_s", "code"),
    [
        (0, 60, -1000, None),
        (299, 60, 0, None),
        (301, 60, 0, "message_from_future"),
        (0, 60, 301, "message_from_future"),
        (-359, 60, 0, None),
        (-361, 60, 0, "message_expired"),
        (0, 61, 0, "message_expired"),
    ],
)
async def test_a_subscriber_judges_the_times_of_a_permit(
    world: World, permit_s: int, life_s: int, accepted_s: int, code: str | None
) -> None:
    forger, broker = Forger(world.sim, TOWN), Forger(world.sim, BROKER)
    world.clinic.start()
    now_us = world.sim.now_us()
    accepted_us = now_us + accepted_s * SECOND_US
    line = forger.line(notice(forger, world.sim, world.code, CLINIC, accepted_us))
    permit = broker.permit(
        line,
        subject=world.code,
        time=format_time(now_us + permit_s * SECOND_US),
        expiry=format_time(now_us + (permit_s + life_s) * SECOND_US),
        accepted=format_time(accepted_us),
    )
    world.sim.transmit(BROKER, CLINIC, line + b"\n" + permit)
    await asyncio.sleep(0.5)
    [passed] = messages(world.sim, Notice)
    assert passed.code == code
    assert world.seen() == (["hello"] if code is None else [])


# Receipts.


@pytest.mark.parametrize("permit_digest", ["0" * 64, None])
async def test_a_receipt_for_a_permit_that_was_not_given_ends_nothing(
    world: World, permit_digest: str | None
) -> None:
    """The broker would record it, and its ledger would name a permit that nobody finds."""
    world.clinic.start()
    with world.sim.offline(CLINIC):
        world.notify()
        await asyncio.sleep(1)
    [sent] = [one for one in messages(world.sim, Notice) if one.recipient == CLINIC]
    now_us, forger = world.sim.now_us(), Forger(world.sim, CLINIC)
    receipt = Receipt(
        specversion="1.0", id=forger.new_id(), source=CLINIC, type=LETTER.name, time=format_time(now_us),
        recipient=BROKER, requestdigest=digest_of(sent.line), permitdigest=permit_digest,
    )  # fmt: skip
    forger.send(receipt)
    await asyncio.sleep(0.1)
    assert [one.code for one in messages(world.sim, Receipt) if one.sender == CLINIC] == [
        "correlation_mismatch"
    ]
    await asyncio.sleep(30)
    assert world.seen() == ["hello"]
    assert world.entries(BROKER)[-1] == "closed"


@pytest.mark.parametrize("late", ["restart", "attempts"])
async def test_a_receipt_for_a_permit_of_long_ago_counts(world: World, late: str) -> None:
    """The first copy is taken in, and its receipts are lost until the broker has forgotten the permit."""
    lost = drop(CLINIC, BROKER)
    world.sim.disturbance.rules.append(lost)
    world.notify()
    await asyncio.sleep(2 if late == "restart" else 300)
    if late == "restart":
        world.sim.crash(BROKER)
        world.sim.restart(BROKER)
    world.sim.disturbance.rules.remove(lost)
    await asyncio.sleep(60)
    [delivered] = {one.line for one in messages(world.sim, Receipt) if one.sender == CLINIC}
    assert world.broker.host.store.outbox() == []
    assert world.entries(BROKER)[-1] == "closed"
    assert ledger(world.sim, BROKER)[-1].replydigest == digest_of(delivered)


# A notice is no event.


async def test_an_event_by_the_name_of_a_notice_reaches_nobody(world: World) -> None:
    """A row for letters between clinics names one recipient each; an event would go to all of them."""
    world.sim.allow(LegalBasis("muni/*/*", "letters", "muni/*/*", LETTER.name, ("word",)))
    forger = Forger(world.sim, TOWN)
    line = forger.send(msgspec.structs.replace(world.event(forger), type=LETTER.name))
    await asyncio.sleep(30)
    assert [one.refusal for one in answers_to(world.sim, line)] == ["no_legal_basis"]
    assert [one.sender for one in messages(world.sim, Event)] == [TOWN]


@pytest.mark.parametrize("name", [LETTER.name, MOVED.name])
async def test_a_push_of_the_wrong_kind_is_refused_before_it_is_kept(world: World, name: str) -> None:
    """Whatever a broker permits: a handler gets what it was declared for."""
    forger, broker = Forger(world.sim, TOWN), Forger(world.sim, BROKER)
    world.clinic.start()
    push: Any = world.event(forger)
    if name == MOVED.name:
        push = notice(forger, world.sim, world.code, CLINIC, world.sim.now_us())
    line = forger.line(msgspec.structs.replace(push, type=name))
    now_us = world.sim.now_us()
    permit = Permit(
        broker=BROKER, requestdigest=digest_of(line), requester=TOWN, recipient=CLINIC, service=name,
        basis="any", subject=world.code, registry=1, time=format_time(now_us), accepted=push.time,
        expiry=format_time(now_us + 60 * SECOND_US),
    )  # fmt: skip
    world.sim.transmit(BROKER, CLINIC, line + b"\n" + broker.line(permit))
    await asyncio.sleep(0.5)
    assert [one.code for one in messages(world.sim, type(push))] == ["service_unknown"]
    assert world.clinic.host.store.unhandled() == []


# Dead letters. A push is remembered for ten minutes here, instead of seven days, after its expiry.

REMEMBERED_S = 600


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (post, subscriber):
        monkeypatch.setattr(module, "KEEP_US", REMEMBERED_S * SECOND_US)


async def bring_up_a_dead_letter(world: World) -> int:
    """A letter of one minute that the clinic took in, and whose receipts were all lost; its number."""
    lost = drop(CLINIC, BROKER)
    world.sim.disturbance.rules.append(lost)
    turn, now_us = Turn(), world.sim.now_us()
    world.town._publisher.notify(
        LETTER.name, CLINIC, b'{"word":"hello"}', world.code, "letters", "word", now_us, turn,
        life_us=60 * SECOND_US,
    )  # fmt: skip
    world.town.host.perform(turn)
    world.town._arm()
    await asyncio.sleep(100)
    world.sim.disturbance.rules.remove(lost)
    [letter] = world.broker.post.dead_letters()
    number: int = letter.number
    return number


def send_again(world: World, number: int) -> bool:
    """As the broker does it."""
    turn = Turn()
    again: bool = world.broker.post.send_again(number, world.sim.now_us(), turn)
    world.broker.host.perform(turn)
    world.broker.host.flush()
    world.broker._arm()
    return again


@pytest.mark.usefixtures("short_memory")
async def test_a_dead_letter_is_sent_again_while_its_recipient_remembers_it(world: World) -> None:
    number = await bring_up_a_dead_letter(world)
    assert not send_again(world, number + 1)
    assert send_again(world, number)
    assert world.broker.post.dead_letters() == []
    await asyncio.sleep(60)
    assert (world.seen(), world.entries(BROKER)[-1]) == (["hello"], "closed")
    assert world.broker.host.store.outbox() == []


@pytest.mark.usefixtures("short_memory")
async def test_a_dead_letter_that_may_have_been_forgotten_is_not_sent_again(world: World) -> None:
    number = await bring_up_a_dead_letter(world)
    await asyncio.sleep(REMEMBERED_S - 30)
    world.clinic.host.store.purge(world.clinic.host.now_us())
    assert not send_again(world, number)
    assert len(world.broker.post.dead_letters()) == 1
    await asyncio.sleep(60)
    assert world.seen() == ["hello"]


@pytest.mark.usefixtures("short_memory")
async def test_a_dead_letter_sent_again_goes_out_no_longer_than_it_is_remembered(world: World) -> None:
    number = await bring_up_a_dead_letter(world)
    world.sim.crash(CLINIC)
    assert send_again(world, number)
    await asyncio.sleep(REMEMBERED_S - 30)
    world.sim.restart(CLINIC)
    world.clinic.host.store.purge(world.clinic.host.now_us())
    await asyncio.sleep(60)
    assert world.seen() == ["hello"]
    assert len(world.broker.post.dead_letters()) == 1


@pytest.mark.usefixtures("short_memory")
async def test_a_dead_letter_stays_one_if_its_revival_cannot_be_committed(world: World) -> None:
    number = await bring_up_a_dead_letter(world)
    fail_next_commit(world.broker, "outbox_revived")
    send_again(world, number)
    assert [letter.number for letter in world.broker.post.dead_letters()] == [number]
    before = world.entries(BROKER).count("permitted")
    await asyncio.sleep(60)
    assert world.entries(BROKER).count("permitted") == before
    assert send_again(world, number)


# The database beneath.


@pytest.fixture
def store() -> Iterator[Store]:
    one = Store(schema="CREATE TABLE own(a INTEGER)")
    yield one
    one.close()


def keep(store: Store, *kept: tuple[str, int]) -> None:
    store.commit([("outcome", ("source", name, "digest", b"line", keep_us)) for name, keep_us in kept])


def test_what_is_kept_for_long_shields_nothing_from_the_purge(store: Store) -> None:
    keep(store, *((f"long {number}", 100) for number in range(600)))
    keep(store, *((f"short {number}", 10) for number in range(600)))
    assert store.purge(50) == 100, "when the next may go"
    assert {source_id[1][:4] for source_id in store._kept} == {"long"}
    assert store.db.execute("SELECT count(*) FROM mesh_outcome").fetchone()[0] == 600
    assert store.kept("source", "short 1") is None
    assert store.purge(200) is None
    assert store.db.execute("SELECT count(*) FROM mesh_outcome").fetchone()[0] == 0


def test_pushes_not_handled_yet_outlive_the_purge(store: Store) -> None:
    rows = [("source", str(number), "digest", b"line", b"permit", b"receipt", 10, b"") for number in range(3)]
    store.commit([("inbox", row) for row in rows])
    store.commit([("inbox_done", ("1", "source"))])
    store.purge(50)
    assert [store.received("source", str(number)) is None for number in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  values (1)",
        "EXPLAIN SELECT 1",
        "-- what there is\n/* all\nof it */ SELECT a FROM own",
        "WITH one AS (SELECT 1 AS a) SELECT a FROM one",
        "with one as (select 'x' as a) select replace(a, 'x', 'y') from one",
        "WITH RECURSIVE n(a) AS (VALUES (1) UNION ALL SELECT a + 1 FROM n WHERE a < 3) SELECT a FROM n",
    ],
)
def test_a_node_reads_outside_an_effect(store: Store, sql: str) -> None:
    Database(store).execute(sql).fetchall()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO own VALUES (1)",
        "WITH one AS (SELECT 1) INSERT INTO own SELECT * FROM one",
        "WITH one AS (SELECT 1) DELETE FROM own",
        "with one as (select 1) update own set a = 2",
        "WITH one AS (SELECT 1) REPLACE INTO own SELECT * FROM one",
        "WITH one AS (SELECT 1) REPLACE/**/INTO own SELECT * FROM one",
        "-- SELECT\nDELETE FROM own",
        "PRAGMA user_version = 7",
        "BEGIN",
        "SELECTED",
        "",
    ],
)
def test_a_node_writes_inside_an_effect_only(store: Store, sql: str) -> None:
    with pytest.raises(RuntimeError, match=r"self\.effect"):
        Database(store).execute(sql)
