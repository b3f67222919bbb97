"""One process at a time records under a name: who comes second is told so at once, and touches nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.app import make_root
from mesh.errors import UsageError
from mesh.loading import scenarios_of
from mesh.runner import run_scenario
from mesh.trace.claim import Claim, is_claimed
from mesh.trace.reader import Trace
from mesh.trace.writer import TraceWriter

HELD = "is being written by another run; wait for its end, stop it, or name another place"
RECORDS = "from mesh.trace.writer import TraceWriter; writer = TraceWriter(path, scenario='first')"
HOLDS_FOLDER = "from mesh.runner import _folder; folder, claim = _folder(path)"


@contextmanager
def another(does: str, path: Path, *, end: str = "") -> Iterator[None]:
    """Another process that does something with the path and then waits; it ends by itself with `end`, else killed."""
    program = f"import sys, pathlib; path = pathlib.Path(sys.argv[1]); {does}; print(flush=True); sys.stdin.read(); {end}"
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        try:
            yield
        finally:
            if not end:
                process.kill()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept.trace"
    TraceWriter(path, scenario="before").close()
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def scenario_of(path: Path) -> str:
    with Trace.open(path) as trace:
        return str(trace.meta["scenario"])


def typed(*arguments: str | Path) -> tuple[int, str]:
    """The exit code and what stands on the error stream."""
    done = CliRunner().invoke(make_root(nodes="nodes", scenarios="scenarios"), list(map(str, arguments)))
    assert done.stdout == ""
    return done.exit_code, done.stderr


def test_the_second_run_under_a_name_touches_nothing(kept: Path) -> None:
    with another(RECORDS, kept, end="writer.close()"):
        before = files(kept.parent)
        assert is_claimed(kept)
        with pytest.raises(UsageError, match=HELD):
            TraceWriter(kept, scenario="second")
        with pytest.raises(UsageError, match=HELD):
            run_scenario(scenarios_of("scenarios")["birth"], trace=kept, nodes="nodes")
        code, said = typed("run", "birth", "--trace", kept)
        assert (code, said.count("\n"), HELD in said) == (2, 1, True)
        assert files(kept.parent) == before
        assert scenario_of(kept) == "first", "who watches can read it meanwhile"
    assert not is_claimed(kept)
    assert scenario_of(kept) == "first"
    assert set(files(kept.parent)) == {"kept.trace"}


def test_several_runs_are_refused_before_the_first_of_them(tmp_path: Path) -> None:
    with another(RECORDS, tmp_path / "moving-1.trace", end="writer.close()"):
        code, said = typed("run", "birth", "moving", "--trace", f"{tmp_path}/")
        assert (code, HELD in said) == (2, True)
        assert not (tmp_path / "birth-1.trace").exists()


def test_a_name_is_the_same_whichever_way_leads_to_it(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.parent / "link").symlink_to(kept.parent)
    monkeypatch.chdir(kept.parent)
    with another(RECORDS, kept):
        for way in (
            Path("kept.trace"),
            Path("link/kept.trace"),
            Path("link/../") / kept.parent.name / "kept.trace",
        ):
            assert is_claimed(way)
            with pytest.raises(UsageError, match=HELD):
                TraceWriter(way)


def test_a_killed_run_claims_nothing_and_what_stood_there_before_it_comes_back(kept: Path) -> None:
    good = kept.read_bytes()
    for _ in range(2):
        with another(RECORDS, kept):
            pass
        assert not is_claimed(kept)
    TraceWriter(kept, scenario="refused").close(refused=True)
    assert kept.read_bytes() == good
    assert set(files(kept.parent)) == {"kept.trace"}


def test_looking_whether_somebody_writes_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.trace"
    assert not is_claimed(path)
    assert not is_claimed(tmp_path / "no" / "folder")
    assert list(tmp_path.iterdir()) == []
    claim = Claim(path)
    assert is_claimed(path)
    with pytest.raises(UsageError, match=HELD):
        Claim(path)
    claim.release()
    claim.release()
    assert list(tmp_path.iterdir()) == []
    Claim(path).release()


def test_a_run_that_could_not_begin_claims_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder.trace").mkdir()
    with pytest.raises(UsageError, match="is no file"):
        TraceWriter(tmp_path / "folder.trace")
    assert not is_claimed(tmp_path / "folder.trace")
    assert [one.name for one in tmp_path.iterdir()] == ["folder.trace"]


def test_two_runs_do_not_share_a_folder_of_databases(tmp_path: Path) -> None:
    data = tmp_path / "data"
    birth = scenarios_of("scenarios")["birth"]
    with another(HOLDS_FOLDER, data, end="claim.release()"):
        before = files(data)
        with pytest.raises(UsageError, match=HELD):
            run_scenario(birth, data=data, nodes="nodes")
        trace = tmp_path / "x.trace"
        code, said = typed("run", "birth", "--data", data, "--trace", trace)
        assert (code, said.count("\n"), HELD in said) == (2, 1, True)
        assert files(data) == before
        assert not trace.exists()
    assert run_scenario(birth, data=data, nodes="nodes").held
    assert {one.suffix for one in data.iterdir()} == {".sqlite"}
    with pytest.raises(UsageError, match="holds databases of another run"):
        run_scenario(birth, data=data, nodes="nodes")
    assert {one.suffix for one in data.iterdir()} == {".sqlite"}
