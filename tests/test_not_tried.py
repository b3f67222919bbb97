"""An expectation that a fault plan makes impossible: neither held nor failed, wherever a person or a program reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mesh.cli.app import make_root
from mesh.trace.reader import Trace

SCENARIO = """
from mesh import Caller, Node, Service, Simulation, scenario, serves
from msgspec import Struct

class Query(Struct, frozen=True, forbid_unknown_fields=True): ...

class Reply(Struct, frozen=True):
    number: int

ECHO = Service("echo.number.v1", Query, Reply, title="Echo", title_ja="反響")

class Echo(Node):
    @serves(ECHO)
    async def echo(self, query: Query, caller: Caller) -> Reply:
        return Reply(number=3)

@scenario(title="Counting", title_ja="数える", sources=("illustrative",))
async def run(sim: Simulation, *, first: bool = True, counted: bool = True) -> None:
    sim.add(Echo, "muni/28100/echo")
    sim.add(Node, "muni/01208/desk")
    answer = await sim.node("muni/01208/desk").ask("muni/28100/echo", ECHO, Query())
    if first:
        sim.expect("the answer comes", answer.number == 3, text_ja="回答が届く")
    sim.expect("exactly four lines", counted, text_ja="電文はちょうど4件", not_under=("doubled", "lossy"))
"""
PLAN = 'title = "Twice"\ntitle_ja = "二重"\n[[duplicate]]\nafter_s = 2.0\n'
SAID, SAID_JA = "not tried under this plan", "この障害条件では試していない"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    Path("counting.py").write_text(SCENARIO, encoding="utf-8")
    for name in ("doubled", "other"):
        Path(f"{name}.toml").write_text(PLAN, encoding="utf-8")
    root = make_root(nodes=None, scenarios=None)
    return lambda *args: CliRunner().invoke(root, args, prog_name="run_sim.py")


def played(call: Callable[..., Result], *args: str) -> dict[str, Any]:
    done = call("run", "counting.py", *args, "--json")
    made: dict[str, Any] = json.loads(done.stdout)["runs"][0]
    assert done.exit_code == (0 if made["held"] else 1)
    return made


def test_under_the_plan_it_is_neither_held_nor_failed(call: Callable[..., Result]) -> None:
    first, second = played(call, "--faults", "doubled.toml")["expectations"]
    assert (first["held"], first["tried"]) == (True, True)
    assert (second["held"], second["tried"]) == (False, False)
    assert played(call, "--faults", "doubled.toml", "--set", "counted=false")["held"]


@pytest.mark.parametrize("faults", [(), ("--faults", "other.toml")])
def test_without_that_plan_it_decides(faults: tuple[str, ...], call: Callable[..., Result]) -> None:
    assert [one["tried"] for one in played(call, *faults)["expectations"]] == [True, True]
    assert not played(call, *faults, "--set", "counted=false")["held"]


def test_a_run_that_tried_nothing_does_not_hold(call: Callable[..., Result]) -> None:
    made = played(call, "--faults", "doubled.toml", "--set", "first=false")
    assert [one["tried"] for one in made["expectations"]] == [False]
    assert not made["held"]


def test_the_plain_report_says_so_in_both_languages_and_counts_what_was_tried(
    call: Callable[..., Result],
) -> None:
    said = call("run", "counting.py", "--faults", "doubled.toml").stdout
    assert f"  {SAID}: exactly four lines\n          {SAID_JA}：電文はちょうど4件\n" in said
    assert "held    exactly four lines" not in said
    assert SAID not in call("run", "counting.py").stdout
    Path("again.py").write_text(SCENARIO, encoding="utf-8")
    table = call("run", "counting.py", "again.py", "--faults", "doubled.toml").stdout
    assert "2/2" in table  # Of two runs with two expectations each, one of which was not tried.
    assert "2/4" not in table


def test_trace_and_pages_say_so(call: Callable[..., Result]) -> None:
    call("run", "counting.py", "--faults", "doubled.toml", "--trace", "t.trace", "--report", "r.html")
    call("run", "counting.py", "--faults", "other.toml", "--trace", "o.trace")
    with Trace.open("t.trace") as trace:
        kept = list(trace.expectations())
        about = next(one.number for one in trace.transmissions() if one.message.id == kept[1].message)
    assert [(one.held, one.tried, one.failed) for one in kept] == [(True, True, False), (False, False, False)]
    shown = call("trace", "show", "t.trace", "--message", str(kept[1].message)).stdout
    assert f"expected: exactly four lines: {SAID}" in shown
    asked = json.loads(call("trace", "page", "t.trace", "outcome", "--json").stdout)
    assert [(one["held"], one["tried"]) for one in asked["expectations"]] == [(True, True), (False, False)]
    message = json.loads(call("trace", "page", "t.trace", f"message/{about}", "--json").stdout)
    assert [one["tried"] for one in message["expectations"]] == [True, False]
    page = Path("r.html").read_text(encoding="utf-8")
    assert SAID in page
    assert SAID_JA in page
    assert "1 of 1 expectations held" in page
    call("trace", "export", "t.trace", "--to", "html", "--out", "t.html")
    assert SAID in Path("t.html").read_text(encoding="utf-8")
    assert not json.loads(call("trace", "diff", "t.trace", "o.trace", "--by-meaning", "--json").stdout)[
        "same"
    ]


def test_a_plan_named_as_a_text_is_refused(call: Callable[..., Result]) -> None:
    Path("counting.py").write_text(SCENARIO.replace('("doubled", "lossy")', '"doubled"'), encoding="utf-8")
    done = call("run", "counting.py")
    assert done.exit_code == 2
    assert "not_under" in done.stderr
