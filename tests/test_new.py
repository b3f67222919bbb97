"""What `new` writes: files that run, are clean, and never replace anybody's work."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mesh.cli.app import make_root
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent


def cli(*args: str) -> Result:
    return CliRunner().invoke(make_root(nodes=None, scenarios=None), args, prog_name="run_sim.py")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["node", "scenario"])
@pytest.mark.parametrize("name", ["nursery", "flood-relief", "x2"])
def test_what_is_written_runs_and_holds(kind: str, name: str) -> None:
    written = cli("new", kind, name, "--json")
    assert written.exit_code == 0
    path = json.loads(written.stdout)["path"]
    assert path == f"{name.replace('-', '_')}.py"
    result = cli("run", path, "--json", "--trace", "t.trace")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    assert run["messages"] == (8 if kind == "node" else 6)
    assert len(run["expectations"]) == 2
    assert len(Path(path).read_text(encoding="utf-8").splitlines()) <= 55


def test_the_scenario_has_a_setting_that_can_be_set() -> None:
    cli("new", "scenario", "flood")
    assert cli("flood.py", "--set", "nights=5").exit_code == 0


def test_the_services_of_a_new_node_are_in_the_catalogue() -> None:
    cli("new", "node", "nursery")
    result = cli("services", "nursery.py", "--json")
    names = [one["name"] for one in json.loads(result.stdout)["services"]]
    assert "nursery.amount.v1" in names
    text = cli("services", "nursery.py").stdout
    assert "offered by: Nursery" in text
    assert "open to every node" in text


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="the group `lint` is not installed")
def test_what_is_written_is_clean_under_ruff() -> None:
    for kind in ("node", "scenario"):
        cli("new", kind, f"my-{kind}")
    own, none = ["--config", str(ROOT / "pyproject.toml")], ["--isolated"]
    for options in (["check", *own], ["check", *none], ["format", "--check", *own]):
        done = subprocess.run([sys.executable, "-m", "ruff", *options, "."], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="the group `lint` is not installed")
def test_what_is_written_is_clean_under_strict_mypy(tmp_path: Path) -> None:
    for kind in ("node", "scenario"):
        cli("new", kind, f"my-{kind}")
    files = [str(tmp_path / f"my_{kind}.py") for kind in ("node", "scenario")]
    # The cache of the repository's own check makes this quick.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", *files],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_it_says_what_to_do_next() -> None:
    text = cli("new", "node", "nursery", "--into", "deep/er").stdout
    assert "wrote deep/er/nursery.py" in text
    assert "run deep/er/nursery.py" in text


def test_what_to_do_next_works_where_uv_ran_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder, where the person who copies the line has no `meshsim` on the path."""
    (Path() / "pyproject.toml").touch()
    monkeypatch.setattr(sys, "argv", ["/venv/bin/meshsim"])
    monkeypatch.setattr(sys, "prefix", str(Path("venv").absolute()))
    monkeypatch.setenv("UV", "/usr/bin/uv")
    line = f"  uv run --project {Path.cwd()} meshsim run nursery.py"
    assert line in cli("new", "node", "nursery").stdout.splitlines()


def test_nothing_is_overwritten() -> None:
    Path("nursery.py").write_text("mine")
    result = cli("new", "node", "nursery")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: nursery.py exists")
    assert Path("nursery.py").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["Nursery", "2x", "a--b", "-x", "x-", "import", "mesh", "a" * 31, "保育所", "../x"]
)
def test_a_name_that_could_not_work_is_refused(name: str) -> None:
    result = cli("new", "scenario", "--", name)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert ";" in result.stderr or "," in result.stderr
    assert list(Path().iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    Path("file").write_text("")
    result = cli("new", "node", "nursery", "--into", "file/below")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot write file/below/nursery.py: ")


def test_a_full_disk_leaves_no_empty_file() -> None:
    """No file may grow at all: the kernel then says what it says of a disk without room."""
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); from mesh.cli import main; "
    code += "main(nodes=None, scenarios=None, args=['new', 'node', 'nursery'])"
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=HANG_S, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write nursery.py: ")
    assert list(Path().iterdir()) == []
