"""What cannot be used, typed at the whole program: one line on stderr, exit 2, and the folder as it was.

tests/test_cli.py holds the rest of what can be wrong with a line; here stand files that fail to load, places
that cannot be written and traces that cannot be read, against the nodes and scenarios that ship.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.app import make_root
from mesh.errors import UsageError
from mesh.trace.schema import FORMAT
from mesh.trace.writer import TraceWriter
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent

GOOD = """
from mesh import Simulation, scenario

@scenario(title="Good", title_ja="良", rules=(1,), sources=("illustrative",))
async def run(sim: Simulation, *, times: int = 1) -> None:
    sim.expect("it holds", True, text_ja="成り立つ")
"""

STAGE = """
from mesh import Caller, Node, Service, Simulation, Struct, scenario, serves

class Nothing(Struct):
    pass

QUESTION = Service("x.y.v1", Nothing, Nothing, title="x", title_ja="x")

class Office(Node):
    schema = "CREATE TABEL tax(x)"

    @serves(QUESTION)
    async def answer(self, query: Nothing, caller: Caller) -> Nothing:
        return Nothing()

@scenario(title="Office", title_ja="役所")
async def run(sim: Simulation) -> None:
    sim.add(Node, "muni/01208/counter")
    sim.add(Office, "muni/01208/tax")
    ACT
"""
ASK = "await sim.node('muni/01208/counter').ask('muni/01208/tax', QUESTION, Nothing())"
"""Only the exchange makes the node, so that what is wrong with it happens out of sight of the scenario."""

FILES: dict[str, str | bytes] = {
    "good.py": GOOD,
    "syntax.py": "x = 1\nasync def run(sim:\n",
    "missing.py": "from nowhere_at_all import thing\n",
    "raises.py": "x = 1\ny = 2\nraise ValueError('two\\nlines of it')\n",
    "leaves.py": "import sys\nsys.exit(3)\n",
    "deep.py": "def f():\n    f()\nf()\n",
    "none.py": "x = 1\n",
    "plain.py": GOOD.replace("@scenario", "@(lambda **k: lambda f: f)"),
    "untyped.py": GOOD.replace("times: int = 1", "times"),
    "bytes.py": b"x = '\xff\xfe'\n",
    "null.py": b"x = 1\x00\n",
    "at_once.py": GOOD.replace("async def", "def"),
    "before_star.py": GOOD.replace("*, times", "times"),
    "wrong_service.py": "from mesh import EventType\nX = EventType('births', title='x', title_ja='x')\n",
    "beside.py": "# Its fault lies in the file that it imports.\nfrom wrong_service import X\n",
    "nowhere.py": STAGE.replace("ACT", "sim.add(Node, 'Kobe/tax')"),
    "sql.py": STAGE.replace("ACT", "sim.node('muni/01208/tax')"),
    "sql_asked.py": STAGE.replace("ACT", ASK),
    "no_role.py": STAGE.replace(
        "ACT", "sim.allow(LegalBasis('muni', 'tax', 'muni/*/tax', 'x.y.v1'))"
    ).replace("import Caller", "import LegalBasis, Caller"),
    "nobody.py": STAGE.replace("ACT", "sim.code('muni/01208', 'r-000001')"),
    "no_member.py": STAGE.replace("ACT", "sim.code('muni/01208/tax', sim.resident('00000000019'))"),
    "notes.txt": "a file",
    "empty.trace": "",
    "text.trace": "this is no trace\n" * 100,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files above, and a trace with all that can be wrong with it."""
    folder = tmp_path_factory.mktemp("prepared")
    for name, content in FILES.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "folder.py").mkdir()
    line = ["run", "child_allowance", "--trace", str(folder / "whole.trace")]
    assert CliRunner().invoke(make_root(nodes="nodes", scenarios="scenarios"), line).exit_code == 0
    whole = (folder / "whole.trace").read_bytes()
    (folder / "cut.trace").write_bytes(whole[: len(whole) // 2])
    (folder / "header.trace").write_bytes(whole[:50])
    (folder / "garbled.trace").write_bytes(whole[:100] + b"\xa5" * (len(whole) - 100))
    shutil.copy(folder / "whole.trace", folder / "newer.trace")
    change(folder / "newer.trace", "UPDATE meta SET value = ? WHERE key = 'format'", str(FORMAT + 1))
    shutil.copy(folder / "whole.trace", folder / "tables.trace")
    change(folder / "tables.trace", "DROP TABLE transmission")
    change(folder / "tables.trace", "DROP TABLE ledger")
    change(folder / "other.trace", "CREATE TABLE message(line BLOB)")
    return folder


def change(path: Path, sql: str, *values: object) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(sql, values)
    db.close()


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the current folder; whatever happens, it has to be as it was in the end."""
    place = tmp_path / "here"
    shutil.copytree(prepared, place)
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", sys.path[:])  # A file that is loaded adds its folder.
    before = content_of(place)
    yield place
    assert content_of(place) == before


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below, but for what Python caches of its own accord."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def refuse(line: str) -> str:
    """The one line that is said of what was typed."""
    done = CliRunner().invoke(
        make_root(nodes="nodes", scenarios="scenarios"), line.split(), prog_name="run_sim.py"
    )
    return one_line(done.exit_code, done.stdout, done.stderr)


def one_line(code: int, stdout: str, stderr: str) -> str:
    assert (code, stdout) == (2, ""), stdout + stderr
    assert stderr.startswith("error: ")
    assert stderr.endswith("\n")
    assert len(stderr.splitlines()) == 1
    assert any(mark in stderr[7:] for mark in ("; ", ": ", "--set ")), "what is wrong; how to mend it"
    return stderr


SCENARIOS = [
    ("syntax.py", "syntax.py, line 2 cannot be imported: SyntaxError"),
    ("missing.py", "No module named 'nowhere_at_all'"),
    ("raises.py", "raises.py, line 3 cannot be imported: ValueError: two lines of it"),
    ("leaves.py", "leaves.py, line 2 cannot be imported: SystemExit"),
    ("deep.py", "RecursionError"),
    ("none.py", "declares no scenario"),
    ("plain.py", "declares no scenario"),
    ("untyped.py", "times"),
    ("bytes.py", "bytes.py"),
    ("null.py", "null"),
    ("folder.py", "folder.py"),
    ("at_once.py", "write async def run"),
    ("before_star.py", "(sim, *, times: …)"),
    ("wrong_service.py", "wrong_service.py, line 2"),
    ("beside.py", "wrong_service.py, line 2 cannot be imported: DeclarationError: a push is named like"),
]


@pytest.mark.parametrize(("name", "says"), SCENARIOS)
@pytest.mark.parametrize("line", ["run {} --trace new/t.trace --data new/d", "run good.py {} --trace new/"])
def test_a_scenario_that_cannot_be_loaded(folder: Path, line: str, name: str, says: str) -> None:
    """Also beside a good one, which is not run then."""
    assert says in refuse(line.format(name))


def test_a_neighbour_is_not_taken_from_another_folder(folder: Path) -> None:
    """Python imports a name once: the second file would silently run with the first one's node."""
    for place in ("one", "two"):
        (folder / place).mkdir()
        (folder / place / "office_of_test.py").write_text("class Office:\n    pass\n", encoding="utf-8")
        text = f"from office_of_test import Office\n{GOOD}"
        (folder / place / f"{place}.py").write_text(text, encoding="utf-8")
    said = refuse("run one/one.py two/two.py --trace new/")
    assert "two.py imports " in said
    assert "one/office_of_test.py in place of " in said
    assert "two/office_of_test.py; rename one, or run it by itself" in said
    for place in ("one", "two"):
        shutil.rmtree(folder / place)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.py", "add takes an address, and 'Kobe/tax' is none; write kind/code/system"),
        ("no_role.py", "roles are like muni/*/tax: 'muni'"),
        ("nobody.py", "there is no resident 'r-000001': sim.resident(…) gives a handle first"),
        ("no_member.py", "a code is one of a member, for all its systems: muni/01208, not muni/01208/tax"),
        ("sql.py", 'Office.schema cannot be used: near "TABEL": syntax error; mend its SQL'),
        ("sql_asked.py", 'Office.schema cannot be used: near "TABEL": syntax error; mend its SQL'),
    ],
)
def test_a_node_that_cannot_be_enrolled_or_made(folder: Path, name: str, says: str) -> None:
    assert says in refuse(f"run {name} --trace new.trace --data new")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run child_alowance", "did you mean child_allowance?"),
        ("child_alowance", "did you mean child_allowance?"),
        ("run good.py child_alowance --trace new/", "did you mean child_allowance?"),
        ("run child_allowance --set children", "key=value"),
        ("run child_allowance --set =3", "no setting ''"),
        ("run child_allowance --set childern=3", "children"),
        ("run child_allowance --set children=three", "takes int"),
        ("run child_allowance --set children=9 --trace new.trace", "--set"),
        ("run child_allowance --set rules=2023-01 --trace new.trace", "--set"),
        ("run birth --set away_s=-1 --data new", "--set"),
        ("run --all --set nothing=1 --trace new/", "nothing"),
        ("services none.py extra", "extra"),
        ("services syntax.py", "SyntaxError"),
        ("new node tax --into notes.txt", "notes.txt"),
        ("new scenario good --into .", "exists"),
    ],
)
def test_what_does_not_exist_or_fit(folder: Path, line: str, says: str) -> None:
    assert says in refuse(line)


@pytest.mark.parametrize(
    "line",
    [
        "child_allowance --trace notes.txt/t.trace",
        "child_allowance --trace notes.txt/a/b/t.trace",
        "child_allowance --trace notes.txt/",
        "child_allowance --data notes.txt",
        "child_allowance --data notes.txt/d",
        "child_allowance --report notes.txt/r.html",
        "child_allowance good.py --trace notes.txt/",
        "child_allowance good.py --data notes.txt/d",
    ],
)
def test_a_place_that_cannot_be_written(folder: Path, line: str) -> None:
    """Below a file, where not even root can write."""
    assert "notes.txt" in refuse(f"run {line}")


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_what_is_no_file_is_never_replaced(folder: Path, name: str) -> None:
    """A device, as /dev/null is, or what leads to one: root could put a trace in its place, for everybody."""
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("pipe")
    assert f"{name} is no file that a trace could replace" in refuse(f"run child_allowance --trace {name}")
    with pytest.raises(UsageError, match="what stands there is no file"):
        TraceWriter(Path(name))
    assert stat.S_ISFIFO((folder / "pipe").lstat().st_mode)
    assert (folder / "link").is_symlink()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_a_place_without_a_name_is_not_the_current_folder(folder: Path) -> None:
    """As `--data "$DIR"` gives where nobody set DIR."""
    for option in ("--trace", "--data"):
        line = ["run", "child_allowance", option, ""]
        done = CliRunner().invoke(make_root(nodes="nodes", scenarios="scenarios"), line)
        assert f"{option} names no" in one_line(done.exit_code, done.stdout, done.stderr)


def test_a_trace_is_not_left_half_written_when_the_data_cannot_be(folder: Path) -> None:
    assert "notes.txt" in refuse("run child_allowance --trace new.trace --data notes.txt/d")


READERS = {
    "verify": "trace verify {}",
    "show": "trace show {}",
    "digest": "trace digest {} --json",
    "history": "trace history {} --person r-000001",
    "list": "trace list {}",
}
TRACES = [
    ("gone.trace", "no trace gone.trace"),
    ("empty.trace", "is no trace"),
    ("text.trace", "is no trace"),
    ("good.py", "is no trace"),
    ("header.trace", "is truncated"),
    ("garbled.trace", "is damaged"),
    ("newer.trace", "update"),
    ("other.trace", "is a database, but no trace"),
    ("folder.py", "is a folder"),
]
UNREADABLE = [
    pytest.param(line, name, says, id=f"{reader}-{name}")
    for reader, line in READERS.items()
    for name, says in TRACES
    if (reader, name) != ("list", "folder.py")  # A folder is what `list` lists.
]


@pytest.mark.parametrize(("reader", "name", "says"), UNREADABLE)
def test_a_trace_that_cannot_be_read(folder: Path, reader: str, name: str, says: str) -> None:
    assert says in refuse(reader.format(name))


def test_a_truncated_trace_gives_what_is_left_and_says_so(folder: Path) -> None:
    root = make_root(nodes="nodes", scenarios="scenarios")
    whole = CliRunner().invoke(root, ["trace", "show", "whole.trace"]).stdout.splitlines()
    shown = CliRunner().invoke(root, ["trace", "show", "cut.trace"])
    lines = shown.stdout.splitlines()
    assert 0 < len(lines) < len(whole)
    assert lines == whole[: len(lines)]
    assert (shown.exit_code, "is truncated" in one_line(2, "", shown.stderr)) == (2, True)
    listed = CliRunner().invoke(root, ["trace", "list", "cut.trace", "--json"])
    (row,) = json.loads(listed.stdout)["traces"]
    assert row["messages"] >= len(lines)
    assert "is truncated" in row["notes"][0]
    assert row["complete"] is False
    table = CliRunner().invoke(root, ["trace", "list", "cut.trace"])
    assert ("is truncated" in table.stderr, table.exit_code) == (True, 0)
    verified = CliRunner().invoke(root, ["trace", "verify", "cut.trace"])
    assert (verified.exit_code, "is truncated" in verified.stdout) == (1, True)


@pytest.mark.parametrize("reader", [READERS[name] for name in ("show", "list", "history")])
def test_a_trace_without_tables_that_it_needs(folder: Path, reader: str) -> None:
    assert "damaged" in refuse(reader.format("tables.trace"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("show whole.trace --code no_legal_bases", "did you mean no_legal_basis?"),
        ("show whole.trace --kind requst", "request"),
        ("show whole.trace --person r-999999", "r-"),
        ("show whole.trace --person", "--person"),
        ("show whole.trace --node Not/An!Address", "muni/01208/tax"),
        ("show whole.trace --message 99999", "from 0 to"),
        ("show whole.trace --message 00000000-0000-0000-0000-000000000000", "from 0 to"),
        ("show whole.trace --message 3 --code timeout", "leave the filters out"),
        ("show whole.trace --limit 0", "--limit"),
        ("history whole.trace", "--person"),
        ("history whole.trace --person r-999999", "r-"),
        ("verify whole.trace --root gone.pem", "64 hex digits"),
        ("verify whole.trace --root notes.txt", "no certificate"),
        ("verify whole.trace --root folder.py", "folder.py"),
    ],
)
def test_a_question_that_a_trace_cannot_answer(folder: Path, line: str, says: str) -> None:
    assert says in refuse(f"trace {line}")


@pytest.mark.parametrize(
    "line",
    [
        "run raises.py --trace new.trace",
        "run child_allowance --trace notes.txt/t.trace",
        "trace verify garbled.trace",
    ],
)
def test_the_process_itself_says_the_same(folder: Path, line: str, sayer: Callable[[str], str]) -> None:
    assert sayer(line) == refuse(line)


@pytest.fixture
def sayer() -> Callable[[str], str]:
    def say(line: str) -> str:
        command = [sys.executable, str(ROOT / "run_sim.py"), *line.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
        return one_line(done.returncode, done.stdout, done.stderr)

    return say


def test_a_run_that_cannot_go_on_leaves_no_databases(tmp_path: Path) -> None:
    """The scenario goes wrong when one node is up already, and its database is written."""
    file = tmp_path / "halfway.py"
    file.write_text(
        '"""Goes wrong halfway."""\n'
        "from mesh import Node, Simulation, scenario\n"
        "class Office(Node):\n    pass\n"
        '@scenario(title="t", title_ja="t")\n'
        "async def run(sim: Simulation) -> None:\n"
        '    sim.add(Office, "muni/01208/office")\n'
        '    sim.node("muni/01208/office")\n'
        '    sim.add(Office, "muni/01208/other", nothing=1)\n'
    )
    kept = tmp_path / "kept"
    kept.mkdir()
    for folder in (kept, tmp_path / "made"):
        line = ["run", str(file), "--data", str(folder), "--trace", str(tmp_path / "t.trace")]
        result = CliRunner().invoke(make_root(nodes="nodes", scenarios="scenarios"), line)
        assert result.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == [
        "halfway.py",
        "kept",
    ]
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "room"),
    [
        *((place, room) for place in ("--trace {}/t.trace", "--trace {}/t.trace --data {}/d") for room in (1, 8_000, 300_000)),
        ("--data {}/d", 1),
        ("--data {}/d", 8_000),
        ("--report {}/r.html --json", 8_000),
    ],
)  # fmt: skip
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, place: str, room: int) -> None:
    """No file may grow beyond the room: the kernel then says what it says of a disk without any."""
    line = ["run", "child_allowance", *place.replace("{}", str(tmp_path)).split()]
    command = f"import resource, signal, runpy, sys; sys.argv[1:] = {line!r}; "
    command += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    command += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
    command += f"runpy.run_path({str(ROOT / 'run_sim.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-B", "-c", command], capture_output=True, text=True, timeout=HANG_S, cwd=ROOT
    )
    assert str(tmp_path) in one_line(done.returncode, done.stdout, done.stderr)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
