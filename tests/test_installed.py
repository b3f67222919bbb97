"""Installed as a wheel: what is found whatever lies around, what other packages add, and completion in a real bash."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from mesh.trace.reader import Trace
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent
PACKAGES = ("mesh", "nodes", "scenarios")


@pytest.fixture(scope="module")
def installed(built_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it as an installer lays it out, and the command `meshsim`."""
    base = tmp_path_factory.mktemp("installed")
    site = base / "site"
    with ZipFile(built_wheel) as file:
        file.extractall(site)
    command = base / "bin" / "meshsim"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom run_sim import main\nsys.exit(main())\n")
    command.chmod(0o755)
    return base


def run(
    base: Path, *arguments: str, folder: Path, path: tuple[Path, ...] = (), code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder; `path` stands before the installation."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, base / "site")))}
    command = [str(base / "bin" / "meshsim"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=HANG_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def names(done: subprocess.CompletedProcess[str], key: str = "scenarios") -> list[str]:
    return [one["name"] for one in json.loads(done.stdout)[key]]


def test_every_package_says_that_it_is_typed(installed: Path) -> None:
    assert [name for name in PACKAGES if not (installed / "site" / name / "py.typed").is_file()] == []


@pytest.mark.parametrize("hiding", PACKAGES)
def test_what_ships_is_found_whatever_the_folder_holds(installed: Path, tmp_path: Path, hiding: str) -> None:
    """A user's own package of that name stands first on the import path."""
    (tmp_path / hiding).mkdir()
    (tmp_path / hiding / "__init__.py").write_text("raise SystemExit('the other one')\n")
    done = run(installed, "list", "--json", folder=tmp_path, path=(tmp_path,))
    assert "child_allowance" in names(done)


def test_help_and_errors_name_the_program_that_was_typed(installed: Path, tmp_path: Path) -> None:
    for arguments in (
        (),
        ("run",),
        ("trace",),
        ("trace", "show"),
        ("view",),
        ("services",),
        ("new",),
        ("bench",),
    ):
        said = run(installed, *arguments, "--help", folder=tmp_path).stdout
        assert "run_sim.py" not in said
        assert "Usage: meshsim" in said
    said = run(installed, "run", "--sed", "1", folder=tmp_path, code=2).stderr
    assert "run_sim.py" not in said
    assert "meshsim" in run(installed, "trace", "show", "--limit", "x", "y", folder=tmp_path, code=2).stderr


# What other packages add.

OFFICE = '''"""A harbour office."""
from msgspec import Struct

from mesh import Caller, Node, Service, Simulation, serves


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    berth: int


class Free(Struct, frozen=True):
    free: bool


BERTH = Service("harbour.berth.v1", Ask, Free, title="Free berth", title_ja="空きバース")


class Harbour(Node):
    """Knows its berths."""

    @serves(BERTH)
    async def berth(self, query: Ask, caller: Caller) -> Free:
        return Free(query.berth > 3)


def establish(sim: Simulation) -> None:
    sim.add(Harbour, "muni/28100/harbour")
'''
STORY = '''"""A ship comes in."""
from harbour_nodes import BERTH, Ask
from mesh import Node, Simulation, scenario


@scenario(title="A ship comes in", title_ja="入港", sources=("illustrative",))
async def run(sim: Simulation) -> None:
    sim.add(Node, "muni/01208/harbour-desk")
    answer = await sim.node("muni/01208/harbour-desk").ask("muni/28100/harbour", BERTH, Ask(4), procedure="harbour")
    sim.expect("a berth is free", answer.free, text_ja="空きがある")
'''
ENTRIES = """[meshsim.nodes]
harbour = harbour_nodes
[meshsim.scenarios]
harbour = harbour_stories
[meshsim.plans]
harbour = harbour_plans
"""
TABLES = {
    "procedures.csv": "id,title,title_ja,citation\nharbour,Harbour,港湾,illustrative\n",
    "legal_basis.csv": (
        "id,requester,procedure,provider,service,items,citation,from,until,flags\n"
        "harbour-1,muni/*/harbour-desk,harbour,muni/*/harbour,harbour.berth.v1,,illustrative,,,\n"
    ),
}


@pytest.fixture
def harbour(tmp_path: Path) -> Path:
    """A package as an installer would lay it beside the simulator."""
    site = tmp_path / "other"
    files = {
        "harbour_nodes/__init__.py": OFFICE,
        **{f"harbour_nodes/data/{name}": text for name, text in TABLES.items()},
        "harbour_stories/__init__.py": "",
        "harbour_stories/ship.py": STORY,
        "harbour_plans/__init__.py": "",
        "harbour_plans/fog.toml": 'title = "Fog"\ntitle_ja = "霧"\n[[delay]]\ndelay_s = 1\n',
        "harbour-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: harbour\nVersion: 1.2\n",
        "harbour-1.2.dist-info/entry_points.txt": ENTRIES,
    }
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return site


def test_an_installed_package_adds_nodes_scenarios_plans_and_law(
    installed: Path, harbour: Path, tmp_path: Path
) -> None:
    done = run(installed, "list", "--json", folder=tmp_path, path=(harbour,))
    assert done.stderr == ""
    assert "ship" in names(done)
    assert "fog" in names(done, "faults")
    trace = tmp_path / "ship.trace"
    arguments = ("run", "ship", "--faults", "fog", "--trace", str(trace), "--json")
    ran = json.loads(run(installed, *arguments, folder=tmp_path, path=(harbour,)).stdout)["runs"][0]
    assert (ran["held"], ran["faults"]["name"]) == (True, "fog")
    with Trace.open(trace) as opened:
        assert opened.meta["installed"] == {"harbour_nodes": "1.2"}
        assert "harbour-1" in opened.meta["law"], "the row of the package's own table permitted it"
    offered = json.loads(run(installed, "services", "--json", folder=tmp_path, path=(harbour,)).stdout)[
        "services"
    ]
    (berth,) = [one for one in offered if one["name"] == "harbour.berth.v1"]
    assert [basis["id"] for basis in berth["bases"]] == ["harbour-1"]


def test_what_is_wrong_with_one_package_leaves_the_others(
    installed: Path, harbour: Path, tmp_path: Path
) -> None:
    (harbour / "harbour_plans" / "ice.toml").write_text("title = \n")
    (harbour / "harbour_stories" / "birth.py").write_text(STORY, encoding="utf-8")
    done = run(installed, "list", "--json", folder=tmp_path, path=(harbour,))
    assert {"ship", "birth", "moving"} <= set(names(done))
    assert {"fog", "packet_loss"} <= set(names(done, "faults"))
    second, first = sorted(done.stderr.splitlines())
    assert "birth of harbour_stories is left out: the name is taken" in first
    assert "ice.toml is no TOML" in second
    (harbour / "harbour_stories" / "ship.py").write_text("import nowhere\n")
    said = run(installed, "list", folder=tmp_path, path=(harbour,)).stderr
    assert "harbour_stories, an installed package, cannot be read: ModuleNotFoundError" in said


# Completion.

COMPLETE = """
source <(_MESHSIM_COMPLETE=bash_source meshsim)
complete -p meshsim >/dev/null || exit 1
ask() {
  COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
  _meshsim_completion meshsim "${!#}" ""
  printf '%s\\n' "${COMPREPLY[*]}"
}
ask meshsim tr
ask meshsim run child_
ask meshsim run birth --faults pa
ask meshsim trace ve
ask meshsim no-such-command x
"""


def test_completion_works_in_bash_and_writes_nothing(installed: Path, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash: completion was NOT tried")
    env = os.environ | {
        "PATH": f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(installed / "site"),
    }
    command = [bash, "--norc", "-c", COMPLETE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=HANG_S)
    assert done.stdout.splitlines() == ["trace", "child_allowance child_support", "packet_loss", "verify", ""]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


# An exact installation.


def test_the_requirements_are_exact_and_name_no_host() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [one for one in entries if re.match(r"[a-z0-9-]+==[^ ]+ ", one) is None] == []
    assert [one for one in entries if "--hash=sha256:" not in one] == []
    assert "://" not in text
    wanted = re.findall(
        r'^  "([A-Za-z0-9-]+)>=',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.scripts]")[0],
        re.MULTILINE,
    )
    assert set(wanted) <= {one.partition("==")[0] for one in entries}
