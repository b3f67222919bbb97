"""What ends a run or an export too early: signals, a full disk, a limit. One line, and no half of anything."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.whole import whole_file

ROOT = Path(__file__).parent.parent
LONG = """
from msgspec import Struct
from mesh import Caller, Node, Service, Simulation, scenario, serves

class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    pass

class Free(Struct, frozen=True):
    free: int

ROOMS = Service("t.rooms.v1", Ask, Free, title="Rooms", title_ja="会議室")

class Hall(Node):
    @serves(ROOMS)
    async def rooms(self, query: Ask, caller: Caller) -> Free:
        return Free(3)

@scenario(title="Long", title_ja="長い", sources=("illustrative",))
async def run(sim: Simulation, *, questions: int = 1000000) -> None:
    sim.add(Hall, "muni/01208/hall")
    sim.add(Node, "muni/01208/counter")
    counter = sim.node("muni/01208/counter")
    for number in range(questions):
        await counter.ask("muni/01208/hall", ROOMS, Ask())
        if number == 600:
            print("under way", flush=True)
    print("to the end", flush=True)
"""

ENDS = ("--set", "questions=1500")
"""More than fits into any limit here; a run that goes on without a disk comes to its end, and says so."""


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A scenario that goes on until somebody ends it, and says when it has committed a part."""
    path = tmp_path / "long.py"
    path.write_text(LONG)
    return path


def start(*arguments: str | Path, prepare: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "run_sim.py", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # A limit would cut the compiled modules that others read.
    )  # fmt: skip


def lines(said: str) -> list[str]:
    """What stands on the error stream besides what the scenario printed and progress."""
    return [line for line in said.splitlines() if line.strip() and line != "under way"]


def wait_until_under_way(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_one_line_and_a_trace_that_verifies(long: Path, name: str) -> None:
    trace, number = long.with_name("long.trace"), signal.Signals[name]
    with start("run", long, "--trace", trace) as process:
        wait_until_under_way(process)
        process.send_signal(number)
        out, err = process.communicate()
    word = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert process.returncode == 128 + number
    assert (out, lines(err)) == ("", [f"{word}; the trace up to here is {trace}"])
    with Trace.open(trace) as opened:
        assert not opened.complete
        assert not opened.live
        report = verify(opened)
        assert report.ok
        assert report.messages > 2000
    assert [one.name for one in long.parent.glob("*long.trace*")] == ["long.trace"]


def test_a_signal_ends_a_run_that_ignores_ctrl_c(long: Path) -> None:
    """As a shell's background job does."""
    trace = long.with_name("long.trace")
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with start("run", long, "--trace", trace, prepare=ignore) as process:
        wait_until_under_way(process)
        process.terminate()
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert lines(err) == [f"ended by SIGTERM; the trace up to here is {trace}"]
    with Trace.open(trace) as opened:
        assert verify(opened).ok


def test_nohup_still_holds(long: Path) -> None:
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    with start("run", long, "--set", "questions=700", prepare=ignore) as process:
        wait_until_under_way(process)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate()
    assert "SIGHUP" not in err


def test_a_killed_run_leaves_a_trace_that_verifies_up_to_its_last_commit(long: Path) -> None:
    trace = long.with_name("long.trace")
    with start("run", long, "--trace", trace) as process:
        wait_until_under_way(process)
        process.kill()
    with Trace.open(trace) as opened:
        report = verify(opened)
        assert (report.ok, opened.complete) == (True, False)


@pytest.mark.parametrize("limit_kib", [16, 200, 800, 3000])
def test_a_file_that_may_not_grow_leaves_one_line_and_no_half_trace(long: Path, limit_kib: int) -> None:
    """A limit on files (EFBIG) comes to SQLite as a full disk does (ENOSPC): a write that fails."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit_kib * 1024, limit_kib * 1024))
    trace = long.with_name("long.trace")
    with start("run", long, "--trace", trace, *ENDS, prepare=limit) as process:
        out, err = process.communicate()
    assert (process.returncode, "to the end" in out) == (2, False)
    (line,) = lines(err)
    assert line.startswith("error: cannot write ")
    assert str(trace) in line
    if trace.exists():
        with Trace.open(trace) as opened:
            assert verify(opened).ok
    assert not list(long.parent.glob(".*long.trace*"))


def test_databases_that_may_not_grow_are_said_too(long: Path) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100 * 1024, 100 * 1024))
    data = long.with_name("data")
    with start("run", long, "--data", data, *ENDS, prepare=limit) as process:
        out, err = process.communicate()
    assert (process.returncode, "to the end" in out) == (2, False)
    (line,) = lines(err)
    assert line.startswith("error: cannot write ")


# Exports, pages and templates.


def exported(*arguments: str | Path, limit: int) -> tuple[int, list[str]]:
    prepare = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    with start(*arguments, prepare=prepare) as process:
        _, err = process.communicate()
    return process.returncode, lines(err)


@pytest.mark.parametrize("form", ["jsonl", "cloudevents", "perfetto", "otlp", "html", "mermaid"])
def test_an_export_is_whole_or_not_there(shipped: Callable[[str], Any], tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    for before in (None, b"what stood there"):
        if before is not None:
            out.write_bytes(before)
        code, said = exported(
            "trace", "export", shipped("moving").trace, "--to", form, "--out", out, limit=8192
        )
        assert (code, len(said)) == (2, 1), "\n".join(said[-8:])
        assert said[0].startswith("error: cannot write ")
        assert out.exists() == (before is not None)
        assert before is None or out.read_bytes() == before
        assert {one.name for one in tmp_path.iterdir()} <= {"out"}


def test_a_report_page_is_whole_or_what_stood_there(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with start("run", "birth", "--report", page) as process:
        process.communicate()
    assert process.returncode == 0
    good = page.read_bytes()
    code, said = exported("run", "birth", "--report", page, limit=8192)
    assert (code, len(said)) == (2, 1)
    assert "cannot write the report" in said[0]
    assert page.read_bytes() == good
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_a_template_is_whole_or_not_there(tmp_path: Path) -> None:
    code, said = exported("new", "node", "nursery", "--into", tmp_path, limit=100)
    assert (code, len(said)) == (2, 1)
    assert list(tmp_path.iterdir()) == []


# The file itself.


def test_a_whole_file_replaces_at_once_and_keeps_links_and_modes(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with whole_file(link) as file:
        file.write(b"new")
        file.flush()
        assert real.read_bytes() == b"old"
    assert (real.read_bytes(), link.is_symlink(), real.stat().st_mode & 0o777) == (b"new", True, 0o640)


@pytest.mark.parametrize("new", [False, True])
def test_what_fails_midway_leaves_nothing(tmp_path: Path, new: bool) -> None:
    def write() -> None:
        with whole_file(tmp_path / "x", new=new) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_replaces(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(FileExistsError), whole_file(tmp_path / "x", new=True) as file:
        file.write(b"other")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("x", b"mine")]


def test_a_device_and_a_pipe_are_written_as_they_are(tmp_path: Path) -> None:
    with whole_file(Path("/dev/null")) as file:
        file.write(b"gone")
    assert not Path("/dev/null").is_file()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        with whole_file(pipe) as file:
            file.write(b"through")
        assert reader.communicate()[0] == b"through"
