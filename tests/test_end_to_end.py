"""What shows that it is done, from outside: every scenario holds, its trace verifies, and no tampering does."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mesh.cli.app import make_root
from mesh.loading import scenarios_of

ROOT = Path(__file__).parent.parent
SCENARIOS = scenarios_of("scenarios")
SHA256 = re.compile(r"[0-9a-f]{64}")
SAMPLES = 5
"""Bytes changed in each trace's messages and ledger rows, spread over all of them."""


@pytest.fixture
def made(printed: dict[str, Any]) -> dict[str, Any]:
    """What `run --all --json` printed."""
    return printed


@pytest.fixture
def traces(made: dict[str, Any]) -> Mapping[str, Path]:
    """The recording of each scenario."""
    return {one["scenario"]: Path(one["trace"]) for one in made["runs"]}


def cli(*line: str | Path, code: int = 0) -> Any:
    """What a command prints with --json."""
    root = make_root(nodes="nodes", scenarios="scenarios")
    done = CliRunner().invoke(root, [*map(str, line), "--json"], prog_name="run_sim.py")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def has_shape(value: Any, shape: Any) -> bool:
    """Whether a value has the fields of a shape at least, each of its type; a list has one or more such items."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            name in value and has_shape(value[name], inner) for name, inner in shape.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and bool(value) and all(has_shape(one, shape[0]) for one in value)
    if shape is int and isinstance(value, bool):
        return False
    return isinstance(value, shape)


# Running.


def test_every_expectation_of_every_scenario_is_held(made: dict[str, Any]) -> None:
    assert [one["scenario"] for one in made["runs"]] == list(SCENARIOS)
    failed = [one["text"] for run_ in made["runs"] for one in run_["expectations"] if not one["held"]]
    assert failed == []
    assert made["held"] is True
    assert all(one["held"] and one["error"] is None for one in made["runs"])


OUTCOME = {
    "papers": list,
    "visits_saved": int,
    "disclosed": list,
    "fallbacks": list,
    "elapsed_us": int,
}
RUN = {
    "scenario": str,
    "seed": int,
    "held": bool,
    "expectations": [{"text": str, "text_ja": str, "held": bool}],
    "trace": str,
    "messages": int,
    "refusals": dict,
    "outcome": OUTCOME,
}
PAPER = {"name": str, "name_ja": str, "counter": str, "fee_yen": int, "source": str}


def test_a_run_is_printed_in_the_shape_of_the_design(made: dict[str, Any]) -> None:
    assert has_shape(made, {"runs": [RUN], "held": bool})
    outcomes = [one["outcome"] for one in made["runs"]]
    assert has_shape([paper for one in outcomes for paper in one["papers"]], [PAPER])
    assert has_shape([one for out in outcomes for one in out["disclosed"]], [{"to": str, "items": [str]}])
    assert has_shape([paper for one in outcomes for paper in one["fallbacks"]], [{"paper": str, "why": str}])
    assert all(has_shape(list(one["refusals"].values()), [int]) for one in made["runs"])


def test_the_scenarios_and_services_are_listed_in_the_shape_of_the_design() -> None:
    listed = cli("list")
    shape = {"name": str, "title": str, "title_ja": str, "rules": [int], "sources": [str], "settings": list}
    assert has_shape(listed, {"scenarios": [shape]})
    assert [one["name"] for one in listed["scenarios"]] == list(SCENARIOS)
    settings = [setting for one in listed["scenarios"] for setting in one["settings"]]
    assert has_shape(settings, [{"name": str, "type": str, "default": object}])
    service: dict[str, Any] = {"name": str, "title": str, "title_ja": str, "offered_by": list, "items": list}
    service |= {"personal": bool, "bases": list, "zone": str}
    assert has_shape(cli("services"), {"services": [service]})


def test_a_node_keeps_its_own_database(tmp_path: Path) -> None:
    """One file for each node that was used, each with its own ledger, and its own tables in no other."""
    trace, data = tmp_path / "t.trace", tmp_path / "data"
    cli("run", "child_allowance", "--data", data, "--trace", trace)
    spoke = query(trace, "SELECT address FROM party JOIN head ON head.party = party.number")
    files = {path.name: path for path in data.iterdir()}
    assert set(files) == {f"{address.replace('/', '_')}.sqlite" for (address,) in spoke}
    assert len(files) >= 6
    tables = {
        name: {row[0] for row in query(path, "SELECT name FROM sqlite_master")}
        for name, path in files.items()
    }
    common = set.intersection(*tables.values())
    assert "mesh_ledger" in common
    assert [name for name, names in tables.items() if "levy" in names] == ["muni_28100_tax.sqlite"]


def query(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path)
    with db:
        rows = db.execute(sql, values).fetchall()
    db.close()
    return rows


# Traces.


def test_traces_are_listed_in_the_shape_of_the_design(
    made: dict[str, Any], traces: Mapping[str, Path]
) -> None:
    shape = {"path": str, "scenario": str, "seed": int, "messages": int, "complete": bool}
    listed = cli("trace", "list", next(iter(traces.values())).parent)
    assert has_shape(listed, {"traces": [shape]})
    counts = {one["scenario"]: one["messages"] for one in made["runs"]}
    assert {one["scenario"]: one["messages"] for one in listed["traces"]} == counts
    assert all(one["complete"] for one in listed["traces"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_messages_are_shown_in_the_shape_of_the_design(
    name: str, traces: Mapping[str, Path], made: dict[str, Any]
) -> None:
    shown = cli("trace", "show", traces[name])["messages"]
    (run_,) = (one for one in made["runs"] if one["scenario"] == name)
    assert [one["index"] for one in shown] == list(range(run_["messages"]))
    text = (str, type(None))
    shape = {"index": int, "time_us": int, "id": text, "kind": str, "from": str, "to": str, "jws": str}
    assert has_shape(shown, [shape | {"service": text, "code": text}])
    kinds = {"request", "permit", "reply", "refusal", "event", "notice", "receipt"}
    assert {one["kind"] for one in shown if one["kind"]} <= kinds


def test_a_resident_s_history_in_the_shape_of_the_design(traces: Mapping[str, Path]) -> None:
    """The first resident whom each run knows; a few runs are about no person."""
    shape = {"time_us": int, "requester": str, "items": list, "outcome": str, "hidden": bool}
    seen = []
    for path in traces.values():
        for (handle,) in query(path, "SELECT min(handle) FROM resident HAVING count(*)"):
            shown = cli("trace", "history", path, "--person", handle)
            assert shown["person"] == handle
            seen += shown["rows"]
    assert len(seen) > 20
    assert has_shape(seen, [shape | {"procedure": (str, type(None))}])


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_trace_of_every_scenario_verifies(
    name: str, traces: Mapping[str, Path], made: dict[str, Any]
) -> None:
    root = make_root(nodes=None, scenarios=None)
    done = CliRunner().invoke(root, ["trace", "verify", str(traces[name]), "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["ok"], report["first_fault"]) == (0, True, None)
    (run_,) = (one for one in made["runs"] if one["scenario"] == name)
    assert has_shape(report["checked"], dict.fromkeys(("messages", "permits", "ledger_rows", "trees"), int))
    assert report["checked"]["messages"] == run_["messages"]
    assert SHA256.fullmatch(report["root"])


@pytest.mark.parametrize(("table", "column"), [("message", "line"), ("ledger", "row")])
@pytest.mark.parametrize("name", ["birth", "hostile_mesh"])
def test_a_trace_with_one_changed_byte_does_not(
    name: str, table: str, column: str, traces: Mapping[str, Path], tmp_path: Path
) -> None:
    """A sample through the command line; tests/unit/test_trace_verify.py goes through every cell of a trace."""
    copy = Path(shutil.copy(traces[name], tmp_path))
    rows = query(copy, f"SELECT number, {column} FROM {table} ORDER BY number")
    assert len(rows) > SAMPLES
    for sample in range(SAMPLES):
        number, whole = rows[(len(rows) - 1) * sample // (SAMPLES - 1)]
        at = (len(whole) - 1) * (SAMPLES - sample - 1) // (SAMPLES - 1)
        changed = whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :]
        query(copy, f"UPDATE {table} SET {column} = ? WHERE number = ?", changed, number)
        report = cli("trace", "verify", copy, code=1)
        fault = report["first_fault"]
        assert report["ok"] is False, (table, number, at)
        assert has_shape(fault, {"code": str, "text": str})
        assert (type(fault["index"]) is int) is (table == "message"), (table, number, at, fault)
        query(copy, f"UPDATE {table} SET {column} = ? WHERE number = ?", whole, number)
    assert cli("trace", "verify", copy)["ok"], "put back as it was, it holds again"
