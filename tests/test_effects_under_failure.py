"""What a node writes happens once or not at all, whatever fails: its effects, and what is published in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mesh.errors import MeshError, Withheld
from mesh.exchange import Write
from mesh.ledger import Row
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.service import Caller, EventType, receives, serves
from mesh.simulation import Simulation
from tests.test_exchange_under_failure import (
    DESK,
    ECHO,
    NOTE,
    OFFICE,
    OTHER,
    Answer,
    Note,
    Office,
    Query,
    Recording,
    done,
    entries,
    office,
    recorded,
    refused,
    tear,
)

HALL = "muni/01100/hall"
MOVED = EventType("test.moved.v1", title="Moved", title_ja="転居")


class Hall(Recording):
    """Does with effects what its query says, or the word of a notice."""

    code = ""
    handled = 0

    def tell(self) -> None:
        self.notify(NOTE, OTHER, Note("paid"), subject=self.code, procedure="note")
        self.publish(MOVED, self.code)

    @serves(ECHO)
    async def echo(self, query: Query, caller: Caller) -> Answer:
        self.handled += 1
        if query.case == "plain":
            return Answer(query.number)
        if query.case == "spawn":
            self.host.spawn(self._later(query.number), "later")
            return Answer(query.number)
        with self.effect():
            self.write(query.number)
            self.tell()
            if query.case == "within":
                raise Withheld
        if query.case == "raise-after":
            raise Withheld
        if query.case == "ask-after":
            await self.ask(OFFICE, ECHO, Query())
        elif query.case == "sleep-after":
            await asyncio.sleep(2)
        return Answer(query.number)

    async def _later(self, number: int) -> None:
        with self.effect():
            self.write(number)

    @receives(NOTE)
    async def noted(self, body: Note, caller: Caller, person: str) -> None:
        self.handled += 1
        if body.word == "nothing":
            return
        with self.effect():
            self.write(2)
            if body.word != "quiet":
                self.tell()
            if self.handled == 1 and body.word == "ask":
                await self.ask(OFFICE, ECHO, Query())
            elif self.handled == 1 and body.word in ("sleep", "quiet"):
                await asyncio.sleep(1)
            elif self.handled == 1 and body.word == "fail":
                raise ZeroDivisionError
        if body.word == "fail-after":
            raise ZeroDivisionError
        if body.word == "ask-after":
            await self.ask("muni/99999/office", ECHO, Query())


class Listener(Office):
    @receives(NOTE)
    async def noted(self, body: Note, caller: Caller, person: str) -> None:
        with self.effect():
            self.write(100)

    @receives(MOVED)
    async def moved(self, event: object, caller: Caller, person: str) -> None:
        with self.effect():
            self.write(200)


@pytest.fixture
def failures() -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def trace_path(tmp_path: Path) -> Path:
    return tmp_path / "test.trace"


def enrol_hall(sim: Simulation) -> Hall:
    """The hall, and beside it who hears of what it does."""
    sim._enrolled.pop(OTHER)
    sim.add(Listener, OTHER)
    person = sim.resident("12345678901")
    sim.add(Hall, HALL, code=sim.code("muni/01100", person))
    sim.allow(LegalBasis("muni/*/hall", "note", "muni/*/office", NOTE.name, ("word",)))
    sim.allow(LegalBasis("muni/*/desk", "note", "muni/*/hall", NOTE.name, ("word",)))
    sim.allow(LegalBasis("muni/*/office", "moved", "muni/*/hall", MOVED.name))
    return sim.node(HALL, Hall)


def note(sim: Simulation, word: str) -> None:
    """The desk sends the hall a notice."""
    code = sim.code("muni/01208", sim.resident("12345678901"))
    sim.node(DESK).notify(NOTE, HALL, Note(word), subject=code, procedure="note")


def pay(hall: Hall, number: int, *, fails: bool = False) -> None:
    """Staff of the hall write a number and tell of it, in one effect."""
    with hall.effect():
        hall.write(number)
        hall.tell()
        if fails:
            raise Withheld


async def heard(sim: Simulation) -> list[int]:
    """What reached the listener after a while."""
    await asyncio.sleep(120)
    return sorted(done(sim, OTHER))


# What is published inside.


async def test_what_is_published_inside_goes_out_with_the_effect(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        enrol_hall(sim)
        assert await sim.node(DESK).ask(HALL, ECHO, Query("write", 1)) == Answer(1)
        assert (done(sim, HALL), await heard(sim)) == ([1], [100, 200])


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("within", "withheld"),
        ("raise-after", "withheld"),
        ("ask-after", "handler_failed"),
        ("sleep-after", "handler_failed"),
    ],
)
async def test_what_is_published_in_an_effect_that_fails_does_not_go_out(
    case: str, code: str, trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        enrol_hall(sim)
        desk = sim.node(DESK)
        assert (await refused(desk.ask(HALL, ECHO, Query(case, 1)))).code == code
        assert (done(sim, HALL), await heard(sim)) == ([], [])
        answered = [entry for entry in entries(sim, HALL) if entry[0] == "answered"]
        assert answered == [("answered", code)]
        # Its books go on as if it had never been.
        assert await desk.ask(HALL, ECHO, Query("write", 2)) == Answer(2)
        assert (done(sim, HALL), await heard(sim)) == ([2], [100, 200])


@pytest.mark.parametrize("how", ["raise", "torn"])
async def test_what_staff_publish_in_an_effect_that_fails_does_not_go_out(
    how: str, trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        if how == "torn":
            tear(hall)
        with pytest.raises(MeshError) as caught:
            pay(hall, 1, fails=how == "raise")
        assert caught.value.code == ("withheld" if how == "raise" else "storage_unavailable")
        assert (done(sim, HALL), await heard(sim)) == ([], [])
        assert entries(sim, HALL) == []
        pay(hall, 2)
        assert (done(sim, HALL), await heard(sim)) == ([2], [100, 200])
        assert await hall.ask(OFFICE, ECHO, Query(number=3)) == Answer(3)


async def test_what_waits_before_an_effect_that_fails_is_kept(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        question = asyncio.create_task(hall.ask(OFFICE, ECHO, Query(number=3)), name="asks")
        await asyncio.sleep(0)
        with pytest.raises(Withheld):
            pay(hall, 1, fails=True)
        assert await question == Answer(3)
        assert done(sim, HALL) == []


# Left open across an await.


@pytest.mark.parametrize("case", ["ask-after", "sleep-after"])
async def test_a_handler_that_awaits_after_its_effect_fails_and_leaves_nothing(
    case: str, trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        desk = sim.node(DESK)

        async def meanwhile() -> Answer:
            await asyncio.sleep(0.5)
            return await desk.ask(HALL, ECHO, Query("plain", 8))

        question = asyncio.create_task(desk.ask(HALL, ECHO, Query(case, 1)), name="asks")
        assert await meanwhile() == Answer(8)
        assert (await refused(question)).code == "handler_failed"
        assert not hall.host.store.effect
        assert (done(sim, HALL), hall.handled) == ([], 2)
        assert await desk.ask(HALL, ECHO, Query("write", 2)) == Answer(2)
        assert done(sim, HALL) == [2]


@pytest.mark.parametrize("word", ["ask", "sleep", "fail"])
async def test_a_push_whose_handler_failed_is_handled_again_and_has_one_effect(
    word: str, trace_path: Path, failures: list[str]
) -> None:
    """While the node stays up; the first time it awaits in its effect, or raises."""
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        note(sim, word)
        await asyncio.sleep(0.5)
        assert hall.handled == 1
        await asyncio.sleep(30)
        assert (done(sim, HALL), hall.handled) == ([2], 2)
        assert hall.host.store.unhandled() == []
        assert await heard(sim) == [100, 200]


@pytest.mark.parametrize("word", ["fail-after", "ask-after"])
async def test_a_push_whose_handler_fails_after_its_effect_is_not_handled_again(
    word: str, trace_path: Path, failures: list[str]
) -> None:
    """As after a restart: the effect marks the push as handled."""
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        note(sim, word)
        assert await heard(sim) == [100, 200]
        assert (done(sim, HALL), hall.handled) == ([2], 1)
        assert hall.host.store.unhandled() == []


async def test_a_push_handled_in_the_turn_of_an_effect_left_open_does_not_commit_it(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        note(sim, "quiet")
        note(sim, "nothing")
        await asyncio.sleep(30)
        assert done(sim, HALL) == [2]
        assert hall.host.store.unhandled() == []


@pytest.mark.parametrize("other", ["answer", "push", "effect", "flush", "write"])
async def test_an_effect_left_open_is_committed_by_nobody_else(
    other: str, trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        note(sim, "quiet")
        while hall.handled == 0:
            await asyncio.sleep(0.005)
        desk, expected = sim.node(DESK), []
        if other == "answer":
            assert await desk.ask(HALL, ECHO, Query("plain", 8)) == Answer(8)
        elif other == "write":
            assert await desk.ask(HALL, ECHO, Query("write", 8)) == Answer(8)
            expected = [8]
        elif other == "push":
            note(sim, "nothing")
            await asyncio.sleep(0.1)
        elif other == "effect":
            with hall.effect():
                hall.write(9)
            expected = [9]
        else:
            hall.host.flush()
        # Only what was committed outlives a crash.
        sim.crash(HALL)
        sim.restart(HALL)
        assert done(sim, HALL) == expected
        sim.node(HALL, Hall).handled = 1
        await asyncio.sleep(30)
        assert done(sim, HALL).count(2) == 1, "and handled again it happens once"


async def test_an_effect_that_was_undone_does_not_end_in_another_s(
    trace_path: Path, failures: list[str]
) -> None:
    """A push handler awaits in its effect; a service handler's is open when it goes on."""
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        note(sim, "quiet")
        while hall.handled == 0:
            await asyncio.sleep(0.005)
        question = asyncio.create_task(sim.node(DESK).ask(HALL, ECHO, Query("sleep-after", 5)), name="asks")
        assert (await refused(question)).code == "handler_failed"
        assert 5 not in done(sim, HALL)
        await asyncio.sleep(30)
        assert done(sim, HALL) == [2]
        assert hall.host.store.unhandled() == []


async def test_what_others_record_beside_an_effect_left_open_is_kept(
    trace_path: Path, failures: list[str]
) -> None:
    """In the same step of the loop: the effect is undone before anything is committed."""
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)

        async def leave_open() -> None:
            with hall.effect():
                hall.write(1)
                hall.tell()
                await asyncio.sleep(0)

        left = asyncio.create_task(leave_open(), name="leaves its effect open")
        question = asyncio.create_task(hall.ask(OFFICE, ECHO, Query(number=3)), name="asks")
        assert await question == Answer(3)
        with pytest.raises(RuntimeError, match="without awaiting"):
            await left
        assert (done(sim, HALL), await heard(sim)) == ([], [])
        assert entries(sim, HALL) == [("opened", None), ("closed", None)]


# Faults of the database.


async def test_an_effect_whose_commit_fails_did_not_happen(trace_path: Path, failures: list[str]) -> None:
    with recorded(trace_path, failures) as sim:
        tear(office(sim))
        desk = sim.node(DESK)
        said = await refused(desk.ask(OFFICE, ECHO, Query("write", 1), attempts=1))
        assert (said.code, said.by, said.definite) == ("storage_unavailable", OFFICE, False)
        assert not office(sim).host.store.effect
        assert await desk.ask(OFFICE, ECHO, Query(number=2)) == Answer(2)
        assert done(sim) == [], "and no other commit takes it along"
        assert await desk.ask(OFFICE, ECHO, Query("write", 3)) == Answer(3)
        assert done(sim) == [3]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_host_that_is_killed_in_its_commit_sends_nothing(
    when: str, trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        killed_in_commit(sim, sim.node(OFFICE), after=when == "after")
        question = asyncio.create_task(
            sim.node(DESK).ask(OFFICE, ECHO, Query("write", 9), timeout_s=5, attempts=2), name="asks"
        )
        await asyncio.sleep(1)
        sim.restart(OFFICE)
        assert done(sim) == ([9] if when == "after" else [])
        assert not question.done(), "nothing was sent"
        assert await question == Answer(9)
        assert done(sim) == [9]


def killed_in_commit(sim: Simulation, node: Node, *, after: bool) -> None:
    commit = node.host.commit

    def kill(writes: Sequence[Write], rows: Sequence[Row] = ()) -> None:
        if after:
            commit(writes, rows)
        sim.crash(node.address)
        if not after:
            commit(writes, rows)

    node.host.commit = kill  # type: ignore[method-assign]


# Tasks of the node's own.


async def test_the_effect_of_a_task_that_a_handler_spawned_commits_by_itself(
    trace_path: Path, failures: list[str]
) -> None:
    with recorded(trace_path, failures) as sim:
        hall = enrol_hall(sim)
        assert await sim.node(DESK).ask(HALL, ECHO, Query("spawn", 7)) == Answer(7)
        assert not hall.host.store.effect
        sim.crash(HALL)
        sim.restart(HALL)
        assert done(sim, HALL) == [7]
