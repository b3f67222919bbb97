"""The steps of every gate: one table, walked in its order, and what is shown is what the gate recorded."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mesh import gates
from mesh.errors import CODES, MeshError, Step
from mesh.gates import BEGINNINGS, CONTENT, FORM, KEY, STEPS, TIME, Gate, Walk
from mesh.message import Kind
from mesh.names import BROKER
from mesh.recorder import Fate
from mesh.trace.reader import Trace
from mesh.trace.rows import Transmission
from mesh.trace.show import checks, full, rows
from mesh.trace.text import format_full
from mesh.trace.verify import verify

Shipped = Callable[[str], Any]
"""Runs a shipped scenario, once in a session."""

ORDER = list(Step)
FOUND_LATER = {
    # A broker opens the subject when it decides for whom the code is.
    ("seal_invalid", "authorisation"),
    ("key_weak", "content"),
    ("schema_invalid", "content"),
}
"""Codes of another step than the one at which a gate met them: what is found when something sealed is opened."""


@pytest.mark.parametrize(("gate", "kind"), STEPS)
def test_each_row_checks_each_line_in_the_order_of_the_design(gate: str, kind: str) -> None:
    row = STEPS[gate, kind]
    assert row[: len(BEGINNINGS[gate])] == BEGINNINGS[gate]
    assert len(row) < 100
    for of_permit in (True, False):
        line = [ORDER.index(one.step) for one in row if one.of_permit == of_permit]
        assert all(first < second for first, second in pairwise(line))
    assert any(one.of_permit for one in row) == (gate == Gate.PERMITTED)


def test_every_kind_that_travels_has_its_gates() -> None:
    answers, asks = (Kind.REPLY, Kind.REFUSAL, Kind.RECEIPT), (Kind.REQUEST, Kind.EVENT, Kind.NOTICE)
    both = {(gate, kind) for gate in (Gate.BROKER, Gate.NODE) for kind in (*answers, *asks)}
    assert set(STEPS) == both | {(Gate.PERMITTED, kind) for kind in asks}


def test_a_walk_takes_the_steps_of_its_row_and_no_others() -> None:
    walk = Walk(Gate.NODE)
    with pytest.raises(RuntimeError, match="another step here"):
        walk.to(KEY)
    walk.to(FORM)
    walk.of(Kind.REPLY)
    with pytest.raises(MeshError, match="no message of this kind") as caught:
        walk.of(Kind.PERMIT)
    assert caught.value.code == "message_malformed"
    for check in STEPS[Gate.NODE, Kind.REPLY][1:]:
        walk.to(check)
    with pytest.raises(RuntimeError):
        walk.to(CONTENT)
    assert gates.passed(walk.record(refused=False)) == (gates.VERSION, len(STEPS[Gate.NODE, Kind.REPLY]))
    assert gates.passed(walk.record(refused=True))[1] == len(STEPS[Gate.NODE, Kind.REPLY]) - 1
    with pytest.raises(KeyError):
        gates.passed(9900)


def row_of(sent: Transmission) -> gates.Row:
    return gates.row_of(
        gates.gate_of(sent.recipient, sent.message.kind, permitted=sent.permit is not None), sent.message.kind
    )


@pytest.mark.parametrize("name", ["child_allowance", "birth", "hostile_mesh", "private_app"])
def test_a_line_that_passed_was_checked_for_all_that_its_row_says_and_one_refused_failed_at_its_code_s_step(
    name: str, shipped: Shipped
) -> None:
    met = Counter[str]()
    with Trace.open(shipped(name).trace) as trace:
        known: set[tuple[str, str, bytes]] = set()
        for sent in trace.transmissions():
            assert (sent.gate is None) == (sent.fate != Fate.DELIVERED)
            if sent.gate is None:
                continue
            row, (_, count) = row_of(sent), gates.passed(sent.gate)
            key = (sent.sender, sent.recipient, sent.message.digest)
            if sent.code is not None:
                step = row[count].step
                assert step is CODES[sent.code].step or (sent.code, step.title) in FOUND_LATER
                met[step.title] += 1
            elif key in known and count < len(row):
                assert row[count - 1].step is Step.DUPLICATE, "a repeat is answered, and checked no further"
                met["repeat"] += 1
            else:
                assert count == len(row)
            known.add(key)
    assert name != "hostile_mesh" or {"size and form", "signature", "address", "content"} <= set(met)


def results(trace: Trace, index: int) -> list[tuple[str, str, str]]:
    return [(one["of"], one["step"], one["result"]) for one in full(trace, str(index))[0]["checks"]]


@pytest.fixture
def copy(tmp_path: Path, shipped: Shipped) -> Callable[..., Path]:
    def made(*edits: str, name: str = "hostile_mesh") -> Path:
        path = Path(shutil.copy(shipped(name).trace, tmp_path / "copy.trace"))
        with sqlite3.connect(path) as db:
            for edit in edits:
                db.execute(edit)
        db.close()
        return path

    return made


def test_what_is_shown_follows_the_record_and_not_the_code(copy: Callable[..., Path]) -> None:
    """The record of the first request, as if its gate had stopped in the middle."""
    with Trace.open(copy("UPDATE transmission SET gate = 103 WHERE number = 0")) as trace:
        assert [result for _, _, result in results(trace, 0)] == [*["passed"] * 3, *["not reached"] * 6]
    with Trace.open(
        copy("UPDATE transmission SET gate = 103, code = 'zone_forbidden' WHERE number = 0")
    ) as trace:
        assert [result for _, _, result in results(trace, 0)][:4] == [*["passed"] * 3, "failed"]
    with Trace.open(copy()) as trace:
        of, steps, said = zip(*results(trace, 1), strict=True)
        assert of.count("permit") == 6
        assert steps[:5] == steps[5:10] == tuple(one.step.title for one in gates.FIRST)
        assert set(said) == {"passed"}
        assert "ok  permit: signature (許可証: 署名)" in format_full(full(trace, "1")[0])


def test_a_record_by_a_table_that_is_not_known_shows_nothing_rather_than_a_guess(
    copy: Callable[..., Path],
) -> None:
    with Trace.open(copy("UPDATE transmission SET gate = 9903")) as trace:
        assert verify(trace).ok
        assert all(checks(sent) == [] for sent in trace.transmissions())


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE transmission SET gate = 104 WHERE number = 0",
        "UPDATE transmission SET gate = 110 WHERE number = 0",
        "UPDATE transmission SET gate = 109 WHERE number = 4",
        "UPDATE transmission SET gate = 106 WHERE code = 'signature_invalid'",
    ],
)
def test_verify_finds_a_record_that_cannot_be(edit: str, copy: Callable[..., Path]) -> None:
    with Trace.open(copy()) as trace:
        assert verify(trace).ok
    with Trace.open(copy(edit)) as trace:
        found = verify(trace).finding
    assert found is not None
    assert found.text == "the gate is said to have come as far as it cannot have"


@pytest.mark.parametrize("name", ["hostile_mesh", "child_allowance"])
def test_refused_at_the_gate_means_the_same_to_verify_and_to_show(name: str, shipped: Shipped) -> None:
    with Trace.open(shipped(name).trace) as trace:
        refused = [row for row in rows(trace) if row["refused"]]
        assert verify(trace).refused == len(refused) > 0


FORMER = """
CREATE TABLE transmission(
  number INTEGER PRIMARY KEY, sent_us INTEGER NOT NULL, arrived_us INTEGER NOT NULL,
  sender INTEGER NOT NULL, recipient INTEGER NOT NULL, message INTEGER NOT NULL, permit INTEGER,
  fate TEXT NOT NULL, code TEXT)"""


def test_a_trace_of_the_first_format_is_read_without_what_it_lacks(copy: Callable[..., Path]) -> None:
    columns = "number, sent_us, arrived_us, sender, recipient, message, permit, fate, code"
    path = copy(
        "ALTER TABLE transmission RENAME TO newer",
        FORMER.strip(),
        f"INSERT INTO transmission SELECT {columns} FROM newer",
        "DROP TABLE newer",
        "UPDATE meta SET value = '1' WHERE key = 'format'",
    )
    with Trace.open(path) as trace:
        assert verify(trace).ok
        found: list[dict[str, Any]] = full(trace, "0")
        assert found[0]["checks"] == []
        assert "checks of the recipient's gate" not in format_full(found[0])
        assert any("format 1" in note for note in trace.notes)


def test_the_gate_at_which_a_line_came_in() -> None:
    assert gates.gate_of(BROKER, Kind.REQUEST, permitted=False) == Gate.BROKER
    assert gates.gate_of(BROKER, Kind.REQUEST, permitted=True) == Gate.PERMITTED
    assert gates.gate_of(BROKER, Kind.REPLY, permitted=True) == Gate.BROKER
    assert gates.gate_of("muni/01208/tax", Kind.REPLY, permitted=True) == Gate.PERMITTED
    assert gates.gate_of("muni/01208/tax", Kind.REPLY, permitted=False) == Gate.NODE
    assert TIME not in gates.row_of(Gate.NODE, "no kind")
