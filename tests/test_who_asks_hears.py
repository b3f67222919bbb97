"""Who asks never waits for ever: whatever becomes of the node for which he asks, and of its commits, he hears in time.

A node may die, or its disk may fail, at any of its commits: before it, after it, or with the answer at hand.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

from mesh import requester
from mesh.errors import Refused
from mesh.message import Reply
from mesh.node import Node
from mesh.service import Caller, Service, serves
from mesh.simulation import Simulation
from mesh.testing import ledger, messages, simulation

DESK, HALL, OFFICE = "muni/01208/desk", "muni/01208/hall", "muni/28100/office"
DEADLINE_S = 30
"""What `ask` waits by default."""


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    number: int = 0


class Answer(Struct, frozen=True):
    number: int


ECHO = Service("test.echo.v1", Query, Answer, title="Echo", title_ja="反響")
THROUGH = Service("test.through.v1", Query, Answer, title="Asked on", title_ja="転送照会")


class Office(Node):
    @serves(ECHO)
    async def echo(self, query: Query, caller: Caller) -> Answer:
        return Answer(query.number)


class Hall(Node):
    """Answers what it asks of the office."""

    @serves(THROUGH)
    async def through(self, query: Query, caller: Caller) -> Answer:
        return await self.ask(OFFICE, ECHO, Query(query.number))


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as made:
        made.add(Node, DESK)
        made.add(Hall, HALL)
        made.add(Office, OFFICE)
        yield made


async def heard(asking: Awaitable[Any]) -> str:
    """What the caller hears, in the time that his question has and not much more."""
    async with asyncio.timeout(DEADLINE_S + 1):
        try:
            await asking
        except Refused as refused:
            return refused.code
        return "answered"


def at_commit(sim: Simulation, address: str, number: int, act: Callable[[Callable[[], None]], None]) -> None:
    """Let something happen at the n-th commit of a node, from 0; `act` is given the commit itself."""
    store, count = sim.node(address).host.store, iter(range(10**6))
    commit = store.commit

    def counted(*args: Any) -> None:
        if next(count) == number:
            act(lambda: commit(*args))
        else:
            commit(*args)

    store.commit = counted  # type: ignore[method-assign]


def dying(sim: Simulation, address: str, *, after: bool) -> Callable[[Callable[[], None]], None]:
    def act(commit: Callable[[], None]) -> None:
        if after:
            commit()
        sim.crash(address)
        if not after:
            raise sqlite3.OperationalError("the process was killed")

    return act


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [0, 1])
async def test_who_asks_for_a_node_that_dies_at_a_commit_hears_a_time_out(
    sim: Simulation, number: int, after: bool
) -> None:
    at_commit(sim, DESK, number, dying(sim, DESK, after=after))
    assert await heard(sim.node(DESK).ask(OFFICE, ECHO, Query())) == "timeout"
    assert len(list(ledger(sim, DESK))) == number + after
    assert len([one for one in messages(sim, Reply) if one.recipient == DESK]) == number


async def test_who_asks_for_a_node_that_dies_between_the_answer_and_its_commit_hears_a_time_out(
    sim: Simulation,
) -> None:
    desk = sim.node(DESK)
    host, receive = desk.host, desk.receive

    def die(line: bytes, peer: str) -> Any:
        passage = receive(line, peer)
        sim.crash(DESK)
        return passage

    desk.receive = die  # type: ignore[method-assign]
    assert await heard(desk.ask(OFFICE, ECHO, Query())) == "timeout"
    assert not host.alive
    assert [row.entry for row in ledger(sim, DESK)] == ["opened"]


async def test_all_of_more_than_are_remembered_hear_it(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many answers come in one turn as would be forgotten before their commit."""
    monkeypatch.setattr(requester, "LATE_MAX", 4)
    at_commit(sim, DESK, 1, dying(sim, DESK, after=False))
    desk = sim.node(DESK)
    asking = [asyncio.create_task(heard(desk.ask(OFFICE, ECHO, Query(n))), name=f"{n}") for n in range(9)]
    assert await asyncio.gather(*asking) == ["timeout"] * 9


async def test_who_asks_for_a_node_that_can_no_longer_write_hears_a_time_out(sim: Simulation) -> None:
    desk = sim.node(DESK)

    def fail(commit: Callable[[], None]) -> None:
        desk.host.store.commit = full  # type: ignore[method-assign]
        full()

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    at_commit(sim, DESK, 1, fail)
    assert await heard(desk.ask(OFFICE, ECHO, Query())) == "timeout"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_who_asks_a_node_that_dies_while_it_asks_hears_a_time_out(
    sim: Simulation, number: int, after: bool
) -> None:
    at_commit(sim, HALL, number, dying(sim, HALL, after=after))
    said = await heard(sim.node(DESK).ask(HALL, THROUGH, Query()))
    assert said == "recipient_unreachable", "it goes again, and nobody is there"


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_who_asks_a_node_that_comes_up_again_is_answered(sim: Simulation, number: int) -> None:
    def act(commit: Callable[[], None]) -> None:
        sim.loop.call_later(5, sim.restart, HALL)
        dying(sim, HALL, after=False)(commit)

    at_commit(sim, HALL, number, act)
    assert await heard(sim.node(DESK).ask(HALL, THROUGH, Query())) == "answered"
