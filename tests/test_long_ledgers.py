"""A ledger only grows: what a node reads when it comes up does not, and what it keeps besides goes in its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import Struct

from mesh import Caller, LegalBasis, MeshError, Node, Service, Simulation, receives, serves
from mesh.backoff import OF_PUSHES
from mesh.exchange import digest_of
from mesh.ledger import Ledger
from mesh.merkle import Tree
from mesh.message import Event, Request
from mesh.names import BROKER
from mesh.service import EventType
from mesh.store import Store
from mesh.testing import Forger, answers_to, ledger, messages, simulation

COUNTER, HALL = "muni/01208/counter", "muni/01208/hall"
DAY_S = 86_400


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """Which room."""


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

    @receives(CLOSED)
    async def closed(self, event: Event, caller: Caller, person: str) -> None:
        """It does nothing."""


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as one:
        one.add(Hall, HALL)
        one.add(Counter, COUNTER)
        one.allow(LegalBasis("muni/*/counter", "t-halls", "muni/*/hall", CLOSED.name, (), "illustrative"))
        yield one


def steps_to_come_up(sim: Simulation, address: str) -> int:
    """Steps of SQLite's machine, in hundreds, from a crash until the node is up: what is read is counted, no time is."""
    sim.crash(address)
    db, steps = sim._stores[address].db, [0]

    def step() -> int:
        steps[0] += 1
        return 0

    db.set_progress_handler(step, 100)
    sim.restart(address)
    db.set_progress_handler(None, 0)
    return steps[0]


async def grow(sim: Simulation, count: int) -> None:
    for _ in range(count):
        await sim.node(COUNTER).ask(HALL, ROOMS, Ask())
    hall, person = sim.node(HALL), sim.code("muni/01208", sim.resident("01234567890"))
    for _ in range(count // 4):
        hall.publish(CLOSED, person)
    await sim.sleep(60)


async def test_a_start_reads_as_much_of_a_long_ledger_as_of_a_short_one(sim: Simulation) -> None:
    await grow(sim, 300)
    short = {address: steps_to_come_up(sim, address) for address in (BROKER, HALL, COUNTER)}
    await grow(sim, 3000)
    for address in (BROKER, HALL):
        assert len(ledger(sim, address)) > 6 * 300
        # A row takes five steps of the machine and more; at most 256 rows may have come since the tree was kept.
        assert steps_to_come_up(sim, address) <= short[address] + 50, address
    assert (await sim.node(COUNTER).ask(HALL, ROOMS, Ask())).free == 3


async def test_the_head_of_a_node_that_came_up_is_over_all_of_its_rows(sim: Simulation) -> None:
    await grow(sim, 400)
    for address in (BROKER, HALL, COUNTER):
        steps_to_come_up(sim, address)
    await grow(sim, 40)
    for address in (BROKER, HALL, COUNTER):
        node = sim.node(address)
        own = node.host.ledger
        own._hash()
        rows = list(node.host.store.ledger_rows())
        whole = Tree()
        whole.extend(rows)
        assert (own.size, own._tree.root()) == (len(rows), whole.root())
        assert node.host.store.grown()[0] >= own.size - 2 * 256


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 300])
def test_a_tree_goes_on_from_its_peaks(size: int) -> None:
    whole, grown = Tree(), Tree()
    grown.extend(str(number).encode() for number in range(size))
    again = Tree.grown(grown.size, grown.peaks)
    again.extend(str(number).encode() for number in range(size, 400))
    whole.extend(str(number).encode() for number in range(400))
    assert (again.size, again.root()) == (whole.size, whole.root())
    for wrong in (grown.peaks + bytes(32), grown.peaks[:-1] or b"x"):
        with pytest.raises(MeshError, match="peaks"):
            Tree.grown(size, wrong)


class Slow(Hall):
    """Takes its time."""

    @serves(ROOMS)
    async def rooms(self, query: Ask, caller: Caller) -> Free:
        """Two, after a while."""
        await asyncio.sleep(5)
        return Free(2)


async def test_an_answer_to_a_question_of_before_the_restart_is_passed_on(sim: Simulation) -> None:
    slow = "muni/28100/hall"
    sim.add(Slow, slow)
    asked = asyncio.create_task(sim.node(COUNTER).ask(slow, ROOMS, Ask(), timeout_s=20, attempts=1))
    await sim.sleep(1)
    sim.crash(BROKER)
    sim.restart(BROKER)
    assert (await asked).free == 2
    assert [row.entry for row in ledger(sim, BROKER)] == ["permitted", "closed"]


async def test_a_repeat_and_a_conflict_are_known_after_a_restart(sim: Simulation) -> None:
    await sim.node(COUNTER).ask(HALL, ROOMS, Ask())
    asked = messages(sim, Request)[0]
    sim.crash(BROKER)
    sim.restart(BROKER)
    forger = Forger(sim, COUNTER)
    other = forger.send(forger.request(HALL, ROOMS.name, id=asked.message.id))
    sim.transmit(COUNTER, BROKER, asked.line)
    await sim.sleep(5)
    assert [(one.sender, one.refusal) for one in answers_to(sim, other)] == [(BROKER, "id_conflict")]
    assert len({one.line for one in answers_to(sim, asked.line)}) == 1
    assert [row.entry for row in ledger(sim, HALL)] == ["answered"], "the effect is one"
    assert [row.entry for row in ledger(sim, BROKER)].count("permitted") == 2, (
        "the repeat goes on with a new permit"
    )


async def test_exchanges_are_found_wherever_their_rows_stand(sim: Simulation) -> None:
    """Keys are committed many at a time: some rows have theirs in the database, some had not before the restart."""
    await grow(sim, 150)
    asked = messages(sim, Request)
    for _ in range(2):  # What one start took up the next must find as well.
        sim.crash(BROKER)
        sim.restart(BROKER)
    broker: Any = sim.node(BROKER)
    grown = broker.host.store.grown()[0]
    assert 0 < grown < broker.host.ledger.size
    at = {
        row.requestdigest: number
        for number, row in enumerate(ledger(sim, BROKER))
        if row.entry == "permitted"
    }
    digests = {digest_of(one.line): one.message.id for one in asked if one.recipient == BROKER}
    assert {at[digest] < grown for digest in digests} == {True, False}
    earlier = broker.router._earlier
    for digest, message_id in digests.items():
        assert [row.entry for row in earlier.about(digest)] == ["permitted", "closed"]
        assert earlier.digest_of(COUNTER, message_id) == digest
        assert earlier.digest_of(HALL, message_id) is None


async def test_what_is_kept_goes_in_its_time_and_ledger_rows_stay(sim: Simulation) -> None:
    await grow(sim, 8)
    stores = {address: sim._stores[address] for address in (BROKER, HALL, COUNTER)}

    def kept(table: str) -> dict[str, int]:
        return {
            address: store.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for address, store in stores.items()
        }

    rows = kept("mesh_ledger")
    assert (kept("mesh_outcome")[HALL], kept("mesh_inbox")[COUNTER], kept("mesh_outcome")[BROKER]) == (
        8,
        2,
        2,
    )
    await sim.sleep(13 * 3600)
    assert kept("mesh_outcome")[HALL] == 0, "nobody commits, and they go when the authority has signed a time"
    assert (kept("mesh_inbox")[COUNTER], kept("mesh_outcome")[BROKER]) == (2, 2)
    await sim.sleep(38 * DAY_S)
    assert sum((kept("mesh_inbox") | kept("mesh_outcome")).values()) == 0
    assert kept("mesh_ledger") == rows


async def test_a_dead_letter_goes_when_nobody_can_send_it_again(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A month of deliveries every 20 s would be 130,000 lines to nobody.
    monkeypatch.setattr("mesh.outbox.OF_PUSHES", OF_PUSHES._replace(longest_us=6 * 3_600_000_000))
    sim.crash(COUNTER)
    sim.node(HALL).publish(CLOSED, sim.code("muni/01208", sim.resident("01234567890")))
    await sim.sleep(31 * DAY_S)
    broker: Any = sim.node(BROKER)
    assert len(broker.given_up()) == 1
    await sim.sleep(8 * DAY_S)
    assert broker.given_up() == []
    assert sim._stores[BROKER].outbox() == []


def test_a_database_opened_again_knows_what_it_kept(tmp_path: Any) -> None:
    path = tmp_path / "one.sqlite"
    store = Store(path)
    store.commit([("outcome", ("source", "id", "digest", b"line", 10))])
    store.commit([("key", (7, 0)), ("key", (7, 0))], [bytearray(b"1")])
    store.close()
    again = Store(path)
    assert again.kept("source", "id") == ("digest", b"line")
    assert again.kept("source", "other") is None
    assert (again.positions_of(7), again.positions_of(8)) == ([0], [])
    assert Ledger("p", again.ledger_rows(), again.grown()).size == 1
    again.close()
