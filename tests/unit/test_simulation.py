"""What a simulation does to its nodes: crash and restart, out of reach, and the end of a run."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.json import decode as decode_json

from mesh import (
    Caller,
    LegalBasis,
    MeshError,
    Node,
    Refused,
    Service,
    Simulation,
    ZonePath,
    jws,
    receives,
    serves,
)
from mesh.builtin import LEDGER_MARK, MarkQuery
from mesh.names import BROKER, Zone
from mesh.runner import run_scenario
from mesh.scenario import scenario
from mesh.service import NoticeType, Word
from mesh.testing import in_virtual_time, ledger, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """Says nothing."""


class Note(Struct, frozen=True):
    """A word."""

    word: Word


ECHO = Service("t.echo.v1", Empty, Empty, title="Echo", title_ja="反響")
NOTE = NoticeType("t.note.v1", Note, title="Note", title_ja="通知")


class Office(Node):
    """Answers, and keeps what it is told."""

    schema = "CREATE TABLE word(word TEXT)"

    @serves(ECHO)
    async def echo(self, query: Empty, caller: Caller) -> Empty:
        """Answers."""
        return Empty()

    @receives(NOTE)
    async def note(self, body: Note, caller: Caller, person: str) -> None:
        """Keeps it."""
        with self.effect():
            self.db.execute("INSERT INTO word VALUES (?)", (body.word,))


def enrol(sim: Simulation) -> None:
    sim.add(Office, DESK)
    sim.add(Office, OFFICE)
    sim.allow(LegalBasis("muni/*/desk", "relief", "muni/*/office", NOTE.name, ("word",)))


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as made:
        enrol(made)
        yield made


async def reached(sim: Simulation) -> bool:
    """Whether the office answers the desk."""
    try:
        await sim.node(DESK).ask(OFFICE, ECHO, Empty(), timeout_s=1)
    except Refused as refused:
        if refused.code != "recipient_unreachable":
            raise
        return False
    return True


def tell(sim: Simulation, word: str) -> str:
    """Have the desk send a notice; returns its id."""
    code = sim.code("muni/01208", sim.resident("12345678901"))
    return sim.node(DESK).notify(NOTE, OFFICE, Note(word), subject=code, procedure="relief")


def words(sim: Simulation) -> list[str]:
    return [row[0] for row in sim.node(OFFICE).db.execute("SELECT word FROM word")]


async def test_addresses_are_found_by_role_in_order_of_enrolment(sim: Simulation) -> None:
    for address in ("pref/01/office", "muni/00009/office", "muni/00003/desk"):
        sim.add(Office, address)
    assert sim.addresses("muni/*/office") == [OFFICE, "muni/00009/office"]
    assert sim.addresses("*/*/office") == [OFFICE, "pref/01/office", "muni/00009/office"]
    assert sim.addresses("muni/00003/*") == sim.addresses("muni/00003/desk") == ["muni/00003/desk"]
    assert sim.addresses("muni/*/tax") == sim.addresses("muni/00003/tax") == []
    assert len(sim.addresses()) == 6  # with the broker


class TestTheEnd:
    def test_a_node_that_is_down_with_work_stays_down_and_its_head_is_signed(self, tmp_path: Path) -> None:
        @scenario(title="t", title_ja="t")
        async def run(sim: Simulation) -> None:
            enrol(sim)
            sim.node(OFFICE)
            sim.crash(OFFICE)
            tell(sim, "late")
            await sim.sleep(5)
            for address in (DESK, BROKER):
                sim.crash(address)
            sim.expect("three are down", True)

        path = tmp_path / "run.mesh"
        result = run_scenario(run, trace=path)
        assert (result.held, result.error) == (True, None)
        with Trace.open(path) as trace:
            assert verify(trace).finding is None
            last = {party: decode_json(jws.parse(token).payload)["size"] for party, token in trace.heads()}
            assert last == {party: len(list(trace.ledger(party))) for party in (BROKER, DESK, OFFICE)}
            assert all(trace.sealing_keys(party) for party in last)

    async def test_a_node_that_was_never_made_may_be_down(self) -> None:
        with simulation() as sim:
            enrol(sim)
            sim.crash(OFFICE)
            assert not await reached(sim)
        assert OFFICE not in sim._stores


class TestRestart:
    async def test_no_message_id_is_drawn_twice(self, sim: Simulation) -> None:
        first = [sim.node(DESK).host.new_id(0) for _ in range(3)]
        drawn = set(first)
        for _ in range(2):
            sim.crash(DESK)
            sim.restart(DESK)
            drawn.update(sim.node(DESK).host.new_id(0) for _ in range(3))
        assert len(drawn) == 9

    async def test_a_node_draws_the_same_in_every_run(self) -> None:
        drawn = []
        for _ in range(2):
            with simulation() as sim:
                enrol(sim)
                sim.node(DESK)
                sim.crash(DESK)
                sim.restart(DESK)
                drawn.append(sim.node(DESK).host.new_id(0))
        assert drawn[0] == drawn[1]

    async def test_a_notice_waits_for_the_node(self, sim: Simulation) -> None:
        sim.node(OFFICE)
        sim.crash(OFFICE)
        tell(sim, "early")
        await sim.sleep(5)
        sim.restart(OFFICE)
        await sim.sleep(30)
        assert words(sim) == ["early"]


class TestOffline:
    async def test_the_node_runs_on_and_is_the_same_afterwards(self, sim: Simulation) -> None:
        office = sim.node(OFFICE)
        with sim.offline(OFFICE):
            assert sim.node(OFFICE) is office
            assert not await reached(sim)
        assert sim.node(OFFICE) is office
        assert await reached(sim)

    async def test_blocks_may_overlap(self, sim: Simulation) -> None:
        with sim.offline(OFFICE):
            with sim.offline(OFFICE):
                assert not await reached(sim)
            assert not await reached(sim)
        assert await reached(sim)

    async def test_a_crash_inside_outlasts_it(self, sim: Simulation) -> None:
        office = sim.node(OFFICE)
        with sim.offline(OFFICE):
            sim.crash(OFFICE)
        assert not office.host.alive
        assert not await reached(sim)
        sim.restart(OFFICE)
        assert await reached(sim)

    async def test_a_restart_inside_stays_out_of_reach_until_its_end(self, sim: Simulation) -> None:
        office = sim.node(OFFICE)
        with sim.offline(OFFICE):
            sim.restart(OFFICE)
            assert sim.node(OFFICE) is office
            sim.crash(OFFICE)
            sim.restart(OFFICE)
            assert (office.host.alive, sim.node(OFFICE).host.alive) == (False, True)
            assert not await reached(sim)
        assert await reached(sim)


class TestEntries:
    async def test_an_entry_does_not_depend_on_who_was_used_first(self) -> None:
        entries = []
        for first in (DESK, OFFICE):
            with simulation() as sim:
                enrol(sim)
                sim.node(first)
                sim.node(DESK)
                entries.append([data for _, address, data in sim.registry.rows() if address == DESK])
        assert entries[0] == entries[1]


class TestMarks:
    """Hiding an exchange from its person (番号法23条2項) is for whom a row of the law names."""

    async def mark(self, sim: Simulation, procedure: str | None) -> str:
        message = tell(sim, "hidden")
        await sim.sleep(1)
        try:
            await sim.node(DESK).ask(BROKER, LEDGER_MARK, MarkQuery(message), procedure=procedure)
        except MeshError as error:
            return error.code
        return "marked" if any(row.entry == "mark" for row in ledger(sim, BROKER)) else "nothing"

    async def test_nobody_marks_without_a_row(self, sim: Simulation) -> None:
        sim.allow_path(ZonePath(Zone.MYNUMBER, Zone.CLOUD))
        assert await self.mark(sim, None) == "no_legal_basis"
        assert await self.mark(sim, "history-mark") == "no_legal_basis"
        sim.allow(LegalBasis("muni/*/desk", "history-mark", "*/*/*", LEDGER_MARK.name))
        assert await self.mark(sim, None) == "no_legal_basis"
        assert await self.mark(sim, "history-mark") == "marked"


@in_virtual_time
async def test_a_test_runs_in_virtual_time_without_a_plugin(tmp_path: Path) -> None:
    """With its fixtures."""
    with simulation(data=tmp_path) as sim:
        began_us = sim.now_us()
        await asyncio.sleep(86_400)
        assert sim.now_us() - began_us == 86_400_000_000


def test_a_test_in_virtual_time_can_fail() -> None:
    @in_virtual_time
    async def fails() -> None:
        await asyncio.sleep(1)
        raise LookupError

    with pytest.raises(LookupError):
        fails()


class Clock(Node):
    """Answers with what the machine's own clock says."""

    @serves(ECHO)
    async def echo(self, query: Empty, caller: Caller) -> Empty:
        """Looks at what no node may look at."""
        time.time()
        return Empty()


class Network(Node):
    """Answers with what somebody outside says."""

    @serves(ECHO)
    async def echo(self, query: Empty, caller: Caller) -> Empty:
        """Reaches out."""
        with urllib.request.urlopen("http://127.0.0.1:9/"):
            return Empty()


@pytest.mark.parametrize("cls", [Clock, Network])
@pytest.mark.parametrize("in_a_run", [True, False])
def test_a_test_has_the_guard_that_a_run_has(
    cls: type[Node], in_a_run: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The case of a node that reads the wall clock: what fails in a run fails in the test of the same node, and says the same."""
    codes: list[str] = []

    async def story(sim: Simulation) -> None:
        sim.add(cls, OFFICE)
        sim.add(Office, DESK)
        try:
            await sim.node(DESK).ask(OFFICE, ECHO, Empty())
        except Refused as refused:
            codes.append(refused.code)

    @in_virtual_time
    async def as_a_test() -> None:
        with simulation() as sim:
            await story(sim)

    if in_a_run:
        run_scenario(scenario(title="t", title_ja="試")(story))
    else:
        as_a_test()
    assert codes == ["handler_failed"]
    assert "differs from run to run; use" in capsys.readouterr().err
