"""Years of mesh time pass: certificates are renewed, what was signed before stays verifiable, nothing waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import Struct

from mesh import Caller, LegalBasis, Node, Service, Simulation, receives, scenario, serves
from mesh.message import Event
from mesh.runner import run_scenario
from mesh.service import EventType
from mesh.simulation import CERTIFICATE_LIFE_US
from mesh.trace.reader import Trace
from mesh.trace.verify import verify

YEAR_S = 365 * 86_400
COUNTER, HALL, LATE_HALL = "muni/01208/counter", "muni/01208/hall", "muni/28100/hall"


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """Which room."""

    room: str


class Free(Struct, frozen=True):
    """How many places."""

    free: int


ROOMS = Service("t.rooms.v1", Ask, Free, title="Rooms", title_ja="会議室")
CLOSED = EventType("t.closed.v1", title="Closed", title_ja="閉館")


class Hall(Node):
    """Answers."""

    zone = "mynumber"

    @serves(ROOMS)
    async def rooms(self, query: Ask, caller: Caller) -> Free:
        """Always three."""
        return Free(3)


class Counter(Node):
    """Asks, and hears."""

    zone = "mynumber"
    schema = "CREATE TABLE heard(id TEXT)"

    @receives(CLOSED)
    async def closed(self, event: Event, caller: Caller, person: str) -> None:
        """Remember it."""
        with self.effect():
            self.db.execute("INSERT INTO heard VALUES (?)", (event.id,))


def enrolled(sim: Simulation) -> Counter:
    sim.add(Hall, HALL)
    sim.add(Hall, LATE_HALL)
    sim.add(Counter, COUNTER)
    sim.allow(LegalBasis("muni/*/counter", "t-halls", "muni/*/hall", CLOSED.name, (), "illustrative"))
    return sim.node(COUNTER, Counter)


@scenario(title="Twelve years", title_ja="十二年", sources=("illustrative",))
async def years_pass(sim: Simulation, *, years: int = 12) -> None:
    counter = enrolled(sim)
    person = sim.resident("01234567890")
    hall = sim.node(HALL, Hall)
    for year in range(years + 1):
        answer = await counter.ask(HALL, ROOMS, Ask("a"))
        hall.publish(CLOSED, sim.code("muni/01208", person))
        await sim.sleep(5)
        (heard,) = counter.db.execute("SELECT count(*) FROM heard").fetchone()
        sim.expect(f"year {year}", answer.free == 3 and heard == year + 1)
        await sim.sleep(YEAR_S)
    late = await counter.ask(LATE_HALL, ROOMS, Ask("a"))
    sim.expect("a hall first asked now answers", late.free == 3)
    sim.expect("so many years", sim.loop.now_us > CERTIFICATE_LIFE_US * years // 3)


def test_twelve_years_of_questions_and_pushes_are_answered_and_verify(tmp_path: Path) -> None:
    """The case of one question a year, and of an office that is first addressed in the last."""
    path = tmp_path / "years.trace"
    result = run_scenario(years_pass, trace=path)
    assert result.error is None
    assert [one.text for one in result.expectations if not one.held] == []
    assert result.refusals == {}
    with Trace.open(path) as trace:
        assert verify(trace).ok


@scenario(title="A long silence", title_ja="長い沈黙", sources=("illustrative",))
async def long_silence(sim: Simulation, *, years: int = 40) -> None:
    counter = enrolled(sim)
    await counter.ask(HALL, ROOMS, Ask("a"))
    await sim.sleep(years * YEAR_S)
    answer = await counter.ask(HALL, ROOMS, Ask("a"))
    sim.expect("the first question after it is answered", answer.free == 3)


def test_the_first_question_after_a_long_silence_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "silence.trace"
    result = run_scenario(long_silence, trace=path)
    assert result.held
    assert result.refusals == {}
    with Trace.open(path) as trace:
        assert verify(trace).ok


@scenario(title="A revoked key", title_ja="失効した鍵", sources=("illustrative",))
async def revoked(sim: Simulation) -> None:
    counter = enrolled(sim)
    await counter.ask(HALL, ROOMS, Ask("a"))
    sim.registry.revoke(COUNTER, sim.now_us())
    await sim.sleep(4 * YEAR_S)
    with sim.refused("certificate_expired", "time does not give a revoked key back"):
        await counter.ask(HALL, ROOMS, Ask("a"))


def test_a_revoked_key_is_not_renewed() -> None:
    assert run_scenario(revoked).held


@scenario(title="Deadlock", title_ja="行き詰まり", sources=("illustrative",))
async def deadlocked(sim: Simulation) -> None:
    counter = enrolled(sim)
    sim.node(HALL, Hall).publish(CLOSED, sim.code("muni/01208", sim.resident("01234567890")))
    await counter.ask(HALL, ROOMS, Ask("a"))
    await sim.sleep(2)
    await asyncio.Event().wait()


def test_waiting_for_what_cannot_come_is_an_error_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What is kept until it may be forgotten, or certified until it is renewed, is nothing that anybody waits for."""
    result = run_scenario(deadlocked)
    assert result.error is not None
    assert result.error.startswith("Deadlock")
    assert result.elapsed_us <= 30_000_000, "the time-out of the question, and no later timer"
