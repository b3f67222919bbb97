"""What is shipped: the wheel holds the whole simulator and nothing else, the repository nothing of one machine."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent
PACKAGES = ("mesh", "nodes", "scenarios")

# Written so that this file does not match itself.
MACHINE = re.compile(r"(?<![\w.~$}*-])/(?:home|root|Users|work)/(?=[\w.])|[A-Z]:\\(?=Users)")
REGISTRY = re.compile(
    r"(?:index-url|find-links|extra-index|trusted-host)(?=\s*=)|\bpythonhosted\b|\.org/(?=simple)"
)


def tracked() -> list[str]:
    """The files of the repository, with those that are not ignored and will be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout; the repository's files cannot be listed")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in made.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(built_wheel: Path) -> list[str]:
    """The names in the wheel."""
    with ZipFile(built_wheel) as file:
        return file.namelist()


def test_the_wheel_holds_the_whole_simulator(wheel: list[str]) -> None:
    source = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert {"mesh/templates/node.txt", "nodes/data/legal_basis.csv", "mesh/py.typed"} <= set(source)
    assert set(wheel) >= {"run_sim.py", *source}


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    roots = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert roots == {"run_sim.py", *PACKAGES}
    assert [name for name in wheel if "test_" in name or name.endswith((".trace", ".pyc", ".sqlite"))] == []


def test_the_wheel_installs_the_command_and_the_license(wheel: list[str]) -> None:
    names = {name.partition(".dist-info/")[2] for name in wheel}
    assert {"entry_points.txt", "METADATA", "licenses/LICENSE"} <= names


def test_no_lock_file_and_no_recording_is_kept() -> None:
    left = [name for name in tracked() if name.endswith(("uv.lock", ".trace", ".sqlite", ".whl", ".pyc"))]
    assert left == []


def test_no_file_names_a_registry_or_a_place_of_one_machine() -> None:
    found = []
    for name in tracked():
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="the group `lint` is not installed")
def test_every_rule_that_ruff_leaves_out_would_find_something() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--preview",
        "--quiet",
        "--line-length",
        "110",
    ]
    code = ["mesh", "nodes", "scenarios", "tests", "run_sim.py"]
    for rule in lint["ignore"]:
        done = subprocess.run(
            [*command, "--select", rule, *code], cwd=ROOT, capture_output=True, timeout=HANG_S
        )
        assert done.returncode == 1, f"{rule} finds nothing; take it out of the list"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /" + "home/anna/mesh", True),
        ('path = "/' + 'work/main"', True),
        ("index-url" + " = 'https://example.test'", True),
        ("https://files.python" + "hosted.org/x", True),
        ("https://pypi.org/" + "simple/", True),
        ("a path such as ~/mine or work/tmp", False),
        ("https://example.test/home/page", False),
        ("traces/ and /home", False),
    ],
)
def test_the_search_finds_them(line: str, found: bool) -> None:
    assert bool(MACHINE.search(line) or REGISTRY.search(line)) is found
