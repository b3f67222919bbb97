"""What `trace verify` and `trace show` say of files that are not whole: cut, interrupted, killed, still being written."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh.faults import repeat
from mesh.policy import LegalBasis
from mesh.recorder import NO_PASSAGE
from mesh.simulation import Simulation
from mesh.trace.reader import Trace
from mesh.trace.schema import COMMIT_EVERY
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from tests.helpers_trace import BROKER, CITY, INCOME, TAX, City, Query, Tax, edit, make_trace, query, tell


async def crowd(sim: Simulation) -> None:
    """Many questions, several of which are always under way."""
    sim.add(Tax, TAX)
    sim.add(City, CITY)
    sim.allow(
        LegalBasis("muni/*/child-allowance", "child-allowance", "muni/*/tax", "tax.income.v1", ("income",))
    )
    anna = sim.resident("12345678901")
    with sim.node(TAX).effect():
        sim.node(TAX).db.execute("INSERT INTO income VALUES (?, 500)", (sim.code("muni/28100", anna),))

    sim.disturbance.rules.append(repeat(TAX, BROKER, after_us=30_000_000))

    async def ask(pause_s: float) -> None:
        await sim.sleep(pause_s)
        for _ in range(20):
            await sim.node(CITY).ask(
                TAX, INCOME, Query(2025), subject=sim.code("muni/01208", anna), procedure="child-allowance",
                items=("income",),
            )  # fmt: skip

    async def late() -> None:
        await sim.sleep(0.02)
        sim.disturbance.rules.clear()

    await asyncio.gather(late(), *(ask(0.001 * number) for number in range(7)))


def run_to_commit(path: Path, commits: int) -> None:
    """Let a run be killed right after so many commits: what the file holds then is put at the path."""
    beside = path.with_name("running.trace")
    count = 0
    commit = TraceWriter.commit

    def killed(self: TraceWriter) -> None:
        nonlocal count
        commit(self)
        count += 1
        if count == commits:
            # Its journal would take back what came after the commit, which is nothing.
            shutil.copy(beside, path)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TraceWriter, "commit", killed)
        patch.setattr("mesh.trace.writer.COMMIT_EVERY", 100)
        patch.setattr("mesh.trace.writer._GATHERED", 9)
        with pytest.raises(KeyboardInterrupt):
            tell(beside, crowd)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("killed") / "killed.trace"
    run_to_commit(path, 3)
    return path


@pytest.fixture
def killed(committed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(committed, tmp_path / "killed.trace"))


def report(path: Path) -> dict[str, Any]:
    with Trace.open(path) as opened:
        return verify(opened).to_dict()


def fault(path: Path) -> str:
    found = report(path)
    assert not found["ok"]
    return str(found["first_fault"]["text"])


def test_a_run_killed_at_a_commit_holds_and_is_not_complete(killed: Path) -> None:
    found = report(killed)
    assert found["first_fault"] is None
    assert found["ok"]
    assert not found["complete"]
    assert found["checked"]["messages"] > 250
    assert found["unsigned"] > 100
    with Trace.open(killed) as opened:
        assert 1 < len(opened.under_way()) < 20


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("DELETE FROM ledger", "missing"),
        ("DELETE FROM transmission WHERE number = 50", "transmission 50 is missing"),
        ("DELETE FROM transmission WHERE number < 4", "transmission 0 is missing"),
        ("DELETE FROM ledger WHERE number = (SELECT max(number) - 40 FROM ledger)", "never opened it"),
        ("DELETE FROM head WHERE number = 1", "no signed head covers it"),
        ("UPDATE meta SET value = '[50]' WHERE key = 'under_way'", "is missing"),
        ("DELETE FROM meta WHERE key = 'under_way'", "is missing"),
    ],
)
def test_only_what_came_after_the_last_commit_is_excused(killed: Path, sql: str, text: str) -> None:
    edit(killed, sql)
    assert text in fault(killed)


@pytest.mark.parametrize("complete", [0, 1])
def test_a_trace_whose_ledgers_were_deleted_does_not_hold(tmp_path: Path, complete: int) -> None:
    path = make_trace(tmp_path / "t.trace")
    edit(path, "UPDATE meta SET value = ? WHERE key = 'complete'", str(complete))
    edit(path, "DELETE FROM ledger")
    edit(path, "DELETE FROM head")
    assert "did not record" in fault(path)


@pytest.mark.parametrize("party", [CITY, TAX, BROKER])
def test_nor_does_one_without_the_ledger_of_one_party(killed: Path, party: str) -> None:
    ((number,),) = query(killed, "SELECT number FROM party WHERE address = ?", party)
    edit(killed, "DELETE FROM ledger WHERE party = ?", number)
    edit(killed, "DELETE FROM head WHERE party = ?", number)
    assert fault(killed)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_file_that_was_cut_does_not_hold_and_says_so(tmp_path: Path, share: float) -> None:
    path = make_trace(tmp_path / "t.trace", rounds=40)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    found = report(path)
    assert not found["ok"]
    assert not found["complete"]
    assert f"truncated: {int(len(data) * share)} of {len(data)} bytes" in found["first_fault"]["text"]


def test_a_cut_that_takes_nothing_that_is_read_is_found_as_well(tmp_path: Path) -> None:
    path = make_trace(tmp_path / "t.trace")
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE filler(data BLOB)")
    db.execute("INSERT INTO filler VALUES (zeroblob(100000))")
    db.execute("DROP TABLE filler")  # Its pages are free now.
    db.commit()
    db.close()
    assert report(path)["ok"]
    data = path.read_bytes()
    path.write_bytes(data[:-8192])
    assert "truncated" in fault(path)


def test_a_run_killed_before_its_first_commit_has_recorded_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    writer = TraceWriter(path, scenario="killed")
    with Trace.open(path) as opened:
        assert opened.live
        live = verify(opened).to_dict()
    writer.db.close()
    found = report(path)
    for one in (live, found):
        assert (one["ok"], one["first_fault"], one["complete"], one["nothing"]) == (False, None, False, True)
    assert (live["live"], found["live"]) == (True, False)


def test_messages_without_a_registry_are_not_nothing(killed: Path) -> None:
    edit(killed, "DELETE FROM registry_entry")
    edit(killed, "DELETE FROM registry_head")
    edit(killed, "DELETE FROM meta WHERE key = 'root'")
    assert "has no registry" in fault(killed)


def test_a_trace_is_still_being_written_right_after_a_commit_too(tmp_path: Path) -> None:
    writer = TraceWriter(path := tmp_path / "t.sqlite", scenario="slow")
    for _ in range(COMMIT_EVERY):
        writer.transmission(writer.sent(), 0, 0, CITY, BROKER, b"line", "delivered", NO_PASSAGE)
    writer.commit()
    with Trace.open(path) as opened:
        assert opened.live
        assert ["still being written" in note for note in opened.notes] == [True]
    writer.close()
    with Trace.open(path) as opened:
        assert not opened.live
        assert opened.notes == ()


@contextmanager
def under_way(path: Path) -> Iterator[list[dict[str, Any]]]:
    """A run that is looked at from a second connection whenever it commits."""
    found: list[dict[str, Any]] = []
    commit = TraceWriter.commit

    def looked_at(self: TraceWriter) -> None:
        commit(self)
        found.append(report(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TraceWriter, "commit", looked_at)
        patch.setattr("mesh.trace.writer.COMMIT_EVERY", 100)
        patch.setattr("mesh.trace.writer._GATHERED", 9)
        yield found


def test_a_run_under_way_verifies_at_each_commit(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with under_way(path) as found:
        tell(path, crowd)
    assert len(found) > 3
    assert [(one["ok"], one["live"], one["complete"]) for one in found] == [(True, True, False)] * len(found)
    assert report(path)["complete"]


def test_what_is_committed_while_a_verification_goes_on_is_left_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    commits = 0
    commit = TraceWriter.commit
    checked: list[dict[str, Any]] = []
    trace: Trace | None = None

    def slow(self: TraceWriter) -> None:
        nonlocal commits, trace
        commit(self)
        commits += 1
        if commits == 2:
            trace = Trace.open(path)
            ends = trace.ends()
            trace.ends = lambda: ends  # type: ignore[method-assign]
        if commits == 4:
            assert trace is not None
            checked.append(verify(trace).to_dict())
            trace.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TraceWriter, "commit", slow)
        patch.setattr("mesh.trace.writer.COMMIT_EVERY", 100)
        patch.setattr("mesh.trace.writer._GATHERED", 9)
        tell(path, crowd)
    assert [one["first_fault"] for one in checked] == [None]
    assert 150 < checked[0]["checked"]["messages"] < 210
