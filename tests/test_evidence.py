"""What `trace verify` and the commission's page both find when records were taken out of a trace."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from mesh.trace.finding import Finding
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.viewer.reconciling import Reconciliation
from tests.helpers_trace import BROKER, TAX, edit, make_trace, query


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture
def trace(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.trace"))


def found(path: Path) -> tuple[Finding | None, list[str]]:
    """What both say."""
    with Trace.open(path) as opened:
        anomalies = Reconciliation(opened, lambda _: None).run()["anomalies"]
        return verify(opened).finding, [one["text"] for one in anomalies]


def test_a_sound_trace_has_nothing_of_it(trace: Path) -> None:
    assert found(trace) == (None, [])


def test_all_ledgers_cannot_be_taken_out(trace: Path) -> None:
    edit(trace, "DELETE FROM ledger")
    edit(trace, "DELETE FROM head")
    finding, texts = found(trace)
    assert finding is not None
    assert finding.text == "the broker did not record the permit that came with it"
    assert finding.index is not None
    assert {"its provider did not record the reply", finding.text} <= set(texts)


@pytest.mark.parametrize("party", [BROKER, TAX])
def test_the_ledger_of_one_party_cannot_be_taken_out(trace: Path, party: str) -> None:
    ((number,),) = query(trace, "SELECT number FROM party WHERE address = ?", party)
    edit(trace, "DELETE FROM ledger WHERE party = ?", number)
    edit(trace, "DELETE FROM head WHERE party = ?", number)
    finding, texts = found(trace)
    assert finding is not None
    assert texts


def test_a_message_that_nobody_sent_is_found_by_both(trace: Path) -> None:
    edit(
        trace,
        "INSERT INTO message SELECT max(number) + 1, x'00', 'request', 'x', 'y', NULL, x'41' FROM message",
    )
    finding, texts = found(trace)
    assert finding is not None
    assert "was never transmitted" in finding.text
    assert texts == [finding.text]


COLUMNS = {
    "message": ("digest", "kind", "id", "service", "code", "line"),
    "transmission": ("sent_us", "sender", "recipient", "message", "permit", "fate", "code"),
    "ledger": ("party", "position", "row"),
    "head": ("party", "token"),
    "registry_entry": ("address", "data"),
}


def test_both_say_of_a_changed_trace_that_it_holds_or_that_it_does_not(trace: Path, original: Path) -> None:
    random = Random(1)
    differ = 0
    for _ in range(60):
        shutil.copy(original, trace)
        table = random.choice(sorted(COLUMNS))
        keys = [key for (key,) in query(trace, f"SELECT rowid FROM {table}")]
        one, other = random.choice(keys), random.choice(keys)
        if random.random() < 0.3:
            edit(trace, f"DELETE FROM {table} WHERE rowid = ?", one)
        else:
            column = random.choice(COLUMNS[table])
            edit(
                trace,
                f"UPDATE OR IGNORE {table} SET {column} = (SELECT {column} FROM {table} WHERE rowid = ?) WHERE rowid = ?",
                other, one,
            )  # fmt: skip
        finding, texts = found(trace)
        assert (finding is None) == (texts == []), (table, one, other, finding, texts)
        differ += finding is not None
    assert differ > 20
