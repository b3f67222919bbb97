"""The command line from outside: what is typed, what is printed, and with which code it exits."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mesh.cli import run as cli_run
from mesh.cli.app import LazyGroup, make_root
from mesh.cli.output import aligned
from tests.helpers_waiting import HANG_S, wait_until

ROOT = Path(__file__).parent.parent
BARE = "from mesh.cli import main; main(nodes=None, scenarios=None)"

SMALL = """
from msgspec import Struct
from mesh import Caller, LegalBasis, Node, Paper, PersonalService, Replacement, Simulation, scenario, serves

class Query(Struct, frozen=True, forbid_unknown_fields=True): ...

class Reply(Struct, frozen=True):
    amount: int

AMOUNT = PersonalService("small.amount.v1", Query, Reply, title="Amount", title_ja="数量")
SLIP = Paper("Slip", "票", "desk", "窓口", 300, "illustrative", replaced_by=(Replacement(AMOUNT.name),))

class Keeper(Node):
    @serves(AMOUNT)
    async def amount(self, query: Query, caller: Caller, person: str) -> Reply:
        return Reply(amount=1)

@scenario(title="Small", title_ja="小", rules=(1,), sources=("illustrative",))
async def run(sim: Simulation, *, times: int = 1, held: bool = True, share: float = 0.5) -> None:
    print("the scenario says hello")
    sim.add(Keeper, "muni/01208/keeper")
    sim.add(Node, "muni/28100/asker")
    sim.allow(LegalBasis("muni/28100/asker", "relief", "muni/01208/keeper", AMOUNT.name, ("amount",)))
    asker = sim.node("muni/28100/asker")
    resident = sim.resident("12345678901")
    person = sim.code("muni/28100", resident)
    sim.tell("It asks.", "照会する。")
    for _ in range(times):
        await asker.ask("muni/01208/keeper", AMOUNT, Query(), subject=person, procedure="relief")
    sim.saved(SLIP, resident)
    sim.expect("one [bold]thing[/bold] holds", held, text_ja="成り立つ")
    with sim.refused("no_legal_basis", "another does not"):
        await asker.ask("muni/01208/keeper", AMOUNT, Query(), subject=person, procedure="other")
"""

Cli = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a small scenario in it."""
    (tmp_path / "small.py").write_text(SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(folder: Path) -> Cli:
    """Type a line into the command line, without packages of nodes and scenarios."""
    root = make_root(nodes=None, scenarios=None)
    return lambda *args: CliRunner().invoke(root, args, prog_name="run_sim.py")


def usage_error(result: Result) -> str:
    """The one line of a usage error."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert any(mark in result.stderr for mark in ("; ", ": name "))  # what; how to fix it
    return result.stderr


def process(*args: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_sim.py"), *args],
        capture_output=True, text=True, cwd=cwd, env=os.environ | env, timeout=HANG_S,
    )  # fmt: skip


# Commands and their help.


def commands(group: LazyGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, LazyGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(commands(make_root(nodes=None, scenarios=None)))


def test_the_commands_of_the_design_are_there() -> None:
    names = {" ".join(path) for path in COMMANDS}
    assert names >= {"", "list", "run", "services", "bench", "new node", "new scenario"}
    assert names >= {f"trace {name}" for name in ("list", "show", "verify", "digest", "history")}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(cli: Cli, path: tuple[str, ...]) -> None:
    result = cli(*path, "--help")
    assert result.exit_code == 0
    example = result.stdout.partition("Examples:\n")[2]
    assert f"run_sim.py {' '.join(path)}".strip() in example


NO_JSON = (("trace",), ("new",), ("trace", "export"))
"""What prints no result of its own: an export prints the format that was asked for."""


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in NO_JSON], ids=" ".join)
def test_every_command_that_prints_a_result_takes_json(cli: Cli, path: tuple[str, ...]) -> None:
    assert "--json" in cli(*path, "--help").stdout


@pytest.mark.parametrize("path", NO_JSON, ids=" ".join)
def test_what_is_excused_from_json_has_none(cli: Cli, path: tuple[str, ...]) -> None:
    assert path in COMMANDS
    assert "--json" not in cli(*path, "--help").stdout


def test_the_version_is_told(cli: Cli) -> None:
    result = cli("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("public-service-mesh-simulator ")


# Usage errors.


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lst", "did you mean list?"),
        ("nothing-of-the-kind", "there are: list, run"),
        ("trace shwo x", "did you mean show?"),
        ("run", "--all"),
        ("run nowhere", "no scenario 'nowhere'"),
        ("run small", "your file is small.py"),
        ("run small.py --sede 3", "did you mean --seed?"),
        ("run small.py --seed x", "not a valid integer"),
        ("run small.py --seed 99999999999999999999", "range"),
        ("run small.py --seed", "--seed"),
        ("run gone.py", "there is no file"),
        ("gone.py", "there is no file"),
        ("run small.py --set times", "key=value"),
        ("run small.py --set times=x", "takes int"),
        ("run small.py --set share=nan", "takes float"),
        ("run small.py --set tmies=3", "times"),
        ("run small.py other.py --set tmies=3", "did you mean times?"),
        ("run small.py other.py --trace one.trace", "name a folder"),
        ("run small.py small.py --trace d/", "named small"),
        ("run small.py --trace small.py", "is no trace"),
        ("run small.py --trace small.py/x.trace", "cannot"),
        ("run small.py --data small.py", "cannot write"),
        ("run broken.py", "broken.py, line 2"),
        ("run empty.py", "declares no scenario"),
        ("run midday.py", "starts="),
        ("trace", "missing command"),
        ("trace list", "no folder traces"),
        ("trace list gone", "gone"),
        ("trace verify", "FILE"),
        ("trace verify gone", "gone"),
        ("trace show small.py", "no trace"),
        ("trace digest .", "folder"),
        ("trace history small.py --person r-1", "no trace"),
        ("new node", "NAME"),
        ("new node Bad!", "small letters"),
        ("--json list", "put it behind"),
        ("", "no scenario is marked"),
        ("list extra", "extra"),
        ("services gone.py", "there is no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(cli: Cli, folder: Path, line: str, says: str) -> None:
    (folder / "other.py").write_text(SMALL, encoding="utf-8")
    (folder / "broken.py").write_text("x = 1\nimport nothing_like_it\n", encoding="utf-8")
    (folder / "empty.py").write_text("", encoding="utf-8")
    midday = SMALL.replace('title="Small"', 'title="Small", starts="midday"')
    (folder / "midday.py").write_text(midday, encoding="utf-8")
    before = sorted(path.name for path in folder.iterdir())
    assert says in usage_error(cli(*line.split()))
    assert [
        name for name in sorted(path.name for path in folder.iterdir()) if name != "__pycache__"
    ] == before


def test_a_setting_that_the_scenario_itself_finds_wrong_leaves_no_trace_behind(
    cli: Cli, folder: Path
) -> None:
    text = SMALL.replace('sim.add(Node, "muni/28100/asker")', 'sim.add(Node, "muni/28100/asker", nothing=1)')
    (folder / "wrong.py").write_text(text, encoding="utf-8")
    assert "has no setting nothing" in usage_error_after_print(cli("run", "wrong.py", "--trace", "w.trace"))
    assert not (folder / "w.trace").exists()


@pytest.mark.parametrize("wrong", [("wrong.py",), ("small.py", "--data", "small.py")])
def test_a_run_that_is_refused_leaves_what_was_recorded_under_its_name(
    cli: Cli, folder: Path, wrong: tuple[str, ...]
) -> None:
    text = SMALL.replace('sim.add(Node, "muni/28100/asker")', 'sim.add(Node, "muni/28100/asker", nothing=1)')
    (folder / "wrong.py").write_text(text, encoding="utf-8")
    assert cli("run", "small.py", "--trace", "kept.trace").exit_code == 0
    recorded = (folder / "kept.trace").read_bytes()
    assert cli("run", *wrong, "--trace", "kept.trace").exit_code == 2
    assert (folder / "kept.trace").read_bytes() == recorded
    assert sorted(folder.glob(".*.before")) == []


def usage_error_after_print(result: Result) -> str:
    assert result.exit_code == 2
    return result.stderr


# Running.


def test_a_run_reports_in_plain_text_when_piped(cli: Cli) -> None:
    result = cli("small.py")
    assert result.exit_code == 0
    assert "held    one [bold]thing[/bold] holds" in result.stdout
    assert "Slip / 票" in result.stdout
    assert "\x1b" not in result.stdout


def test_json_is_all_that_stdout_has(cli: Cli, folder: Path) -> None:
    result = cli("run", "small.py", "--set", "times=2", "--seed", "7", "--trace", "a/b.trace", "--json")
    assert result.exit_code == 0
    assert "the scenario says hello" in result.stderr
    made = json.loads(result.stdout)
    (run,) = made["runs"]
    assert made["held"] is True
    assert (run["scenario"], run["seed"], run["held"], run["messages"]) == ("small", 7, True, 10)
    assert run["refusals"] == {"no_legal_basis": 1}
    assert run["trace"] == "a/b.trace"
    assert run["outcome"]["papers"][0]["fee_yen"] == 300
    assert (folder / "a/b.trace").is_file()


def test_a_failed_expectation_exits_1(cli: Cli) -> None:
    result = cli("run", "small.py", "--set", "held=no")
    assert result.exit_code == 1
    assert "FAILED  one" in result.stdout


def test_a_scenario_that_breaks_off_exits_1(cli: Cli, folder: Path) -> None:
    (folder / "bad.py").write_text(SMALL + '    raise ValueError("no more")\n', encoding="utf-8")
    result = cli("run", "bad.py", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["runs"][0]["error"] == "ValueError: no more (bad.py, line 34)"


def test_a_scenario_that_leaves_python_breaks_off_like_any_other(cli: Cli, folder: Path) -> None:
    (folder / "leaves.py").write_text(SMALL + "    import sys; sys.exit(3)\n", encoding="utf-8")
    result = cli("run", "leaves.py", "--trace", "leaves.trace")
    assert result.exit_code == 1
    assert "FAILED  the scenario broke off: SystemExit: 3 (leaves.py, line 34)" in result.stdout
    assert cli("trace", "verify", "leaves.trace").exit_code == 0


def test_a_question_of_another_type_is_found_where_it_is_asked(cli: Cli, folder: Path) -> None:
    """Nothing is sent: the provider could only say that it does not fit."""
    wrong = SMALL.replace("AMOUNT, Query(), subject", "AMOUNT, 3, subject", 1)
    (folder / "wrong.py").write_text(wrong, encoding="utf-8")
    (run,) = json.loads(cli("run", "wrong.py", "--json").stdout)["runs"]
    assert run["error"] == "TypeError: small.amount.v1 is asked with Query, not int (wrong.py, line 29)"
    assert run["messages"] == 0


def test_a_scenario_that_expects_nothing_says_why_it_does_not_hold(cli: Cli, folder: Path) -> None:
    silent = SMALL[: SMALL.index("    sim.expect(")]
    (folder / "silent.py").write_text(silent, encoding="utf-8")
    result = cli("run", "silent.py")
    assert result.exit_code == 1
    assert "  FAILED  The scenario expects nothing: state with sim.expect" in result.stdout


def test_several_scenarios_go_to_a_folder_and_end_with_one_table(cli: Cli, folder: Path) -> None:
    (folder / "other.py").write_text(SMALL.replace("times: int = 1, ", ""), encoding="utf-8")
    text = (folder / "other.py").read_text(encoding="utf-8").replace("range(times)", "range(1)")
    (folder / "other.py").write_text(text, encoding="utf-8")
    result = cli("run", "small.py", "other.py", "--trace", "t/", "--data", "d", "--set", "times=3")
    assert result.exit_code == 0
    assert sorted(path.name for path in (folder / "t").iterdir()) == ["other-1.trace", "small-1.trace"]
    assert (folder / "d" / "small-1" / "muni_01208_keeper.sqlite").is_file()
    table = result.stdout.partition("All scenarios / 全シナリオ\n")[2].splitlines()
    assert [row.split()[:4] for row in table[1:]] == [
        ["small", "held", "2/2", "14"],
        ["other", "held", "2/2", "6"],
        ["total", "2/2", "4/4", "20"],
    ]


def test_a_trace_is_replaced_and_anything_else_is_not(cli: Cli, folder: Path) -> None:
    for _ in range(2):
        assert cli("run", "small.py", "--trace", "t.trace").exit_code == 0
    (folder / "database").write_bytes(b"SQLite format 3\0" + bytes(200))
    assert "is no trace" in usage_error(cli("run", "small.py", "--trace", "database"))


def test_control_characters_of_a_scenario_do_not_reach_the_terminal(cli: Cli, folder: Path) -> None:
    (folder / "evil.py").write_text(SMALL.replace("It asks.", "\\x1b[2J"), encoding="utf-8")
    result = cli("run", "evil.py")
    assert "\x1b" not in result.stdout
    assert "\\x1b[2J" in result.stdout


def test_progress_hears_of_a_long_run(folder: Path) -> None:
    from mesh.cli.choosing import choose

    heard: list[tuple[int, int]] = []
    scenario = choose(["small.py"], None)[0]
    plan = cli_run.Plan(scenario, {"times": 260}, 1, None, None)
    cli_run.run_one(
        plan, make_root(nodes=None, scenarios=None).context_settings["obj"], lambda *a: heard.append(a)
    )
    assert heard[0][0] >= 1000
    assert heard[0][1] > 1_000_000


# Traces.


@pytest.fixture
def trace(cli: Cli) -> str:
    assert cli("run", "small.py", "--trace", "traces/").exit_code == 0
    return "traces/small-1.trace"


def test_traces_are_listed(cli: Cli, folder: Path, trace: str) -> None:
    (folder / "traces" / "note.txt").write_text("no trace")
    (folder / "traces" / "torn.trace").write_text("no trace")
    result = cli("trace", "list", "--json")
    assert json.loads(result.stdout) == {
        "traces": [
            {
                "path": trace,
                "scenario": "small",
                "seed": 1,
                "faults": None,
                "messages": 6,
                "complete": True,
                "notes": [],
            }
        ]
    }
    assert "torn.trace" in result.stderr
    assert trace in cli("trace", "list", trace).stdout


def test_a_good_trace_verifies_and_a_changed_one_does_not(cli: Cli, folder: Path, trace: str) -> None:
    import sqlite3

    result = cli("trace", "verify", trace, "--json")
    made = json.loads(result.stdout)
    assert (result.exit_code, made["ok"], made["checked"]["messages"]) == (0, True, 6)
    assert "holds: 6 messages" in cli("trace", "verify", trace).stdout
    assert cli("trace", "verify", trace, "--root", made["root"].upper()).exit_code == 0
    assert cli("trace", "verify", trace, "--root", "a" * 64).exit_code == 1
    assert "64 hex digits" in usage_error(cli("trace", "verify", trace, "--root", "small.py"))
    db = sqlite3.connect(folder / trace)
    (root,) = db.execute("SELECT value FROM meta WHERE key = 'root'").fetchone()
    (folder / "root.der").write_bytes(bytes.fromhex(root))
    assert cli("trace", "verify", trace, "--root", "root.der").exit_code == 0
    (line,) = db.execute("SELECT line FROM message WHERE number = 3").fetchone()
    db.execute("UPDATE message SET line = ? WHERE number = 3", (line[:-9] + b"A" + line[-8:],))
    db.commit()
    db.close()
    result = cli("trace", "verify", trace)
    assert result.exit_code == 1
    assert "first fault: message " in result.stdout


def test_messages_are_shown_and_filtered(cli: Cli, trace: str) -> None:
    rows = json.loads(cli("trace", "show", trace, "--json").stdout)["messages"]
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["kind"] for row in rows] == ["request", "request", "reply", "reply", "request", "refusal"]
    assert {"time_us", "id", "from", "to", "service", "code", "jws"} <= set(rows[0])
    assert len(cli("trace", "show", trace).stdout.splitlines()) >= 6

    def indexes(*options: str) -> list[int]:
        return [
            row["index"]
            for row in json.loads(cli("trace", "show", trace, "--json", *options).stdout)["messages"]
        ]

    assert indexes("--code", "no_legal_basis") == [4, 5]
    assert indexes("--kind", "reply") == [2, 3]
    # The first leg too, and what the broker refused to pass on to it.
    assert indexes("--node", "muni/01208/keeper") == [0, 1, 2, 3, 4]
    assert indexes("--service", "small.amount.v1", "--limit", "2") == [0, 1]
    assert indexes("--service", "other.amount.v1") == []
    assert indexes("--person", "r-000001")[0] == 0
    assert "r-000001" in usage_error(cli("trace", "show", trace, "--person", "nobody"))
    assert "did you mean" in usage_error(cli("trace", "show", trace, "--code", "no_legal_bases"))


def test_filters_that_leave_nothing_say_so(cli: Cli, trace: str) -> None:
    for line in (("--service", "tax.incom.v1"), ("--node", "muni/99999/tax"), ("--kind", "notice")):
        result = cli("trace", "show", trace, *line)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("note: no message")
        assert json.loads(cli("trace", "show", trace, *line, "--json").stdout) == {"messages": []}


def test_one_message_is_shown_in_full(cli: Cli, trace: str) -> None:
    by_index = cli("trace", "show", trace, "--message", "1", "--json")
    (row,) = json.loads(by_index.stdout)["messages"]
    assert (row["index"], row["kind"]) == (1, "request")
    assert row["id"] in cli("trace", "show", trace, "--message", "1").stdout
    by_id = json.loads(cli("trace", "show", trace, "--message", row["id"], "--json").stdout)["messages"]
    assert {one["id"] for one in by_id} == {row["id"]}
    assert "no message" in usage_error(cli("trace", "show", trace, "--message", "99"))


def test_the_digest_is_of_the_rows(cli: Cli, trace: str) -> None:
    first = cli("trace", "digest", trace)
    assert len(first.stdout.split()[0]) == 64
    assert json.loads(cli("trace", "digest", trace, "--json").stdout)["digest"] == first.stdout.split()[0]
    cli("run", "small.py", "--seed", "2", "--trace", "traces/")
    assert cli("trace", "digest", "traces/small-2.trace").stdout != first.stdout


def test_a_person_sees_who_asked(cli: Cli, trace: str) -> None:
    made = json.loads(cli("trace", "history", trace, "--person", "r-000001", "--json").stdout)
    assert made["person"] == "r-000001"
    assert [(row["requester"], row["items"], row["hidden"]) for row in made["rows"]][:1] == [
        ("muni/28100/asker", ["amount"], False)
    ]
    assert "muni/28100/asker" in cli("trace", "history", trace, "--person", "r-000001").stdout
    assert "r-000001" in usage_error(cli("trace", "history", trace, "--person", "r-9"))


# The tour, and packages of nodes and scenarios.


@pytest.fixture
def shipped(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command line with two scenarios of its own, one of them the first to see."""
    for package in ("some_nodes", "some_scenarios"):
        (folder / package).mkdir()
    (folder / "some_nodes/__init__.py").write_text("def establish(sim): ...\n")
    (folder / "some_scenarios/__init__.py").write_text("")
    first = SMALL.replace('title="Small"', 'title="First", first=True')
    (folder / "some_scenarios/headline.py").write_text(first, encoding="utf-8")
    (folder / "some_scenarios/second.py").write_text(SMALL, encoding="utf-8")
    (folder / "run_sim.py").write_text(
        "from mesh.cli import main\nmain(nodes='some_nodes', scenarios='some_scenarios')\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "UV"} | {"PYTHONPATH": str(ROOT)}

    def call(*args: str, shell: str | None = None) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", shell] if shell else [sys.executable, "run_sim.py", *args]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=HANG_S)

    return call


def test_the_tour_records_verifies_and_names_commands_that_work(
    shipped: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    done = shipped()
    assert done.returncode == 0, done.stderr
    assert "headline: First" in done.stdout
    assert "Recorded in traces/headline.trace, and verified" in done.stdout
    commands = [line.strip() for line in done.stdout.partition("What to try next")[2].splitlines()[1:]]
    assert [command.split("run_sim.py ")[1].split()[0] for command in commands] == [
        "list", "trace", "trace", "run", "services", "new",
    ]  # fmt: skip
    for command in commands:
        tried = shipped(shell=command)
        assert (tried.returncode, command, tried.stderr.count("Traceback")) == (0, command, 0)


def test_the_tour_says_when_it_cannot_record(
    shipped: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    (folder / "traces").write_text("a file")
    done = shipped()
    assert done.returncode == 0
    assert "Not recorded: " in done.stdout
    assert "trace show" not in done.stdout


def test_the_tour_as_json(shipped: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    made = json.loads(shipped("--json").stdout)
    assert (made["held"], made["verified"], made["runs"][0]["scenario"]) == (True, True, "headline")


def test_all_scenarios_run_and_are_listed_and_a_bare_name_means_run(
    shipped: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    made = json.loads(shipped("run", "--all", "--json").stdout)
    assert [run["scenario"] for run in made["runs"]] == ["headline", "second"]
    listed = json.loads(shipped("list", "--json").stdout)["scenarios"]
    assert [one["name"] for one in listed] == ["headline", "second"]
    assert listed[1]["settings"][0] == {"name": "times", "type": "int", "default": 1}
    assert "times=1 held=True share=0.5" in shipped("list").stdout
    assert "second: Small" in shipped("second").stdout
    assert "did you mean second?" in shipped("secnd").stderr


def test_bench_prints_its_figures(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import mesh.bench

    made = {
        "figures": {"overhead_us": {"value": 110.5, "unit": "µs", "spread": [100.0, 120.0], "pairs": 9}},
        "counts": {"sign": 3, "verify": 5},
    }

    def run_bench(
        progress: Callable[[str, int, int], None], others: Callable[[], object]
    ) -> dict[str, object]:
        progress("warming", 1, 2)
        assert others() == {}  # the packages of these tests measure nothing
        return made

    monkeypatch.setattr(mesh.bench, "run_bench", run_bench, raising=False)
    assert json.loads(cli("bench", "--json").stdout) == made
    text = cli("bench").stdout
    assert "overhead_us  110.5  µs" in text
    assert "sign 3, verify 5" in text


def test_the_catalogue_of_the_shipped_nodes() -> None:
    result = CliRunner().invoke(make_root(nodes="nodes", scenarios=None), ["services", "--json"])
    assert result.exit_code == 0
    services = {one["name"]: one for one in json.loads(result.stdout)["services"]}
    assert services["tax.income.v1"]["personal"] is True
    assert any(basis["procedure"] == "child-allowance" for basis in services["tax.income.v1"]["bases"])
    text = CliRunner().invoke(make_root(nodes="nodes", scenarios=None), ["services"]).stdout
    assert "tax.income.v1: " in text
    assert "for child-allowance [" in text


# The process itself: signals, pipes, terminals, time.


def test_ctrl_c_leaves_a_readable_trace(cli: Cli, folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", BARE, "run", "small.py", "--set", "times=1000000", "--trace", "long.trace"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    wait_until(lambda: _has_messages(folder / "long.trace"))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=HANG_S)
    assert (child.returncode, err) == (130, "interrupted; the trace up to here is long.trace\n")
    assert out == "the scenario says hello\n"
    (row,) = json.loads(cli("trace", "list", "long.trace", "--json").stdout)["traces"]
    assert row["complete"] is False
    assert row["messages"] >= 1000
    assert cli("trace", "verify", "long.trace").exit_code == 0
    shown = cli("trace", "show", "long.trace", "--limit", "3")
    assert (shown.exit_code, len(shown.stdout.splitlines()) >= 3) == (0, True)


def _has_messages(path: Path) -> bool:
    """Whether the run has committed its first thousand messages."""
    return path.exists() and path.stat().st_size > 1_000_000


INTERRUPTING = """
import runpy, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_path({program!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    "module", ["mesh", "mesh.cli.app", "mesh.cli.run", "msgspec", "mesh.simulation", "nodes", "scenarios"]
)
def test_ctrl_c_before_the_program_is_read_is_no_traceback(folder: Path, module: str) -> None:
    """It comes while that module is being imported, once Python itself is up."""
    code = INTERRUPTING.format(module=module, program=str(ROOT / "run_sim.py"))
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--all"], capture_output=True, text=True, timeout=HANG_S,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr in (
        "",
        "interrupted\n",
        "interrupted; nothing was recorded: --trace FILE keeps what happened so far\n",
    )


def test_a_reader_that_stops_reading_gets_no_traceback(folder: Path) -> None:
    command = f"'{sys.executable}' -c '{BARE}' run small.py --set times=300 --trace t.trace >/dev/null; "
    command += f"'{sys.executable}' -c '{BARE}' trace show t.trace --json | head -n 2"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=HANG_S, env=env)
    assert result.stdout.startswith('{"messages": [')
    assert result.stderr == "trace: t.trace\n"


def on_a_terminal(*args: str, **env: str) -> str:
    """What a person sees who types the line."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", BARE, *args], stdin=slave, stdout=slave, stderr=slave,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"} | env,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while select.select([master], [], [], HANG_S)[0]:
        try:
            read = os.read(master, 65536)
        except OSError:
            break
        if not read:
            break
        seen += read
    os.close(master)
    assert child.wait(timeout=HANG_S) == 0
    return seen.decode()


def test_a_terminal_gets_tables_and_no_color_takes_the_colours_away(folder: Path) -> None:
    coloured = on_a_terminal("small.py")
    assert "✓" in coloured
    assert "┃" in coloured
    assert "\x1b[" in coloured
    assert "one [bold]thing[/bold] holds" in coloured
    plain = on_a_terminal("small.py", NO_COLOR="1")
    assert "┃" in plain
    assert "\x1b[" not in plain


def test_a_narrow_terminal_cuts_no_title(folder: Path) -> None:
    title = "A title that is longer than a narrow terminal has columns"
    (folder / "long.py").write_text(SMALL.replace('"Small"', f'"{title}"'), encoding="utf-8")
    seen = on_a_terminal("long.py", COLUMNS="40", NO_COLOR="1")
    assert all(word in seen for word in title.split())
    assert "小" in seen


def test_a_history_fits_a_narrow_terminal(folder: Path, trace: str) -> None:
    seen = on_a_terminal("trace", "history", trace, "--person", "r-000001", COLUMNS="60", NO_COLOR="1")
    assert all(len(line) <= 60 for line in seen.splitlines())
    assert len(seen.splitlines()) < 20
    assert "→" in seen


def test_a_long_run_shows_its_progress_on_a_terminal(folder: Path) -> None:
    text = SMALL.replace(
        "for _ in range(times):",
        "import mesh.cli.progress as p; p.PATIENCE_S = p.REFRESH_S = 0.0\n    for _ in range(times):",
    )
    (folder / "slow.py").write_text(text, encoding="utf-8")
    seen = on_a_terminal("slow.py", "--set", "times=600")
    assert seen.count("slow: ") > 3  # each thousand messages, not only at the end
    assert "messages, mesh time 00:00:" in seen


MODULES_MAX = 650
"""Python itself, click, msgspec and the description of each scenario make 549; the viewer alone would add 300."""


def test_list_imports_little_and_nothing_heavy() -> None:
    """How long it takes hangs on that: it does nothing else but print."""
    code = (
        "import sys\nfrom mesh.cli import main\n"
        "try:\n    main(nodes='nodes', scenarios='scenarios', args=['list'])\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "heavy = [name for name in ('aiohttp', 'faker', 'jinja2', 'rich') if name in sys.modules]\n"
        "print(heavy, len(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=HANG_S
    )
    heavy, count = done.stderr.rsplit(" ", 1)
    assert heavy == "[]"
    assert int(count) < MODULES_MAX


def test_the_shipped_entry_point_lists_scenarios_as_json() -> None:
    done = process("list", "--json")
    assert done.returncode == 0
    assert {"scenarios", "faults"} == set(json.loads(done.stdout))


def test_stdout_of_another_encoding_does_not_fail(folder: Path) -> None:
    env = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    for options in ((), ("--json",)):
        done = subprocess.run(
            [sys.executable, "-c", BARE, "run", "small.py", *options],
            capture_output=True, text=True, env=os.environ | env, timeout=HANG_S,
        )  # fmt: skip
        assert done.returncode == 0
        assert not options or json.loads(done.stdout)["runs"][0]["title_ja"] == "小"


def test_columns_stand_below_each_other_in_japanese_too() -> None:
    assert list(aligned([["書類", "x"], ["abc", "y"]])) == ["書類  x", "abc   y"]
