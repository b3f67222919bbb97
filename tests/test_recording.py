"""Recording over a recording: what was there stays until there is something to take its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.errors import UsageError
from mesh.recorder import NO_PASSAGE
from mesh.runner import run_scenario
from mesh.scenario import Scenario
from mesh.trace.reader import Trace
from mesh.trace.schema import COMMIT_EVERY
from mesh.trace.writer import TraceWriter
from tests.helpers_trace import BROKER, CITY

STARTS = "2026-04-01T09:00:00+09:00"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept.trace"
    TraceWriter(path, scenario="before").close()
    (tmp_path / "kept.trace-journal").write_bytes(b"what a killed run left")
    return path


def files(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.parent.iterdir()}


def scenario_of(path: Path) -> str:
    with Trace.open(path) as trace:
        return str(trace.meta["scenario"])


def send(writer: TraceWriter, count: int) -> None:
    for _ in range(count):
        writer.transmission(writer.sent(), 0, 0, CITY, BROKER, b"line", "delivered", NO_PASSAGE)


def test_a_run_that_is_refused_leaves_what_was_recorded_before(kept: Path) -> None:
    async def refuse(_sim: object) -> None:
        raise UsageError("neighbours is 8 to 60")

    before = files(kept)
    for path in (kept, kept.with_name("new.trace")):
        with pytest.raises(UsageError):
            run_scenario(Scenario("odd", "", "", (), (), STARTS, (), refuse), trace=path)
        assert files(kept) == before


def test_a_run_that_is_interrupted_before_it_sends_leaves_what_was_recorded_before(kept: Path) -> None:
    before = files(kept)
    writer = TraceWriter(kept, scenario="new")
    assert scenario_of(kept) == "new"  # Who watches sees the new one at once.
    writer.close(complete=False)
    assert files(kept) == before


@pytest.mark.parametrize("complete", [True, False])
def test_what_was_recorded_before_goes_when_something_takes_its_place(kept: Path, complete: bool) -> None:
    writer = TraceWriter(kept, scenario="new")
    send(writer, 3)
    writer.close(complete=complete)
    assert scenario_of(kept) == "new"
    assert set(files(kept)) == {"kept.trace"}


def test_a_long_run_does_not_keep_two_recordings(kept: Path) -> None:
    writer = TraceWriter(kept, scenario="new")
    send(writer, COMMIT_EVERY + 1)
    writer.commit()
    assert ".kept.trace.before" not in files(kept)
    writer.close()


def test_a_folder_is_not_set_aside(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot write the trace"):
        TraceWriter(tmp_path / "folder")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
