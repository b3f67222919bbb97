"""Where two traces part, to the byte and by meaning."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mesh.cli.app import make_root
from mesh.trace.diff import diff
from mesh.trace.reader import Trace
from tests.helpers_trace import CITY, edit, forge_message, make_trace, query


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture
def changed(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "changed.trace"))


def compare(a: Path, b: Path, *, by_meaning: bool = False) -> dict[str, Any]:
    with Trace.open(a) as one, Trace.open(b) as other:
        found = diff(one, other, by_meaning=by_meaning)
    json.dumps(found)
    return found


@pytest.mark.parametrize("by_meaning", [False, True])
def test_the_same_story_is_the_same(original: Path, tmp_path: Path, by_meaning: bool) -> None:
    again = make_trace(tmp_path / "again.trace")
    same = {"same": True, "first": None, "facts": [], "follows": None}
    assert compare(original, again, by_meaning=by_meaning) == same
    # Other pages, equal rows: the messages are compared one by one.
    db = sqlite3.connect(again)
    db.execute("PRAGMA page_size = 4096")
    db.execute("VACUUM")
    db.close()
    assert compare(original, again, by_meaning=by_meaning) == same


def test_the_first_message_that_differs_is_named_with_what_differs(original: Path, changed: Path) -> None:
    edit(changed, "UPDATE transmission SET arrived_us = arrived_us + 1 WHERE number = 9")
    edit(changed, "UPDATE transmission SET fate = 'dropped' WHERE number = 20")
    first = compare(original, changed)["first"]
    assert (first["index_a"], first["index_b"]) == (9, 9)
    assert [field["field"] for field in first["fields"]] == ["arrived_us"]
    first = compare(original, changed, by_meaning=True)["first"]
    assert (first["index_a"], first["index_b"], first["fields"]) == (
        20, 20, [{"field": "fate", "a": "delivered", "b": "dropped"}],
    )  # fmt: skip


def test_a_byte_of_a_line_is_a_difference_and_names_the_attribute(original: Path, changed: Path) -> None:
    ((number,),) = query(changed, "SELECT message FROM transmission WHERE number = 4")
    ((line,),) = query(changed, "SELECT line FROM message WHERE number = ?", number)
    forge_message(changed, number, line[:-1] + (b"A" if line[-1:] != b"A" else b"Q"))
    first = compare(original, changed)["first"]
    assert (first["index_a"], [field["field"] for field in first["fields"]]) == (4, ["jws"])
    # A signature is set aside.
    assert compare(original, changed, by_meaning=True)["same"]


def test_another_seed_differs_in_every_byte_and_not_in_meaning(original: Path, tmp_path: Path) -> None:
    other = make_trace(tmp_path / "other.trace", seed=2)
    found = compare(original, other)
    assert found["first"]["index_a"] == 0
    assert {"id", "jws"} <= {field["field"] for field in found["first"]["fields"]}
    found = compare(original, other, by_meaning=True)
    assert found["first"] is None or "expected" not in found["first"]["what"]
    # Backoff is drawn from the seed, so times and tries of a push may differ; the exchanges before it do not.
    assert found["same"] or found["first"]["index_a"] >= 28


def test_what_follows_is_counted(original: Path, tmp_path: Path) -> None:
    longer = make_trace(tmp_path / "longer.trace", rounds=3)
    found = compare(original, longer, by_meaning=True)
    first, follows = found["first"], found["follows"]
    assert first["index_a"] == first["index_b"] == 4
    assert "person" in {field["field"] for field in first["fields"]}
    assert follows["exchange"] == {"a": [4, 5, 6, 7], "b": [4, 5, 6, 7]}
    assert follows["person"]["handle"] == "r-000002"
    assert follows["person"]["a"][:4] == [4, 5, 6, 7]
    assert {"service": "tax.income.v1", "a": 24, "b": 32} in follows["services"]
    assert follows["messages"]["b"] - follows["messages"]["a"] == 8
    for side in ("a", "b"):
        concerned = {*follows["exchange"][side], *follows["person"][side]}
        assert follows["others"][side] == follows["messages"][side] - len(concerned) > 0


def test_a_trace_that_ends_early_says_which_goes_on(original: Path, changed: Path) -> None:
    edit(changed, "DELETE FROM transmission WHERE number > 30")
    for by_meaning in (False, True):
        first = compare(original, changed, by_meaning=by_meaning)["first"]
        assert (first["index_a"], first["index_b"]) == (31, None)
        assert first["what"] == "only a goes on, with receipt resident.moved.v1"
        assert compare(changed, original, by_meaning=by_meaning)["first"]["index_b"] == 31


def test_what_lies_outside_the_messages_is_a_difference_too(original: Path, changed: Path) -> None:
    edit(changed, "UPDATE ledger SET row = CAST('{}' AS BLOB) WHERE number = 3")
    edit(changed, "UPDATE meta SET value = '9' WHERE key = 'seed'")
    found = compare(original, changed)
    assert not found["same"]
    assert found["first"]["index_a"] is None
    assert "the tables differ: ledger, meta" in found["first"]["what"]
    assert found["facts"] == [{"name": "seed", "a": 1, "b": 9}]
    assert compare(original, changed, by_meaning=True)["same"]
    edit(changed, "UPDATE expectation SET held = 0")
    assert "expected" in compare(original, changed, by_meaning=True)["first"]["what"]


def test_a_difference_in_a_party_s_name_is_seen(original: Path, changed: Path) -> None:
    edit(changed, "UPDATE party SET address = 'muni/01209/child-allowance' WHERE address = ?", CITY)
    first = compare(original, changed)["first"]
    assert (first["index_a"], {field["field"] for field in first["fields"]}) == (0, {"from"})


def test_the_command_says_it_in_text_and_json(original: Path, changed: Path) -> None:
    root = make_root(nodes=None, scenarios=None)
    done = CliRunner().invoke(root, ["trace", "diff", str(original), str(original)])
    assert (done.exit_code, done.stdout) == (0, "the same\n")
    edit(changed, "UPDATE transmission SET fate = 'dropped' WHERE number = 2")
    done = CliRunner().invoke(root, ["trace", "diff", str(original), str(changed)])
    assert done.exit_code == 1
    assert "first difference: message 2 | 2: reply tax.income.v1: fate" in done.stdout
    assert "delivered | dropped" in done.stdout
    assert "that merely come later: " in done.stdout
    done = CliRunner().invoke(root, ["trace", "diff", str(original), str(changed), "--by-meaning", "--json"])
    made = json.loads(done.stdout)
    assert (done.exit_code, made["same"], made["first"]["index_b"]) == (1, False, 2)
    done = CliRunner().invoke(root, ["trace", "diff", str(original), "gone.trace"])
    assert done.exit_code == 2
    assert "gone.trace" in done.stderr
