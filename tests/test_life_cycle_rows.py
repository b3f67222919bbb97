"""One focused test for each row of each life cycle: what `tests/sweeps/life_cycle_mutants.py` breaks, one of these sees.

A class tests one table of `mesh.exchange`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from msgspec import Struct, structs

from mesh import Caller, LegalBasis, Node, NoticeType, Service, receives, serves
from mesh.broker import Broker
from mesh.errors import MeshError, NotFound, Refused
from mesh.exchange import Happening, Turn
from mesh.faults import drop
from mesh.message import Notice, Reply, Request, encode
from mesh.names import BROKER
from mesh.outbox import Delivery, Outbox, Posting
from mesh.places import UNRECEIPTED_MAX
from mesh.service import Word
from mesh.simulation import Simulation
from mesh.testing import Forger, Transmission, answers_to, ledger, messages, simulation

DESK, OFFICE, THIRD = "muni/01208/desk", "muni/28100/office", "muni/13100/office"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    case: Word = ""


class Answer(Struct, frozen=True):
    number: int


class Note(Struct, frozen=True):
    word: Word


ECHO = Service("rows.echo.v1", Query, Answer, title="Echo", title_ja="反響")
NOTE = NoticeType("rows.note.v1", Note, title="Note", title_ja="通知")


class Desk(Node):
    """Asks and pushes."""

    schema = "CREATE TABLE done(number INTEGER)"


class Office(Node):
    """Answers and receives; how, says the case."""

    schema = "CREATE TABLE done(number INTEGER)"
    handled = 0

    def log(self, error: Exception) -> None:
        self.logged: list[Exception] = [*getattr(self, "logged", []), error]

    @serves(ECHO)
    async def echo(self, query: Query, caller: Caller) -> Answer:
        self.handled += 1
        if query.case == "slow":
            await asyncio.sleep(20)
        if query.case == "missing":
            raise NotFound
        return Answer(self.handled)

    @receives(NOTE)
    async def note(self, note: Note, caller: Caller, person: str) -> None:
        self.handled += 1
        for _ in range(int(note.word[0])):
            with self.effect():
                self.db.execute("INSERT INTO done VALUES (1)")
        if note.word[1:] == " fails" or (note.word[1:] == " once" and self.handled == 1):
            raise ValueError("the handler fails")

    def effects(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM done").fetchone()[0])


class World:
    """A desk, an office and the broker between them."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        sim.add(Desk, DESK)
        sim.add(Office, OFFICE)
        sim.add(Office, THIRD)
        sim.allow(LegalBasis(DESK, "task", OFFICE, NOTE.name, ("word",)))
        self.desk = sim.node(DESK, Desk)
        self.broker = sim.node(BROKER, Broker)

    @property
    def office(self) -> Office:
        return self.sim.node(OFFICE, Office)

    async def ask(self, case: str = "", **options: Any) -> Answer:
        return await self.desk.ask(OFFICE, ECHO, Query(case), **options)

    def sent(self, kind: type[Struct], sender: str, recipient: str) -> list[Transmission]:
        return [one for one in messages(self.sim, kind) if (one.sender, one.recipient) == (sender, recipient)]

    async def again(self, one: Transmission, times: int = 1) -> list[str | None]:
        """Send a line again from where it came; what its gate made of each."""
        before = len(messages(self.sim))
        for _ in range(times):
            self.sim.transmit(
                one.sender, one.recipient, one.line + (b"\n" + one.permit if one.permit else b"")
            )
            await self.sim.sleep(1)
        since = messages(self.sim)[before:]
        return [sent.code for sent in since if (sent.sender, sent.line) == (one.sender, one.line)]

    def closed(self, address: str) -> list[str | None]:
        return [row.code for row in ledger(self.sim, address) if row.entry == "closed"]

    def unreachable(self) -> Turn:
        """The transport says that nobody was at the office."""
        [passed, *_] = self.sent(Request, BROKER, OFFICE)
        turn = Turn()
        self.broker.router.on_unreachable(passed.line + b"\n", self.sim.now_us(), turn)
        return turn


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation() as sim:
        yield World(sim)


class TestRequester:
    async def test_an_answer_closes_once_however_often_it_comes(self, world: World) -> None:
        assert await world.ask() == Answer(1)
        assert world.desk._requester.waited_for() == []
        assert await world.again(world.sent(Reply, BROKER, DESK)[0], 3) == [None] * 3
        assert [row.entry for row in ledger(world.sim, DESK)] == ["opened", "closed"]

    async def test_who_waits_in_vain_hears_so_and_a_late_answer_is_recorded_once(self, world: World) -> None:
        world.sim.disturbance.rules.append(drop(BROKER, DESK, times=1))
        with pytest.raises(Refused, match="timeout"):
            await world.ask(timeout_s=5, attempts=1)
        assert world.desk._requester.waited_for() == []
        assert world.closed(DESK) == []
        [lost] = world.sent(Reply, BROKER, DESK)
        assert await world.again(lost, 3) == [None] * 3
        assert world.closed(DESK) == [None]

    async def test_an_answer_that_comes_after_the_refusal_of_an_attempt_is_recorded_too(
        self, world: World
    ) -> None:
        with world.sim.offline(OFFICE), pytest.raises(Refused, match="recipient_unreachable"):
            await world.ask(timeout_s=5, attempts=1)
        assert await world.again(world.sent(Request, DESK, BROKER)[0]) == [None]
        assert world.closed(DESK) == ["recipient_unreachable", None]
        assert await world.again(world.sent(Reply, BROKER, DESK)[0], 3) == [None] * 3
        assert world.closed(DESK) == ["recipient_unreachable", None]


class TestBroker:
    async def test_only_of_what_is_unanswered_it_says_that_nobody_was_there(self, world: World) -> None:
        asked = asyncio.create_task(world.ask("slow", attempts=1, timeout_s=30), name="asks")
        await world.sim.sleep(5)
        await world.again(world.sent(Request, DESK, BROKER)[0])
        first, second = world.unreachable(), world.unreachable()
        assert [row.code for row in first.rows] == ["recipient_unreachable"]
        assert second.rows == second.sends == []
        assert await asked == Answer(1)
        assert world.unreachable().rows == []

    async def test_the_first_attempt_that_finds_nobody_is_said_so(self, world: World) -> None:
        with world.sim.offline(OFFICE), pytest.raises(Refused, match="recipient_unreachable"):
            await world.ask(attempts=1, timeout_s=5)
        assert world.closed(BROKER) == ["recipient_unreachable"]
        assert world.unreachable().rows == []
        assert await world.again(world.sent(Request, DESK, BROKER)[0]) == [None]
        assert world.closed(BROKER) == ["recipient_unreachable", None]

    async def test_a_late_answer_is_recorded_after_the_refusal_of_its_attempt(self, world: World) -> None:
        asked = asyncio.create_task(world.ask("slow", attempts=1, timeout_s=30), name="asks")
        await world.sim.sleep(5)
        world.sim.node(BROKER).host.perform(world.unreachable())
        with pytest.raises(Refused, match="recipient_unreachable"):
            await asked
        await world.sim.sleep(30)
        assert world.closed(BROKER) == ["recipient_unreachable", None]
        assert world.unreachable().rows == []
        assert await world.again(world.sent(Reply, OFFICE, BROKER)[0]) == [None]

    async def test_a_repeat_of_what_was_answered_is_unanswered_again(self, world: World) -> None:
        await world.ask()
        with world.sim.offline(OFFICE):
            assert await world.again(world.sent(Request, DESK, BROKER)[0]) == [None]
        assert world.closed(BROKER) == [None, "recipient_unreachable"]

    async def test_the_recorded_answer_goes_on_again_without_a_row(self, world: World) -> None:
        await world.ask()
        request = world.sent(Request, DESK, BROKER)[0]
        assert await world.again(request, 2) == [None] * 2
        assert world.unreachable().rows == [], "the repeat was answered"
        for _ in range(2):
            assert await world.again(world.sent(Reply, OFFICE, BROKER)[0]) == [None]
            assert world.unreachable().rows == []
        assert world.closed(BROKER) == [None]
        assert len(world.sent(Reply, BROKER, DESK)) == 5
        assert await world.again(request) == [None]

    async def test_each_other_answer_has_a_row(self, world: World) -> None:
        """An office that signs a second and a third answer to one question is passed on, and remembered."""
        await world.ask()
        [reply] = world.sent(Reply, OFFICE, BROKER)
        office = Forger(world.sim, OFFICE)
        for number in (1, 2):
            other = office.line(structs.replace(reply.message, id=f"another-{number}"))
            world.sim.transmit(OFFICE, BROKER, other)
            await world.sim.sleep(1)
        assert world.closed(BROKER) == [None] * 3
        assert world.unreachable().rows == []
        assert await world.again(reply) == [None]

    async def test_what_it_refused_for_good_gets_the_same_refusal(self, world: World) -> None:
        """Also when it comes a third time."""
        forger = Forger(world.sim, DESK)
        world.sim.allow(LegalBasis("muni/*/other", "task", OFFICE, ECHO.name))
        line = forger.send(forger.request(OFFICE, ECHO.name, encode(Query())))
        await world.sim.sleep(1)
        for _ in range(3):
            world.sim.transmit(DESK, BROKER, line)
            await world.sim.sleep(1)
        said = answers_to(world.sim, line)
        assert [one.refusal for one in said] == ["no_legal_basis"] * 4
        assert len({one.line for one in said}) == 1
        assert [row.entry for row in ledger(world.sim, BROKER) if row.service == ECHO.name] == ["refused"]


class TestProvider:
    async def test_a_repeat_waits_for_the_handler_and_gets_what_was_kept(self, world: World) -> None:
        asked = asyncio.create_task(world.ask("slow", attempts=1, timeout_s=40), name="asks")
        await world.sim.sleep(5)
        request = world.sent(Request, DESK, BROKER)[0]
        assert await world.again(request, 2) == [None] * 2
        assert world.sent(Reply, OFFICE, BROKER) == []
        assert await asked == Answer(1)
        assert await world.again(request, 2) == [None] * 2
        assert len(world.sent(Reply, OFFICE, BROKER)) == 3
        assert world.office.handled == 1

    @pytest.mark.parametrize("case", ["", "missing"])
    async def test_it_answers_once(self, case: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = world.office._provider
        codes: list[str] = []

        def twice(name: str) -> Any:
            once = getattr(provider, name)

            def finish(asked: Any, *rest: Any) -> None:
                once(asked, *rest)
                # The question comes again before the outcome is committed.
                [passed] = world.sent(Request, BROKER, OFFICE)
                world.office.receive(passed.line + b"\n" + (passed.permit or b""), BROKER)
                with pytest.raises(MeshError) as caught:
                    provider._finish(asked, b"another", None, Happening.ANSWER, 0, Turn())
                codes.append(caught.value.code)

            return finish

        for name in ("answer", "refuse"):
            monkeypatch.setattr(provider, name, twice(name))
        if case:
            with pytest.raises(Refused, match="not_found"):
                await world.ask(case)
        else:
            assert await world.ask(case) == Answer(1)
        assert codes == ["correlation_mismatch"]
        assert world.office.handled == 1


def digests(deliveries: Iterable[Delivery]) -> list[str]:
    return [one.digest for one in deliveries]


class Box:
    """An outbox with so many deliveries of one sender to one recipient, and its clock."""

    def __init__(self, kind: type[Delivery], count: int = 1, expiry_us: int = 10**15) -> None:
        self.now_us = 0
        self.outbox = Outbox(lambda limit: 0, lambda: self.now_us, kind)
        self.added = [self.add(number, expiry_us) for number in range(count)]

    def add(self, number: int, expiry_us: int = 10**15) -> Any:
        return self.outbox.add("from", "to", str(number), b"line", expiry_us, self.now_us)

    def due(self) -> list[str]:
        """What goes out when something is due next."""
        when_us = self.outbox.next_due_us()
        assert when_us is not None
        self.now_us = max(self.now_us, when_us)
        return digests(self.outbox.take_due(self.now_us, Turn())[0])

    def end(self, number: int, happening: str) -> Any:
        found = self.outbox.find("to", str(number))
        assert found is not None
        return self.outbox.end(found, happening)

    def is_over(self) -> bool:
        return self.outbox.next_due_us() is None and self.outbox.find("to", "0") is None


class _OfDeliveries:
    """What publisher and relay have in common."""

    kind: type[Delivery]

    def test_it_goes_out_again_and_again_within_the_limit(self) -> None:
        box = Box(self.kind, UNRECEIPTED_MAX + 1)
        first = [str(number) for number in range(UNRECEIPTED_MAX)]
        for _ in range(4):
            assert box.due() == first
        for number in range(2):
            assert box.end(number, Happening.RECEIPT)[0] == "outbox_gone"
        assert box.due() == [str(UNRECEIPTED_MAX)]

    def test_what_is_added_waits(self) -> None:
        assert Box(self.kind).added[0][1][-1] == "waiting"

    @pytest.mark.parametrize("sent", [True, False])
    @pytest.mark.parametrize(
        ("happening", "write", "dead"),
        [(Happening.RECEIPT, "outbox_gone", []), (Happening.REFUSE, "outbox_dead", [1])],
    )
    def test_a_receipt_or_a_final_refusal_ends_it(
        self, happening: str, write: str, dead: list[int], sent: bool
    ) -> None:
        box = Box(self.kind)
        if sent:
            assert box.due() == ["0"]
        assert box.end(0, happening)[0] == write
        assert box.is_over()
        assert list(box.outbox.dead) == dead

    @pytest.mark.parametrize("sent", [True, False])
    def test_when_it_expires_it_is_a_dead_letter(self, sent: bool) -> None:
        box = Box(self.kind, UNRECEIPTED_MAX + 1, 500_000)
        box.due()
        number = 1 if sent else UNRECEIPTED_MAX + 1
        box.now_us = 500_000
        turn = Turn()
        box.outbox.take_due(500_000, turn)
        assert ("outbox_dead", ("dead", number)) in turn.writes
        assert number in box.outbox.dead
        assert box.is_over()


class TestPublisher(_OfDeliveries):
    kind = Posting


class TestRelay(_OfDeliveries):
    kind = Delivery

    def test_what_the_law_no_longer_lets_go_is_a_dead_letter(self) -> None:
        box = Box(Delivery)
        box.due()
        assert box.end(0, Happening.FORBID) == ("outbox_dead", ("dead", 1))
        assert box.is_over()

    def test_a_dead_letter_that_is_sent_again_waits_for_a_place(self) -> None:
        box = Box(Delivery)
        box.due()
        box.end(0, Happening.FORBID)
        for number in range(1, UNRECEIPTED_MAX + 1):
            box.add(number)
        assert len(box.due()) == UNRECEIPTED_MAX
        assert box.outbox.revive(1, 10**15, 0) == ("outbox_revived", ("waiting", 10**15, 1))
        assert box.outbox.take_due(box.now_us, Turn())[0] == []
        box.end(5, Happening.RECEIPT)
        assert digests(box.outbox.take_due(box.now_us, Turn())[0]) == ["0"]


class TestSubscriber:
    async def push(self, world: World, word: str) -> None:
        subject = world.sim.code("muni/01208", world.sim.resident("00000000019"))
        world.desk.notify(NOTE, OFFICE, Note(word), subject=subject, procedure="task")
        await world.sim.sleep(30)

    async def test_a_repeat_gets_its_receipt_and_no_second_effect(self, world: World) -> None:
        await self.push(world, "1")
        [delivered] = world.sent(Notice, BROKER, OFFICE)
        receipts = len(answers_to(world.sim, delivered.line))
        assert await world.again(delivered, 2) == [None] * 2
        assert len(answers_to(world.sim, delivered.line)) == receipts + 2
        assert (world.office.handled, world.office.effects()) == (1, 1)
        assert getattr(world.office, "logged", []) == []

    async def test_two_copies_in_one_turn_are_one(self, world: World) -> None:
        receive = world.office.receive
        world.office.receive = lambda line, peer: (receive(line, peer), receive(line, peer))[1]  # type: ignore[method-assign]
        await self.push(world, "1")
        assert (world.office.handled, world.office.effects()) == (1, 1)
        assert [row.entry for row in ledger(world.sim, OFFICE)] == ["answered"]
        assert getattr(world.office, "logged", []) == []

    @pytest.mark.parametrize(
        ("word", "handled", "effects", "logged"),
        [
            ("0", 1, 0, 0),
            ("2", 1, 2, 0),
            ("0 once", 2, 0, 1),
            ("1 fails", 1, 1, 1),
            ("2 fails", 1, 2, 1),
        ],
    )
    async def test_an_effect_happens_once_and_a_handler_without_one_is_tried_again(
        self, word: str, handled: int, effects: int, logged: int, world: World
    ) -> None:
        await self.push(world, word)
        office = world.office
        found = (office.handled, office.effects(), len(getattr(office, "logged", [])))
        assert found == (handled, effects, logged)
