"""A question and its answer when something fails on the way: each party hears of it, once, and keeps its books.

What a node's own writes do meanwhile is in tests/test_effects_under_failure.py, which shares the parties here.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, Struct, UnsetType

from mesh import base64url, provider, requester
from mesh.broker import Broker
from mesh.builtin import CONSENTS, LEDGER_MARK, ConsentsQuery, MarkQuery
from mesh.clock import VirtualLoop
from mesh.consent import Consent, ConsentBook, Difference, sign_consent, sign_difference
from mesh.errors import CODES, MeshError, NotFound, Refused
from mesh.exchange import Write
from mesh.faults import drop, repeat
from mesh.ledger import Row
from mesh.message import Notice, Request, format_time
from mesh.names import BROKER, Zone
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.recorder import Passage
from mesh.runner import run_scenario
from mesh.scenario import scenario
from mesh.service import Caller, NoticeType, PersonalService, Service, Word, receives, serves
from mesh.simulation import STARTS, Simulation
from mesh.testing import Forger, answers_to, ledger, messages, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from mesh.view import View

DESK, OFFICE, OTHER, PORTAL = "muni/01208/desk", "muni/28100/office", "muni/13100/office", "gov/portal/inbox"
NUMBER = "123456789018"
"""Twelve digits with the check digit of a personal number."""


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    case: Word = ""
    number: int = 0


class Answer(Struct, frozen=True):
    number: int


class Facts(Struct, frozen=True):
    age: int | UnsetType = UNSET


class Long(Struct, frozen=True):
    text: str


class Note(Struct, frozen=True):
    word: Word


ECHO = Service("test.echo.v1", Query, Answer, title="Echo", title_ja="反響")
LONG = Service("test.long.v1", Query, Long, title="Long", title_ja="長文")
FACTS = PersonalService("test.facts.v1", Query, Facts, title="Facts", title_ja="事実")
NOTE = NoticeType("test.note.v1", Note, title="Note", title_ja="通知")


class Watched(Node, engine=True):
    """A node that keeps what comes in; as part of the engine, it may take the place of its methods."""

    received: tuple[bytes, ...] = ()
    impatient: asyncio.Task[Any] | None = None
    """Gives up in the very turn in which its answer comes."""

    def receive(self, line: bytes, peer: str) -> Passage:
        self.received = (*self.received, line)
        passage = super().receive(line, peer)
        if self.impatient is not None:
            self.impatient.cancel()
        return passage


class Recording(Watched):
    """A node with a table of its own, in which each effect leaves a number."""

    schema = "CREATE TABLE done(number INTEGER NOT NULL)"

    def write(self, number: int) -> None:
        self.db.execute("INSERT INTO done VALUES (?)", (number,))

    def log(self, error: Exception) -> None:
        """What handlers raise is expected here."""


class Desk(Recording):
    pass


class Portal(Recording):
    zone = Zone.CLOUD


class Office(Recording):
    handled = 0

    @serves(ECHO)
    async def echo(self, query: Query, caller: Caller) -> Answer:
        self.handled += 1
        if query.case == "slow":
            await asyncio.sleep(20)
        elif query.case == "write":
            with self.effect():
                self.write(query.number)
        elif query.case == "quoting":
            raise NotFound(f"no nursery {NUMBER}")
        elif query.case == "malformed":
            raise MeshError("schema_invalid", f"what is {NUMBER}?")
        elif query.case == "other type":
            with self.effect():
                self.write(query.number)
            return Facts(query.number)  # type: ignore[return-value]
        elif query.case == "repeated":
            # The line comes again when the handler is done and its answer is not committed yet.
            await asyncio.sleep(1)
            asyncio.get_running_loop().call_soon(self.receive, self.received[-1], BROKER)
        return Answer(query.number)

    @serves(LONG)
    async def long(self, query: Query, caller: Caller) -> Long:
        with self.effect():
            self.write(1)
        return Long("y" * query.number)

    @serves(FACTS)
    async def facts(self, query: Query, caller: Caller, person: str) -> Facts:
        self.handled += 1
        return Facts(40)


class Visitor(Office):
    """Asks another office before it writes, as a push handler may."""

    @receives(NOTE)
    async def noted(self, body: Note, caller: Caller, person: str) -> None:
        self.handled += 1
        await self.ask(OTHER, ECHO, Query(), timeout_s=5)
        with self.effect():
            self.write(2)


def enrol(sim: Simulation) -> None:
    sim.add(Desk, DESK)
    sim.add(Visitor, OFFICE)
    sim.add(Office, OTHER)
    sim.allow(LegalBasis("muni/*/desk", "note", "muni/*/office", "test.note.v1", ("word",)))


@pytest.fixture
def failures() -> Iterator[list[str]]:
    """What the loop's callbacks raised; a test in which one is expected clears the list."""
    found: list[str] = []
    yield found
    assert found == []


@contextmanager
def recorded(path: Path, failures: list[str]) -> Iterator[Simulation]:
    """The mesh of a test; on leaving, its trace verifies."""
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(repr(context.get("exception") or context["message"]))
    )
    writer = TraceWriter(path, scenario="failure", seed=1, settings={}, starts=STARTS)
    with simulation(trace=writer) as sim:
        enrol(sim)
        yield sim
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert finding is None, finding


@pytest.fixture
def trace_path(tmp_path: Path) -> Path:
    return tmp_path / "test.trace"


def office(sim: Simulation, address: str = OFFICE) -> Office:
    return sim.node(address, Office)


def done(sim: Simulation, address: str = OFFICE) -> list[int]:
    """The numbers of the effects at a node, as its database holds them now."""
    return [row[0] for row in sim.node(address).db.execute("SELECT number FROM done ORDER BY rowid")]


def entries(sim: Simulation, address: str) -> list[tuple[str, str | None]]:
    return [(row.entry, row.code) for row in ledger(sim, address)]


def tear(node: Node, *, skip: int = 0, times: int = 1) -> None:
    """Let commits of a node fail at the one sync point: `times` of them, after the next `skip`."""
    commit, left = node.host.commit, [skip, times]

    def torn(writes: Sequence[Write], rows: Sequence[Row] = ()) -> None:
        turn = 0 if left[0] else 1
        if left[turn]:
            left[turn] -= 1
            if turn:
                raise OSError("torn")
        commit(writes, rows)

    node.host.commit = torn  # type: ignore[method-assign]


async def refused(question: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await question
    return caught.value


# The requester.


@pytest.mark.parametrize("ends", ["resend", "repeat", "timeout"])
async def test_a_question_whose_closing_cannot_be_committed_is_open_again(
    ends: str, trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        tear(sim.node(DESK), skip=1)
        if ends == "repeat":
            sim.disturbance.rules.append(repeat(BROKER, DESK, after_us=2_000_000))
        question = sim.node(DESK).ask(
            OFFICE, ECHO, Query("write", 7), timeout_s=5, attempts=2 if ends == "resend" else 1
        )
        async with asyncio.timeout(100):
            if ends == "timeout":
                said = await refused(question)
                assert (said.code, said.definite) == ("timeout", False)
            else:
                assert await question == Answer(7)
        assert done(sim) == [7]
        closed = [] if ends == "timeout" else [("closed", None)]
        assert entries(sim, DESK) == [("opened", None), *closed]


async def test_cancelling_an_ask_breaks_no_other_and_the_late_answer_is_recorded(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        desk = sim.node(DESK)

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await desk.ask(OFFICE, ECHO, Query("slow", 1), timeout_s=100)

        # Both are answered after 20 s, in one turn of the loop.
        patient = desk.ask(OFFICE, ECHO, Query("slow", 2), timeout_s=60)
        assert (await asyncio.gather(impatient(), patient))[1] == Answer(2)
        assert entries(sim, DESK) == [("opened", None)] * 2 + [("closed", None)] * 2
        assert await desk.ask(OFFICE, ECHO, Query(number=3)) == Answer(3)


async def test_cancelling_an_ask_in_the_turn_of_its_answer_breaks_nothing(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        desk = sim.node(DESK, Desk)
        desk.impatient = asyncio.create_task(desk.ask(OFFICE, ECHO, Query(number=1)), name="asks")
        with pytest.raises(asyncio.CancelledError):
            await desk.impatient
        assert await desk.ask(OFFICE, ECHO, Query(number=2)) == Answer(2)
        assert entries(sim, DESK) == [("opened", None), ("closed", None)] * 2


async def test_an_ask_of_one_attempt_is_sent_once(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        sim.disturbance.rules.append(drop(DESK, BROKER))
        async with asyncio.timeout(1000):
            said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query(), timeout_s=5, attempts=1))
        assert said.code == "timeout"
        assert sim.loop.now_us == pytest.approx(5_000_000, abs=100_000)
        assert len(messages(sim, Request)) == 1


async def test_a_failure_is_not_definite_when_an_earlier_attempt_may_have_had_its_effect(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        sim.node(OFFICE)
        sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
        question = asyncio.create_task(
            sim.node(DESK).ask(OFFICE, ECHO, Query("write", 1), timeout_s=5, attempts=2), name="asks"
        )
        await asyncio.sleep(0.5)
        sim.crash(OFFICE)
        said = await refused(question)
        assert CODES[said.code].definite
        assert (said.code, said.definite) == ("recipient_unreachable", False)
        sim.restart(OFFICE)
        assert done(sim) == [1], "the first attempt had its effect"


async def test_a_failure_of_the_only_attempt_is_definite(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        sim.node(OFFICE)
        sim.crash(OFFICE)
        said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query(), attempts=1))
        assert (said.code, said.definite) == ("recipient_unreachable", True)


def goes_down(sim: Simulation) -> None:
    sim.crash(OFFICE)


def counts_requests(sim: Simulation) -> None:
    sim.node(BROKER, Broker).authoriser.rates.per_second_max = 0


@pytest.mark.parametrize(
    ("code", "meanwhile"), [("recipient_unreachable", goes_down), ("rate_limited", counts_requests)]
)
async def test_a_failure_is_not_definite_when_another_copy_may_have_had_its_effect(
    code: str, meanwhile: Callable[[Simulation], None], trace_path: Path, failures: list[str]
) -> None:
    """The network doubles the only attempt; the first copy is handled when the second fails."""
    with recorded(trace_path, failures) as sim:
        asked = asyncio.create_task(sim.node(DESK).ask(OFFICE, ECHO, Query("slow"), attempts=1), name="asks")
        await asyncio.sleep(2)
        assert office(sim).handled == 1
        meanwhile(sim)
        [(line, _)] = [(one.line, one.permit) for one in messages(sim, Request) if one.sender == DESK]
        sim.transmit(DESK, BROKER, line)
        said = await refused(asked)
        assert (said.code, said.definite) == (code, False)


async def test_a_late_copy_of_what_is_handled_is_not_refused_definitely(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        sim.node(OFFICE).host.now_us = lambda: (
            sim.now_us() + (361_000_000 if sim.loop.now_us > 3_000_000 else 0)
        )
        asked = asyncio.create_task(sim.node(DESK).ask(OFFICE, ECHO, Query("slow"), attempts=1), name="asks")
        await asyncio.sleep(4)
        [passed] = [one for one in messages(sim, Request) if one.permit is not None]
        sim.transmit(BROKER, OFFICE, passed.line + b"\n" + (passed.permit or b""))
        said = await refused(asked)
        assert (said.code, said.by, said.definite) == ("message_expired", OFFICE, False)


async def test_nothing_is_told_to_a_node_whose_key_was_revoked(trace_path: Path, failures: list[str]) -> None:
    """Who holds the key opens what is sealed for it: questions, answers under way, notices, and new codes."""
    with recorded(trace_path, failures) as sim:
        desk = sim.node(DESK)
        asked = asyncio.create_task(sim.node(OTHER).ask(OFFICE, ECHO, Query("slow"), attempts=1), name="asks")
        await asyncio.sleep(2)
        sim.registry.revoke(OTHER, sim.now_us())
        assert (await refused(desk.ask(OTHER, ECHO, Query(), timeout_s=5))).code == "recipient_unknown"
        await refused(asked)
        [said] = [one for one in messages(sim) if one.sender == OFFICE]
        assert said.refusal == "certificate_revoked"
        code = sim.code("muni/01208", sim.resident("12345678901"))
        with sim.offline(OFFICE):
            desk.notify(NOTE, OFFICE, Note("before"), subject=code, procedure="note")
            await asyncio.sleep(2)
            sim.registry.revoke(OFFICE, sim.now_us())
            await asyncio.sleep(2)
        sent = len([one for one in messages(sim, Notice) if one.recipient == OFFICE])
        desk.notify(NOTE, OFFICE, Note("after"), subject=code, procedure="note")
        await asyncio.sleep(60)
        assert len([one for one in messages(sim, Notice) if one.recipient == OFFICE]) == sent
        assert "recipient_unknown" in [one.refusal for one in messages(sim) if one.recipient == DESK]
        # Who says so may only have a registry that is behind: the pushes wait until they expire.
        assert sim.node(BROKER, Broker).given_up() == []


def unreachable(sim: Simulation, patch: pytest.MonkeyPatch) -> None:
    office(sim)
    sim.crash(OFFICE)
    sim.loop.call_later(3, sim.restart, OFFICE)


def overloaded(sim: Simulation, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(provider, "HANDLING_MAX", 0)
    sim.loop.call_later(3, patch.undo)


def rate_limited(sim: Simulation, patch: pytest.MonkeyPatch) -> None:
    rates = sim.node(BROKER, Broker).authoriser.rates
    rates.per_second_max = 0
    sim.loop.call_later(3, setattr, rates, "per_second_max", None)


def stale(address: str) -> Callable[[Simulation, pytest.MonkeyPatch], None]:
    def provoke(sim: Simulation, patch: pytest.MonkeyPatch) -> None:
        view = sim.node(address)._party.view

        def check_fresh(self: View, now_us: int) -> None:
            if self is view and sim.loop.now_us < 3_000_000:
                raise MeshError("registry_stale")

        patch.setattr(View, "check_fresh", check_fresh)

    return provoke


def torn(sim: Simulation, patch: pytest.MonkeyPatch) -> None:
    tear(sim.node(OFFICE))


@pytest.mark.parametrize(
    ("code", "provoke"),
    [
        ("recipient_unreachable", unreachable),
        ("overloaded", overloaded),
        ("rate_limited", rate_limited),
        ("registry_stale", stale(BROKER)),
        ("registry_stale", stale(OFFICE)),
        ("storage_unavailable", torn),
    ],
)
async def test_what_only_lacks_time_or_room_is_asked_again_by_itself(
    code: str,
    provoke: Callable[[Simulation, pytest.MonkeyPatch], None],
    trace_path: Path,
    failures: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with recorded(trace_path, failures) as sim:
        provoke(sim, monkeypatch)
        answer = await sim.node(DESK).ask(OFFICE, ECHO, Query("write", 4))
        assert answer == Answer(4)
        assert done(sim) == [4]
        assert code in [one.refusal for one in messages(sim) if one.recipient == DESK]
        assert entries(sim, DESK) == [("opened", None), ("closed", None)]


async def test_what_is_final_is_not_asked_again(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query("quoting")))
        assert (said.code, said.definite) == ("not_found", True)
        assert sim.loop.now_us < 1_000_000


async def test_whoever_waits_for_a_node_that_crashes_hears_that_no_answer_came(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        question = asyncio.create_task(sim.node(DESK).ask(OFFICE, ECHO, Query("write", 1)), name="asks")
        await asyncio.sleep(0.001)
        sim.crash(DESK)
        said = await refused(question)
        assert (said.code, said.by, said.definite) == ("timeout", None, False)
        assert sim.loop.now_us < 1_000_000


def test_a_scenario_outlives_the_crash_of_a_node_for_which_it_asks(tmp_path: Path) -> None:
    @scenario(title="Crash", title_ja="停止")
    async def crashing(sim: Simulation) -> None:
        enrol(sim)
        question = asyncio.create_task(sim.node(DESK).ask(OFFICE, ECHO, Query()), name="asks")
        await asyncio.sleep(0.001)
        sim.crash(DESK)
        with sim.refused("timeout", "nobody is left to hear the answer"):
            await question

    result = run_scenario(crashing, trace=tmp_path / "crash.trace")
    assert result.error is None
    assert result.held


async def test_deadline_timers_do_not_multiply(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        desk = sim.node(DESK)
        sim.disturbance.rules.append(drop(OTHER, BROKER))
        unanswered = asyncio.create_task(desk.ask(OTHER, ECHO, Query(), timeout_s=3600), name="asks")
        for _ in range(20):
            await desk.ask(OFFICE, ECHO, Query(), timeout_s=5)
            await asyncio.sleep(6)
        assert timers(sim.loop) <= 1
        assert (await refused(unanswered)).code == "timeout"
        assert timers(sim.loop) == 0


async def test_outbox_timers_do_not_multiply(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        desk, code = sim.node(DESK), sim.code("muni/01208", sim.resident("12345678901"))
        sim.crash(BROKER)
        for _ in range(20):
            desk.notify(NOTE, OFFICE, Note("x"), subject=code, procedure="note")
            await asyncio.sleep(1)
        assert timers(sim.loop) == 1
        sim.restart(BROKER)
        await asyncio.sleep(60)
        assert timers(sim.loop) == 0


def timers(loop: VirtualLoop) -> int:
    """How many timers still count."""
    return (
        sum(not timer.cancelled() for _, _, timer in loop._timers) - loop._timers_aside
    )  # Those that nobody waits for.


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_unanswered_questions_do_not_pile_up(
    how: str, trace_path: Path, failures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requester, "LATE_MAX", 8)
    with recorded(trace_path, failures) as sim:
        desk = sim.node(DESK)
        sim.disturbance.rules.append(drop(OFFICE, BROKER))
        for _ in range(20):
            if how == "timeout":
                assert (await refused(desk.ask(OFFICE, ECHO, Query(), timeout_s=1))).code == "timeout"
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(desk.ask(OFFICE, ECHO, Query()), 1)
        held = [value for value in vars(desk._requester).values() if isinstance(value, dict)]
        assert max(map(len, held)) == 8
        assert not desk._requester.waited_for()


# The provider.


async def test_a_repeat_that_comes_before_the_answer_is_committed_waits_for_it(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        assert await sim.node(DESK).ask(OFFICE, ECHO, Query("repeated", 5)) == Answer(5)
        first, again = office(sim).received
        assert first == again, "the repeat did arrive"
        assert office(sim).handled == 1
        assert entries(sim, OFFICE) == [("answered", None)]
        sent = len(messages(sim))
        office(sim).receive(first, BROKER)
        await asyncio.sleep(1)
        assert office(sim).handled == 1
        assert len(messages(sim)) == sent + 2, "a later repeat gets what was kept, through the broker"


async def test_a_handler_s_own_words_do_not_travel(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        for case, code in (("quoting", "not_found"), ("malformed", "schema_invalid")):
            said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query(case)))
            assert (said.code, said.text) == (code, CODES[code].text)
        payloads = [base64url.decode(one.line.split(b".")[1]) for one in messages(sim)]
        assert sum(CODES["schema_invalid"].text.encode() in payload for payload in payloads) == 2
        assert not any(CODES["not_found"].text.encode() in payload for payload in payloads)
        assert not any(NUMBER.encode() in payload for payload in payloads)


async def test_a_reply_of_another_type_is_a_failure_of_its_handler(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query("other type", 1)))
        assert (said.code, said.by) == ("handler_failed", OFFICE), (
            "not an answer that its requester cannot read"
        )
        assert done(sim) == []
        assert entries(sim, OFFICE) == [("answered", "handler_failed")]
    with pytest.raises(TypeError, match=f"{ECHO.name} is answered with Answer, not Facts"):
        ECHO.disclosed(Facts(1), frozenset())  # type: ignore[arg-type]


async def test_a_reply_that_is_too_long_is_a_failure_of_its_handler(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        said = await refused(sim.node(DESK).ask(OFFICE, LONG, Query(number=700_000)))
        assert (said.code, said.by) == ("handler_failed", OFFICE)
        assert sim.loop.now_us < 1_000_000
        assert done(sim) == []
        assert len((await sim.node(DESK).ask(OFFICE, LONG, Query(number=400_000))).text) == 400_000
        assert done(sim) == [1]


async def test_the_requester_hears_when_the_provider_takes_its_key_for_revoked(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        sim.skew(OFFICE, 50)
        sim.node(OFFICE)
        sim.node(DESK)
        sim.registry.revoke(DESK, sim.now_us() + 25_000_000)
        said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query("write")))
        assert (said.code, said.by) == ("certificate_revoked", OFFICE)
        assert sim.loop.now_us < 1_000_000
        assert done(sim) == []


async def test_the_requester_hears_when_the_provider_takes_the_broker_s_key_for_expired(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        sim.skew(OFFICE, 4 * 365 * 86_400)
        said = await refused(sim.node(DESK).ask(OFFICE, ECHO, Query("write")))
        assert said.code == "certificate_expired"
        assert sim.loop.now_us < 1_000_000
        assert done(sim) == []


async def test_a_request_whose_permit_says_when_it_was_accepted_is_malformed(failures: list[str]) -> None:
    """Only a push is judged by a time that has passed: else a revoked key could still ask."""
    with simulation() as sim:
        enrol(sim)
        sim.node(OFFICE)
        desk, broker = Forger(sim, DESK), Forger(sim, BROKER)
        accepted = format_time(sim.now_us())
        await asyncio.sleep(100)
        sim.registry.revoke(DESK, sim.now_us() - 90_000_000)
        line = desk.line(desk.request(OFFICE, ECHO.name, b'{"case":"write"}'))
        sim.transmit(BROKER, OFFICE, line + b"\n" + broker.permit(line, accepted=accepted))
        await asyncio.sleep(1)
        assert [one.refusal for one in answers_to(sim, line) if one.sender == OFFICE] == ["message_malformed"]
        assert office(sim).handled == 0
        assert done(sim) == []


async def test_a_consent_that_a_revoked_key_signed_is_refused(
    trace_path: Path, failures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded(trace_path, failures) as sim:
        sim.add(Portal, PORTAL)
        sim.allow(LegalBasis(PORTAL, "consents", BROKER, CONSENTS.name))
        sim.allow(LegalBasis("muni/*/desk", "facts", "muni/*/office", FACTS.name, ("age",), consent=True))
        code = sim.code("muni/01208", sim.resident("12345678901"))
        now_us = sim.now_us()
        consent = Consent(
            "c-1", OFFICE, "muni/01208", code, "facts", (FACTS.name,), ("age",), now_us, 2**53 - 1, 9
        )
        key = sim.keys_of(PORTAL).signing
        listing = sign_difference(Difference(0, 1, (sign_consent(consent, key),), ()), key)
        portal, desk = sim.node(PORTAL), sim.node(DESK)
        await portal.ask(BROKER, CONSENTS, ConsentsQuery(listing), procedure="consents")

        def question() -> Any:
            return desk.ask(OFFICE, FACTS, Query(), subject=code, procedure="facts", consent="c-1")

        assert await question() == Facts(40)
        sim.registry.revoke(PORTAL, sim.now_us())
        said = await refused(question())
        assert (said.code, said.by) == ("consent_required", BROKER)
        monkeypatch.setattr(ConsentBook, "check", lambda *_, **__: sign_consent(consent, key))
        said = await refused(question())
        assert (said.code, said.by) == ("consent_required", OFFICE)
        assert office(sim).handled == 1


async def test_exchanges_are_marked_for_whom_the_law_names_only(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        desk = sim.node(DESK)
        await desk.ask(OFFICE, ECHO, Query())
        (asked,) = {row.id for row in ledger(sim, DESK)}
        said = await refused(desk.ask(OFFICE, LEDGER_MARK, MarkQuery(asked)))
        assert said.code == "no_legal_basis"
        sim.allow(LegalBasis("muni/*/desk", "hide", "muni/*/office", LEDGER_MARK.name))
        await desk.hide(asked, [OFFICE], procedure="hide")
        said = await refused(sim.node(OTHER).ask(OFFICE, LEDGER_MARK, MarkQuery(asked), procedure="hide"))
        assert said.code == "no_legal_basis"
        assert [row.id for row in ledger(sim, OFFICE) if row.entry == "mark"] == [asked]


async def test_what_could_not_be_marked_here_is_not_said_to_be_hidden(failures: list[str]) -> None:
    with simulation() as sim:
        enrol(sim)
        desk = sim.node(DESK)
        await desk.ask(OFFICE, ECHO, Query())
        (asked,) = {row.id for row in ledger(sim, DESK)}
        tear(desk)
        with pytest.raises(MeshError, match="storage_unavailable"):
            await desk.hide(asked, [], procedure="hide")
        await desk.hide(asked, [], procedure="hide")
        assert [row.id for row in ledger(sim, DESK) if row.entry == "mark"] == [asked]


async def test_outcomes_committed_together_are_forgotten_like_others(failures: list[str]) -> None:
    with simulation() as sim:
        enrol(sim)
        desk, kept = sim.node(DESK), []
        count = "SELECT count(*) FROM mesh_outcome"
        for _ in range(8):
            await asyncio.gather(*(desk.ask(OFFICE, ECHO, Query()) for _ in range(10)))
            kept.append(office(sim).host.store.db.execute(count).fetchone()[0])
            await asyncio.sleep(1300)  # By then the last of them can be asked for no more.
        assert kept[0] == 10
        assert max(kept) <= 40


async def test_a_database_that_cannot_be_read_either_lets_nobody_wait(
    failures: list[str],
) -> None:
    with simulation() as sim:
        enrol(sim)
        desk = sim.node(DESK)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
        tear(desk)

        def unreadable(*_: int) -> Iterator[bytes]:
            raise sqlite3.OperationalError("disk I/O error")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(desk.host.store, "ledger_rows", unreadable)
            async with asyncio.timeout(100):
                said = await refused(desk.ask(OFFICE, ECHO, Query("write"), timeout_s=50))
        assert said.code == "storage_unavailable"
        assert messages(sim) == []
