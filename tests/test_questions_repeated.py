"""A question is asked again by itself: the same bytes, with backoff, for as long as its time-out says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from msgspec import Struct

from mesh import Caller, ManualReview, MeshError, Node, Refused, Service, serves
from mesh.broker import Broker
from mesh.faults import Fates, drop, recorded_plan
from mesh.ledger import Row
from mesh.message import Refusal, Reply, Request
from mesh.names import BROKER
from mesh.simulation import Simulation
from mesh.testing import Transmission, ledger, messages, simulation

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"
SECOND_US = 1_000_000


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    slow_s: int = 0
    refuse: bool = False


class Reached(Struct, frozen=True):
    times: int


ECHO = Service("echo.times.v1", Query, Reached, title="Echo", title_ja="反響")


class Office(Node):
    times = 0

    @serves(ECHO)
    async def echo(self, query: Query, caller: Caller) -> Reached:
        self.times += 1
        if query.slow_s:
            await asyncio.sleep(query.slow_s)
        if query.refuse:
            raise ManualReview
        return Reached(self.times)


def furnish(sim: Simulation) -> Simulation:
    sim.add(Node, DESK)
    sim.add(Office, OFFICE)
    return sim


@pytest.fixture
async def town() -> AsyncIterator[Simulation]:
    with simulation() as sim:
        yield furnish(sim)


def ask(sim: Simulation, query: Query = Query(), **options: Any) -> Any:  # noqa: B008
    return sim.node(DESK).ask(OFFICE, ECHO, query, **options)


async def refused(question: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await question
    return caught.value


def asked(sim: Simulation) -> list[Transmission]:
    """Every time that the desk sent its question."""
    return [one for one in messages(sim, Request) if one.sender == DESK]


def closed(sim: Simulation) -> list[Row]:
    return [row for row in ledger(sim, DESK) if row.entry == "closed"]


def limit(sim: Simulation, per_second_max: int | None) -> None:
    sim.node(BROKER, Broker).authoriser.rates.per_second_max = per_second_max


async def test_the_same_bytes_go_out_about_nine_times_in_thirty_seconds(town: Simulation) -> None:
    town.disturbance.rules.append(drop(DESK, BROKER))
    said = await refused(ask(town))
    assert (said.code, said.by, said.definite) == ("timeout", None, False)
    assert town.loop.now_us == 30 * SECOND_US
    sent = asked(town)
    assert len({one.line for one in sent}) == 1
    assert 8 <= len(sent) <= 9
    pauses = [(later.sent_us - one.sent_us) / SECOND_US for one, later in pairwise(sent)]
    for pause, least in zip(pauses, [1, 2, 4, 4, 4, 4, 4, 4], strict=False):
        assert least <= pause < least * 1.125
    assert len({round(pause % 1, 6) for pause in pauses}) == len(pauses), "each pause has its own jitter"


async def test_at_a_loss_of_five_percent_no_question_is_lost() -> None:
    plan = recorded_plan({"name": "loss", "title": "Loss", "title_ja": "損失", "loss": [{"chance": 0.05}]})
    with simulation(faults=plan) as sim:
        furnish(sim)
        answers = await asyncio.gather(*(ask(sim) for _ in range(1000)))
        assert sorted(one.times for one in answers) == list(range(1, 1001)), "each was handled once"
        assert len(asked(sim)) > 1150


async def test_asked_once_it_is_sent_once_and_its_refusal_is_definite(town: Simulation) -> None:
    town.node(OFFICE)
    with town.offline(OFFICE):
        said = await refused(ask(town, attempts=1))
        assert (said.code, said.definite, len(asked(town))) == ("recipient_unreachable", True, 1)
        assert town.loop.now_us < SECOND_US
    town.disturbance.rules.append(drop(DESK, BROKER))
    said = await refused(ask(town, attempts=1, timeout_s=7))
    assert (said.code, len(asked(town))) == ("timeout", 2)


async def test_attempts_bound_how_often_and_the_time_out_how_long(town: Simulation) -> None:
    town.disturbance.rules.append(drop(DESK, BROKER))
    await refused(ask(town, attempts=3, timeout_s=20))
    assert (len(asked(town)), town.loop.now_us) == (3, 20 * SECOND_US)
    await refused(ask(town, attempts=3, timeout_s=2))
    assert (len(asked(town)), town.loop.now_us) == (5, 22 * SECOND_US)


async def test_whom_every_attempt_found_away_is_reported_as_away(town: Simulation) -> None:
    town.node(OFFICE)
    with town.offline(OFFICE):
        said = await refused(ask(town))
    assert (said.code, said.by, said.definite) == ("recipient_unreachable", BROKER, False)
    assert len(asked(town)) > 7
    assert [row.code for row in closed(town)] == ["recipient_unreachable"]


async def test_given_up_without_a_last_answer_it_ends_with_the_last_refusal(town: Simulation) -> None:
    limit(town, 0)
    town.loop.call_later(20, town.disturbance.rules.append, drop(DESK, BROKER))
    said = await refused(ask(town))
    assert (said.code, said.by, said.definite) == ("rate_limited", BROKER, False)
    assert town.loop.now_us == 30 * SECOND_US
    assert closed(town) == [], "what became of the last attempts nobody knows"


async def test_what_lacks_more_than_time_ends_it_at_once(town: Simulation) -> None:
    said = await refused(ask(town, Query(refuse=True)))
    assert (said.code, len(asked(town))) == ("manual_review", 1)
    assert town.loop.now_us < SECOND_US


async def test_past_their_life_the_bytes_are_not_sent(town: Simulation) -> None:
    town.disturbance.rules.append(drop(DESK, BROKER))
    await refused(ask(town, timeout_s=1000))
    assert 295 * SECOND_US < asked(town)[-1].sent_us < 300 * SECOND_US
    assert town.loop.now_us == 1000 * SECOND_US


@pytest.mark.parametrize("back_s", [3600, -3600])
async def test_a_wall_clock_that_is_set_does_not_change_the_pauses(back_s: int, town: Simulation) -> None:
    host = town.node(DESK).host
    town.disturbance.rules.append(drop(DESK, BROKER, times=1))
    asking = asyncio.create_task(ask(town), name="asks")
    await asyncio.sleep(0.5)
    true_us, host.now_us = host.now_us, lambda: true_us() - back_s * SECOND_US
    await asyncio.gather(asking, return_exceptions=True)
    sent = asked(town)
    assert SECOND_US <= sent[1].sent_us - sent[0].sent_us < SECOND_US * 1.125


async def test_without_loss_nothing_is_drawn_and_one_timer_is_set(
    town: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, set_timers = town.node(DESK).host, list[int]()
    later = host.call_later
    monkeypatch.setattr(
        host, "call_later", lambda delay_us, call: set_timers.append(delay_us) or later(delay_us, call)
    )
    monkeypatch.setattr(host.random, "randrange", None)
    for _ in range(50):
        await asyncio.gather(*(ask(town) for _ in range(20)))
    assert 1 <= len(set_timers) <= 3
    assert set_timers[0] == SECOND_US
    assert len(town.node(DESK)._deadlines._due) <= 20, "what is answered is not kept until its time"


async def test_a_refusal_of_an_earlier_attempt_that_comes_late_changes_nothing(town: Simulation) -> None:
    def slow_refusals(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        return ((5 * SECOND_US, line),) if recipient == DESK and now_us < SECOND_US else None

    limit(town, 0)
    town.disturbance.rules.append(slow_refusals)
    town.loop.call_later(0.5, limit, town, None)
    assert (await ask(town)).times == 1
    await asyncio.sleep(10)
    [late] = messages(town, Refusal)
    assert (late.sent_us, late.fate, late.code) == (5_000, "delivered", None), "no answer to something else"
    assert [row.code for row in closed(town)] == [None]


async def test_an_answer_after_a_refusal_of_one_attempt_completes_the_record(town: Simulation) -> None:
    """The first attempt is answered slowly, the second and last refused; the answer is the answer all the same."""

    def slow_answer(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        return ((5 * SECOND_US, line),) if sender == OFFICE else None

    town.disturbance.rules.append(slow_answer)
    town.loop.call_later(0.5, limit, town, 0)
    said = await refused(ask(town, attempts=2))
    assert (said.code, said.definite) == ("rate_limited", False)
    await asyncio.sleep(10)
    [reply] = [one for one in messages(town, Reply) if one.recipient == DESK]
    assert reply.code is None
    assert [row.code for row in closed(town)] == ["rate_limited", None]


async def test_an_answer_whose_commit_fails_leaves_it_to_be_asked_again(town: Simulation) -> None:
    host = town.node(DESK).host
    asking = asyncio.create_task(ask(town), name="asks")
    await asyncio.sleep(0.001)
    commit, torn = host.commit, [True]

    def fail(*work: Any) -> None:
        if torn:
            torn.clear()
            raise OSError(28, "no space")
        commit(*work)

    host.commit = fail  # type: ignore[method-assign]
    others = [asyncio.create_task(ask(town), name=f"asks {number}") for number in range(3)]
    results = await asyncio.gather(asking, *others, return_exceptions=True)
    assert all(isinstance(one, Reached | MeshError) for one in results)
    assert isinstance(results[0], Reached)
