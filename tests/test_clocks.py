"""Clocks that are wrong: what passes, whom the code names, and that nothing is forgotten because a clock stepped.

All parties, offsets and lengths are in tests/sweeps/clocks.py, which shares the parties here; this is a sample, and what
stands behind it, one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.authoriser import RateLimit
from mesh.blame import fault_of
from mesh.clock import run
from mesh.consent import Consent, Use, check_scope
from mesh.errors import CODES, Fault, MeshError, Refused
from mesh.exchange import digest_of
from mesh.ledger import HEAD_EVERY_US
from mesh.message import CLOCK_TOLERANCE_US, Event, Permit, Refusal, Reply, Request, format_time, parse_time
from mesh.names import BROKER
from mesh.party import PERMIT_LIFE_US, Party, Untimely, check_permit_time, check_time
from mesh.provider import KEEP_US
from mesh.store import Store
from mesh.testing import Forger, answers_to, ledger, messages, simulation
from tests.sweeps.clocks import COUNT, MOVED, OFFICE, TOWN, Case, Query, World, play, row_of

SECOND_US = 1_000_000
HOUR_S, DAY_S = 3600, 86_400


@pytest.mark.parametrize(
    "case",
    [
        Case("requester", 61, for_ever=True),
        Case("requester", -3600, for_ever=False),
        Case("requester", 31 * DAY_S, for_ever=True),
        Case("provider", 3600, for_ever=False),
        Case("provider", -31 * DAY_S, for_ever=True),
        Case("broker", -61, for_ever=True),
        Case("broker", 600, for_ever=True),
        Case("broker", -3600, for_ever=False),
        Case("broker", DAY_S, for_ever=False),
        Case("portal", 1, for_ever=True),
        Case("portal", 61, for_ever=True),
        Case("portal", -600, for_ever=True),
    ],
    ids=str,
)
def test_a_wrong_clock(case: Case) -> None:
    outcome = run(play(case))
    assert not outcome.wrong, row_of(case, outcome)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """The office's clock can be set."""
    with simulation() as sim:
        yield World(sim, Case("provider", 0, for_ever=False))


def captured(world: World, kind: type[Any]) -> bytes:
    """Message and permit, as they came to the office first."""
    first = next(one for one in messages(world.sim, kind) if one.recipient == OFFICE)
    return first.line + b"\n" + (first.permit or b"")


def codes_at_office(world: World, line: bytes) -> list[str | None]:
    """What the office's gate made of each copy of the first line."""
    head = line.partition(b"\n")[0]
    return [one.code for one in messages(world.sim) if one.line == head and one.recipient == OFFICE]


# Forgetting.


async def test_an_hour_ahead_for_a_moment_forgets_nothing(world: World) -> None:
    await world.ask()
    world.push()
    await asyncio.sleep(60)
    request, event = captured(world, Request), captured(world, Event)
    world.set_clock(40 * DAY_S)
    world.office._purge()
    world.set_clock(0)
    for line in (request, event):
        world.sim.transmit(BROKER, OFFICE, line)
    line = request.partition(b"\n")[0]
    world.sim.transmit(TOWN, BROKER, line)
    await asyncio.sleep(5)
    assert codes_at_office(world, request) == [None] * 3
    assert codes_at_office(world, event) == [None] * 2
    assert len({one.line for one in messages(world.sim, Reply) if one.sender == OFFICE}) == 1
    assert list(world.office.done().values()) == [1, 1]


async def forget(world: World) -> tuple[bytes, bytes]:
    """Let the office forget a question and a push, in the order of things; returns what was captured of them."""
    await world.ask()
    world.push()
    await asyncio.sleep(60)
    store = world.office.host.store
    await asyncio.sleep(39 * DAY_S)
    for table in ("mesh_outcome", "mesh_inbox"):
        assert store.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    return captured(world, Request), captured(world, Event)


@pytest.mark.parametrize("what_others_signed", ["known", "unknown"])
async def test_what_was_forgotten_is_refused_when_the_clock_is_set_back(
    world: World, what_others_signed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what others signed, by how far the database was purged alone."""
    start_us = world.sim.now_us()
    request, event = await forget(world)
    if what_others_signed == "unknown":
        monkeypatch.setattr(Party, "newest_signed_us", 0)
    world.set_clock((start_us - world.sim.now_us()) / SECOND_US + 10)
    for line in (request, event):
        for peer in (TOWN, BROKER):
            world.sim.transmit(peer, OFFICE, line)
    await asyncio.sleep(5)
    assert codes_at_office(world, request) == [None, "message_expired", "message_expired"]
    assert codes_at_office(world, event) == [None, "message_expired", "message_expired"]
    assert list(world.office.done().values()) == [1, 1]


async def test_it_is_refused_after_a_restart_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    start_us = world.sim.now_us()
    request, _ = await forget(world)
    monkeypatch.setattr(Party, "newest_signed_us", 0)
    world.sim.crash(OFFICE)
    store = world.sim._stores[OFFICE]
    store._purged_us = store.number("purged_outcomes_us")
    world.sim.restart(OFFICE)
    office: Any = world.sim.node(OFFICE)
    office.host.now_us = lambda: start_us
    world.sim.transmit(BROKER, OFFICE, request)
    await asyncio.sleep(5)
    assert codes_at_office(world, request) == [None, "message_expired"]
    assert list(office.done().values()) == [1, 1]


def test_a_database_keeps_how_far_it_was_purged(tmp_path: Path) -> None:
    store = Store(tmp_path / "one.sqlite")
    store.commit([("outcome", ("source", str(us), "digest", b"line", us)) for us in (10, 20, 90)])
    store.commit(
        [("inbox", ("source", str(us), "digest", b"line", b"permit", b"receipt", us, b"")) for us in (30, 40)]
    )
    store.commit([("inbox_done", ("30", "source"))])
    assert not store.has_purged(1)
    store.purge(50)
    store.purge(5)
    store.close()
    again = Store(tmp_path / "one.sqlite")
    assert [again.has_purged(us) for us in (20, 21)] == [True, False]
    assert [again.has_purged_push(us) for us in (30, 31)] == [True, False], "what is not handled stays"
    again.close()


async def test_what_others_signed_is_known_again_after_a_restart(world: World) -> None:
    await asyncio.sleep(100)
    await world.ask()
    signed_us = world.office.party.newest_signed_us
    assert signed_us >= world.sim.now_us() - SECOND_US
    world.office._purge()
    world.office.host.flush()
    world.sim.crash(OFFICE)
    world.sim.restart(OFFICE)
    assert world.sim.node(OFFICE).party.newest_signed_us == signed_us


async def test_no_permit_that_is_refused_says_what_time_it_is(world: World) -> None:
    broker, town = Forger(world.sim, BROKER), Forger(world.sim, TOWN)
    ahead_us = world.sim.now_us() + 31 * DAY_S * SECOND_US
    line = town.line(town.request(OFFICE, "test.count.v1", b"{}", subject=world.code, procedure="relief"))
    permit = broker.permit(
        line, time=format_time(ahead_us), expiry=format_time(ahead_us + PERMIT_LIFE_US), basis="any"
    )
    world.sim.transmit(BROKER, OFFICE, line + b"\n" + permit)
    await asyncio.sleep(1)
    assert [one.refusal for one in answers_to(world.sim, line)] == ["message_from_future"]
    assert world.office.party.newest_signed_us == world.office.party.view.time_us
    await asyncio.sleep(100)
    await world.ask()
    await world.consent()
    assert world.office.party.newest_signed_us >= world.sim.now_us() - SECOND_US
    own = world.sim.node(BROKER).party
    assert own.newest_signed_us == own.view.time_us, "what a broker signs itself says nothing"


async def test_what_is_past_by_what_others_signed_is_so_however_far_the_clock_is_set_back(
    world: World,
) -> None:
    """Nobody answered it, so nothing is kept that would show that it comes again."""
    start_us = world.sim.now_us()
    town, broker = Forger(world.sim, TOWN), Forger(world.sim, BROKER)
    line = town.line(
        town.request(
            OFFICE, COUNT.name, b'{"number":1}', subject=world.code, procedure="relief", items="number"
        )
    )
    late = line + b"\n" + broker.permit(line, subject=world.code)
    await asyncio.sleep(2 * HOUR_S)
    await world.ask()
    world.set_clock((start_us - world.sim.now_us()) / SECOND_US)
    world.sim.transmit(BROKER, OFFICE, late)
    await asyncio.sleep(1)
    assert codes_at_office(world, line) == ["message_expired"]


# Times of messages and permits.


@pytest.mark.parametrize(
    ("sent_s", "life_s", "code"),
    [
        (0, 60, None),
        (300, 60, None),
        (301, 60, "message_from_future"),
        (-360, 60, None),
        (-361, 60, "message_expired"),
        (0, 61, "message_expired"),
        (0, -1, "message_expired"),
    ],
)
def test_the_tolerance_holds_in_both_directions(sent_s: int, life_s: int, code: str | None) -> None:
    now_us = parse_time("2026-04-01T09:00:00Z")
    sent, expiry = (format_time(now_us + one * SECOND_US) for one in (sent_s, sent_s + life_s))
    found = None
    try:
        check_time(sent, expiry, now_us, PERMIT_LIFE_US)
    except MeshError as error:
        found = error.code
    assert found == code


@pytest.mark.parametrize(
    ("permit_s", "sent_s", "of_permit"),
    [(400, 0, True), (400, 400, False), (-400, 0, True), (-400, -400, False), (301, 10, True)],
)
def test_of_three_clocks_the_one_that_is_alone_is_wrong(permit_s: int, sent_s: int, of_permit: bool) -> None:
    now_us = parse_time("2026-04-01T09:00:00Z")
    times = [format_time(now_us + (permit_s + more) * SECOND_US) for more in (0, 60)]
    permit = Permit(
        broker=BROKER, requestdigest="0" * 64, requester=TOWN, recipient=OFFICE, service="test.count.v1",
        basis="any", registry=1, time=times[0], expiry=times[1],
    )  # fmt: skip
    with pytest.raises(MeshError) as caught:
        check_permit_time(permit, format_time(now_us + sent_s * SECOND_US), now_us, 0)
    assert isinstance(caught.value, Untimely) is of_permit


async def test_a_broker_whose_permit_is_not_of_now_says_so_itself(world: World) -> None:
    """Some 400 s ahead it still takes the question, and the office does not take its permit."""
    broker = world.sim.node(BROKER)
    broker.host.now_us = lambda: world.sim.now_us() + 400 * SECOND_US
    with pytest.raises(Refused) as caught:
        await world.town.ask(OFFICE, COUNT, Query(1), subject=world.code, procedure="relief", attempts=1)
    said = caught.value
    assert (said.code, said.by, said.fault) == ("message_from_future", BROKER, Fault.BROKER)
    [own] = [one.message for one in messages(world.sim, Refusal) if one.sender == OFFICE]
    assert (own.recipient, own.code) == (BROKER, "message_from_future")
    assert [row.entry for row in ledger(world.sim, OFFICE)] == ["refused"]
    assert [row.entry for row in ledger(world.sim, BROKER)] == ["permitted", "closed"]


async def test_a_permit_that_lives_longer_than_a_minute_is_refused(world: World) -> None:
    await world.ask()
    line = captured(world, Request).partition(b"\n")[0]
    broker, now_us = Forger(world.sim, BROKER), world.sim.now_us()
    for life_us in (PERMIT_LIFE_US, PERMIT_LIFE_US + 1):
        permit = broker.permit(line, expiry=format_time(now_us + life_us), time=format_time(now_us))
        world.sim.transmit(BROKER, OFFICE, line + b"\n" + permit)
    await asyncio.sleep(1)
    assert codes_at_office(world, line) == [None, None, "message_expired"]


@pytest.mark.parametrize(
    ("code", "said_s", "own_s", "signed_s", "fault"),
    [
        ("message_expired", 0, 0, 0, None),
        ("message_expired", 300, 0, 0, None),
        ("message_expired", 3600, 0, 0, "speaker"),
        ("message_expired", 0, -3600, 0, "requester"),
        ("message_from_future", -3600, 0, 0, "speaker"),
        ("message_from_future", 0, 3600, 0, "requester"),
        ("certificate_not_yet_valid", -DAY_S, 0, 0, "speaker"),
        ("certificate_expired", DAY_S, 0, 0, "speaker"),
        ("registry_stale", 0, 0, 0, "speaker"),
        ("no_legal_basis", 3600, 0, 0, None),
    ],
)
def test_whose_clock_a_refusal_is_about(
    code: str, said_s: int, own_s: int, signed_s: int, fault: str | None
) -> None:
    for speaker in (Fault.BROKER, Fault.PROVIDER):
        found = fault_of(
            code, speaker, said_us=said_s * SECOND_US, own_us=own_s * SECOND_US, signed_us=signed_s * SECOND_US
        )  # fmt: skip
        assert found == {None: None, "speaker": speaker, "requester": Fault.REQUESTER}[fault]
    assert Refused(code).fault is CODES[code].fault


# What else was measured by the wall clock.


def test_a_rate_is_counted_by_a_clock_that_does_not_step() -> None:
    rates = RateLimit(2)
    rates.count("peer", 0)
    rates.count("peer", 1)
    with pytest.raises(MeshError, match="rate_limited"):
        rates.count("peer", 2)
    rates.count("peer", SECOND_US)


async def test_the_broker_counts_rates_and_holds_exchanges_by_it(world: World) -> None:
    broker: Any = world.sim.node(BROKER)
    broker.authoriser.rates.per_second_max = 1
    await world.ask()
    broker.host.now_us = lambda: world.sim.now_us() + 200 * SECOND_US
    line = captured(world, Request).partition(b"\n")[0]
    world.sim.transmit(TOWN, BROKER, line)
    await asyncio.sleep(0.5)
    assert [one.refusal for one in answers_to(world.sim, line)][-1] == "rate_limited"
    world.push()
    await asyncio.sleep(0.3)
    refused = [one.refusal for one in messages(world.sim, Refusal) if one.message.type == MOVED.name]
    assert refused == ["rate_limited"], "pushes count as well"
    broker.host.now_us = lambda: world.sim.now_us() + 31 * DAY_S * SECOND_US
    broker.router._purge()
    assert digest_of(line) in broker.router._by_digest
    broker.host.now_us = world.sim.now_us
    await asyncio.sleep(1501)
    broker.router._purge()
    assert broker.router._by_digest == {}


async def test_a_head_is_signed_each_hour_though_the_clock_was_ahead_for_a_moment(world: World) -> None:
    await world.ask()
    world.set_clock(31 * DAY_S)
    world.office.sign_head()
    world.set_clock(0)
    await asyncio.sleep(HEAD_EVERY_US / SECOND_US + 1)
    await world.ask()
    assert world.office.host.ledger.signed_size == 2


# Consents.


@pytest.mark.parametrize(
    ("at_us", "code"),
    [
        (0, None),
        (-CLOCK_TOLERANCE_US, None),
        (-CLOCK_TOLERANCE_US - 1, "consent_expired"),
        (9 * SECOND_US, None),
        (10 * SECOND_US, "consent_expired"),
    ],
)
def test_a_consent_is_in_force_when_it_is_given_and_ends_when_it_ends(at_us: int, code: str | None) -> None:
    start_us = parse_time("2026-04-01T09:00:00Z")
    consent = Consent(
        "c", OFFICE, "firm/x", "code", "loan", ("a.b.v1",), (), start_us, start_us + 10 * SECOND_US, 1
    )
    found = None
    try:
        check_scope(consent, Use(OFFICE, "firm/x", "loan", "a.b.v1", frozenset()), start_us + at_us)
    except MeshError as error:
        found = error.code
    assert found == code


def test_an_outcome_is_kept_for_longer_than_clocks_may_differ() -> None:
    """Else a copy could still be of now when its outcome is forgotten."""
    assert KEEP_US > CLOCK_TOLERANCE_US + PERMIT_LIFE_US
