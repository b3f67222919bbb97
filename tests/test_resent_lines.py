"""A line that somebody else brings again: refused to who brought it, and its owner has no part in it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import UNSET, Struct, UnsetType

from mesh import Caller, EventType, LegalBasis, Node, NoticeType, PersonalService, receives, serves
from mesh.broker import Broker
from mesh.errors import Refused
from mesh.faults import drop
from mesh.message import Event, Notice, Receipt, Refusal, Reply, Request
from mesh.names import BROKER
from mesh.service import Word
from mesh.simulation import STARTS, Simulation
from mesh.testing import Transmission, answers_to, ledger, messages, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter

DESK, OFFICE, THIEF = "muni/01208/desk", "muni/28100/office", "muni/13101/desk"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Facts(Struct, frozen=True):
    age: int | UnsetType = UNSET


class Note(Struct, frozen=True):
    word: Word


FACTS = PersonalService("resent.facts.v1", Query, Facts, title="Facts", title_ja="事実")
NOTE = NoticeType("resent.note.v1", Note, title="Note", title_ja="通知")
MOVED = EventType("resent.moved.v1", title="Moved", title_ja="異動")


class Desk(Node):
    """Asks and pushes."""


class Office(Node):
    """Answers and receives."""

    handled = 0

    @serves(FACTS)
    async def facts(self, query: Query, caller: Caller, person: str) -> Facts:
        self.handled += 1
        return Facts(7)

    @receives(NOTE)
    async def note(self, note: Note, caller: Caller, person: str) -> None:
        self.handled += 1

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None:
        self.handled += 1


class World:
    """One exchange, one event and one notice, all of them captured by a thief with another city's keys."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        sim.add(Desk, DESK)
        sim.add(Desk, THIEF)
        sim.add(Office, OFFICE)
        sim.allow(LegalBasis(DESK, "task", OFFICE, FACTS.name, ("age",)))
        sim.allow(LegalBasis(DESK, "task", OFFICE, NOTE.name, ("word",)))
        sim.allow(LegalBasis(OFFICE, "hear", DESK, MOVED.name))
        self.code = sim.code("muni/01208", sim.resident("00000000019"))
        self.office = sim.node(OFFICE, Office)
        self.broker = sim.node(BROKER, Broker)

    async def ask(self) -> Facts:
        desk = self.sim.node(DESK)
        return await desk.ask(OFFICE, FACTS, Query(2025), subject=self.code, procedure="task", attempts=1)

    async def play(self) -> None:
        await self.ask()
        self.sim.node(DESK).publish(MOVED, self.code)
        self.sim.node(DESK).notify(NOTE, OFFICE, Note("hello"), subject=self.code, procedure="task")
        with pytest.raises(Refused):
            await self.sim.node(THIEF).ask(OFFICE, FACTS, Query(2025), subject=self.code, procedure="task")
        await self.sim.sleep(5)

    def captured(self, kind: type[Struct], to: str, by: str | None = None) -> Transmission:
        return next(
            one for one in messages(self.sim, kind) if one.recipient == to and by in (None, one.sender)
        )

    async def steal(self, one: Transmission, to: str) -> list[str | None]:
        """The thief sends a line as it was, with its permit if it had one; what comes back to him."""
        before = len(messages(self.sim))
        self.sim.transmit(THIEF, to, one.line + (b"\n" + one.permit if one.permit else b""))
        await self.sim.sleep(5)
        since = messages(self.sim)[before:]
        assert {one.sender for one in since} <= {THIEF, to}, "nobody else hears of it"
        back = [one for one in since if one.recipient == THIEF]
        said = {(one.message.recipient, one.message.permitdigest) for one in back}
        assert said <= {(THIEF, None)}, "it is said to him, and not to the owner of the line or its permit"
        return [one.refusal for one in back]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "resent.trace"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    writer = TraceWriter(path, scenario="test", seed=1, settings={}, starts=STARTS)
    with simulation(trace=writer) as sim:
        yield World(sim)
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert finding is None, finding


RESENT = [
    (Request, BROKER, DESK, ["sender_mismatch"]),
    (Request, OFFICE, BROKER, ["sender_mismatch"]),
    (Reply, BROKER, OFFICE, ["sender_mismatch"]),
    (Reply, DESK, BROKER, ["sender_mismatch"]),
    (Event, BROKER, DESK, ["sender_mismatch"]),
    (Event, OFFICE, BROKER, ["sender_mismatch"]),
    (Notice, BROKER, DESK, ["sender_mismatch"]),
    (Notice, OFFICE, BROKER, ["sender_mismatch"]),
    (Receipt, BROKER, OFFICE, ["sender_mismatch"]),
    # The broker's own, which no broker brought: a broker's receipt and refusal come from a broker alone.
    (Receipt, DESK, BROKER, ["sender_mismatch"]),
]


@pytest.mark.parametrize(("kind", "to", "by", "back"), RESENT)
async def test_a_captured_line_is_refused_to_the_thief_and_leaves_no_row_and_no_permit(
    kind: type[Struct], to: str, by: str, back: list[str], world: World
) -> None:
    await world.play()
    one = world.captured(kind, to, by)
    rows, handled = len(ledger(world.sim)), world.office.handled
    permits = sum(bool(sent.permit) for sent in messages(world.sim) if sent.sender != THIEF)
    assert await world.steal(one, to) == back
    assert len(ledger(world.sim)) == rows
    assert world.office.handled == handled
    assert sum(bool(sent.permit) for sent in messages(world.sim) if sent.sender != THIEF) == permits
    [verdict] = [sent.code for sent in messages(world.sim) if sent.sender == THIEF and sent.line == one.line]
    assert verdict == "sender_mismatch"


async def test_a_permit_of_another_request_tells_nobody_who_asked(world: World) -> None:
    """Beside bytes that nobody signed it proves nothing about them: they are refused to who brought them."""
    await world.play()
    one = world.captured(Request, OFFICE, BROKER)
    altered = one.line[:-8] + b"AAAAAAA" + one.line[-1:]
    before = len(messages(world.sim))
    world.sim.transmit(BROKER, OFFICE, altered + b"\n" + (one.permit or b""))
    await world.sim.sleep(5)
    [back] = [sent for sent in messages(world.sim)[before:] if sent.sender == OFFICE]
    assert (back.refusal, back.recipient) == ("signature_invalid", BROKER)
    assert (back.message.recipient, back.message.permitdigest) == (BROKER, None)


async def test_a_captured_refusal_is_not_answered_or_two_could_refuse_each_other_for_ever(
    world: World,
) -> None:
    await world.play()
    [refusal] = [one for one in messages(world.sim, Refusal) if one.recipient == THIEF]
    world.sim.transmit(DESK, OFFICE, refusal.line)
    await world.sim.sleep(5)
    last = messages(world.sim)[-1]
    assert (last.sender, last.recipient, last.code) == (DESK, OFFICE, "sender_mismatch")


async def test_who_floods_with_captured_lines_spends_nobody_s_rate(world: World) -> None:
    await world.play()
    one = world.captured(Request, BROKER, DESK)
    world.broker.authoriser.rates.per_second_max = 1
    for _ in range(5):
        world.sim.transmit(THIEF, BROKER, one.line)
    assert await world.ask() == Facts(7)
    with pytest.raises(Refused, match="rate_limited"):
        await world.ask()


async def test_rates_count_who_brings_a_line(world: World) -> None:
    """A second broker may bring what a node sent to it: what counts is who spoke to this one."""
    world.broker.authoriser.rates.per_second_max = 1
    world.sim.crash(OFFICE)
    with pytest.raises(Refused, match="recipient_unreachable"):
        await world.ask()
    one = world.captured(Request, BROKER, DESK)
    for _ in range(2):
        world.sim.transmit(BROKER, BROKER, one.line)
    await world.sim.sleep(1)
    said = [sent.refusal for sent in answers_to(world.sim, one.line) if sent.recipient == DESK]
    assert said[0] == "recipient_unreachable"
    assert sorted(map(str, said[1:])) == ["rate_limited", "recipient_unreachable"]


async def test_the_broker_records_an_answer_once_however_often_it_comes(world: World) -> None:
    await world.ask()
    one = world.captured(Request, BROKER, DESK)
    for _ in range(3):
        world.sim.transmit(DESK, BROKER, one.line)
        await world.sim.sleep(1)
    world.sim.crash(BROKER)
    world.sim.restart(BROKER)
    world.sim.transmit(DESK, BROKER, one.line)
    await world.sim.sleep(1)
    entries = [row.entry for row in ledger(world.sim, BROKER)]
    assert entries == ["permitted", "closed", *["permitted"] * 4]
    answers = [sent for sent in messages(world.sim, Reply) if sent.recipient == DESK]
    assert len(answers) == 5, "who asks again gets the answer again"
    assert len({sent.line for sent in answers}) == 1
    assert world.office.handled == 1
    assert [row.entry for row in ledger(world.sim, DESK)] == ["opened", "closed"]


async def test_another_answer_is_another_row(world: World) -> None:
    """The first attempt found nobody; the second is answered, and both outcomes are recorded."""
    world.sim.disturbance.rules.append(drop(OFFICE, BROKER, times=1))
    with pytest.raises(Refused, match="timeout"):
        await world.sim.node(DESK).ask(
            OFFICE, FACTS, Query(2025), subject=world.code, procedure="task", timeout_s=1, attempts=1
        )
    world.sim.crash(OFFICE)
    one = world.captured(Request, BROKER, DESK)
    world.sim.transmit(DESK, BROKER, one.line)
    await world.sim.sleep(1)
    world.sim.restart(OFFICE)
    world.sim.transmit(DESK, BROKER, one.line)
    await world.sim.sleep(1)
    rows = [(row.entry, row.code) for row in ledger(world.sim, BROKER)]
    closed = [("closed", "recipient_unreachable"), ("closed", None)]
    assert [row for row in rows if row[0] == "closed"] == closed


EDITS = {
    "the gate is said to have let the message pass, and": "UPDATE transmission SET code = NULL WHERE number = {theft}",
    "the gate is said to have refused the message with sender_mismatch, and": (
        "UPDATE transmission SET code = 'sender_mismatch' WHERE number = 0"
    ),
}


@pytest.mark.parametrize("text", EDITS)
async def test_verify_knows_who_brought_a_line(text: str, tmp_path: Path) -> None:
    """A trace that says of a resent line that it passed, or of an honest one that it was resent, does not hold."""
    path = tmp_path / "edited.trace"
    with simulation(trace=TraceWriter(path, scenario="test", seed=1, settings={}, starts=STARTS)) as sim:
        world = World(sim)
        await world.play()
        theft = len(messages(sim))
        await world.steal(world.captured(Request, BROKER, DESK), BROKER)
    with Trace.open(path) as trace:
        assert verify(trace).ok
    with sqlite3.connect(path) as db:
        db.execute(EDITS[text].format(theft=theft))
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    assert finding is not None
    assert finding.text.startswith(text)
