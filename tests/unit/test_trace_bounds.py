"""What a reader does is bounded by the size of the file, whatever its pages say: a small one does not go on for ever.

A test that fails here does not end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import UsageError
from mesh.trace.diff import diff
from mesh.trace.digest import digest
from mesh.trace.history import history
from mesh.trace.opening import Damage
from mesh.trace.reader import Trace
from mesh.trace.show import rows
from mesh.trace.verify import verify
from mesh.viewer.indexing import chunks
from mesh.viewer.reconciling import Reconciliation
from tests.helpers_pages import Pages
from tests.helpers_trace import edit, make_trace, query

TABLES = ("meta", "epilogue", "party", "message", "transmission", "ledger", "head", "registry_entry",
          "registry_head", "resident", "expectation", "sealing_key")  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture
def trace(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.trace"))


def _verify(opened: Trace) -> object:
    report = verify(opened)
    return None if report.finding is None else report.finding.text


def _diff(opened: Trace) -> object:
    with Trace.open(opened.path) as other:
        other.live = True  # Else equal files are not read at all.
        return diff(opened, other)


READERS: dict[str, Callable[[Trace], object]] = {
    "verify": _verify,
    "digest": digest,
    "diff": _diff,
    "show": lambda opened: [*rows(opened)],
    "history": lambda opened: history(opened, "r-000001"),
    "index": lambda opened: [*chunks(opened)],
    "commission": lambda opened: Reconciliation(opened, lambda share: None).run(),
}


def read_all(path: Path) -> dict[str, str]:
    """What each reader says of a file; every one of them ends."""
    said = {}
    for name, reader in READERS.items():
        try:
            with Trace.open(path, lenient=True) as opened:
                said[name] = str(reader(opened))
        except UsageError as error:
            said[name] = str(error)
            assert "\n" not in said[name]
    return said


def test_an_honest_trace_has_room_for_what_it_holds(trace: Path) -> None:
    for name, said in read_all(trace).items():
        assert "damaged" not in said, name


@pytest.mark.parametrize("table", TABLES)
def test_pages_that_share_their_children_are_damage(trace: Path, table: str) -> None:
    """The case of a small file whose pages point to the same children, which unfold to more than anybody could read."""
    pages = Pages(trace)
    pages.share(table)
    pages.save()
    assert "damaged" in read_all(trace)["digest"]


def test_the_table_of_tables_has_one_page(trace: Path) -> None:
    pages = Pages(trace)
    child = pages.copy(1)
    page = pages.interior(child, 600)
    header = bytes(pages.data[:100])
    pages.put(page, 1)
    # The first page has the file's header before its own.
    pages.data[100 : pages.size] = pages.data[: pages.size - 100]
    pages.data[:100] = header
    pages.save()
    for said in read_all(trace).values():
        assert "damaged" in said


def test_a_page_that_is_its_own_child_is_damage(trace: Path) -> None:
    pages = Pages(trace)
    page = pages.interior(pages.roots["ledger"], 600)
    pages.put(page, pages.roots["ledger"])
    pages.save()
    assert "damaged" in read_all(trace)["verify"]


@pytest.mark.parametrize(("table", "column"), [("ledger", "row"), ("message", "line"), ("head", "token")])
def test_rows_that_share_what_overflows_their_page_are_damage(trace: Path, table: str, column: str) -> None:
    where = f"number = (SELECT min(number) FROM {table})"
    edit(trace, f"UPDATE {table} SET {column} = zeroblob(1000000) WHERE {where}")
    pages = Pages(trace)
    pages.share(table)
    pages.save()
    assert "damaged" in read_all(trace)["digest"]


def test_a_long_line_is_read_once_for_all_its_transmissions(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(trace, "UPDATE message SET line = CAST(printf('%.1000000c', 'x') AS BLOB) WHERE number = 1")
    edit(
        trace,
        "WITH RECURSIVE n(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)"
        " INSERT INTO transmission(number, sent_us, arrived_us, sender, recipient, message, fate)"
        " SELECT n, 9000000000, 9000000000, 1, 1, 1, 'delivered' FROM n",
    )
    read = []
    message = Trace.message

    def counted(self: Trace, number: int) -> Any:
        read.append(number)
        return message(self, number)

    monkeypatch.setattr(Trace, "message", counted)
    with Trace.open(trace) as opened:
        assert sum(len(sent.message.line) == 1_000_000 for sent in opened.transmissions()) > 2000
    assert read == [1]


def test_long_lines_at_hand_are_bounded(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.trace.reader._AT_HAND_MAX", 2_500_000)
    edit(trace, "UPDATE message SET line = zeroblob(1000000) WHERE number < 6")
    with Trace.open(trace) as opened:
        for sent in opened.transmissions():
            assert len(sent.message.line) > 0
            assert sum(len(one.line) for one in opened._at_hand.values()) <= 2_500_000


@pytest.mark.parametrize("table", ["transmission", "message", "ledger"])
def test_a_row_with_an_enormous_number_is_one_row(trace: Path, table: str) -> None:
    edit(trace, f"UPDATE {table} SET number = {2**62} WHERE number = (SELECT max(number) FROM {table})")
    assert len(read_all(trace)) == len(READERS)


def test_many_rows_of_one_id_are_history_in_one_pass(trace: Path) -> None:
    ((party, row),) = query(
        trace,
        "SELECT party, row FROM ledger l JOIN party p ON p.number = party"
        " WHERE address = 'gov/digital/broker' AND position = 0",
    )
    assert json.loads(row)["entry"] == "permitted"
    edit(
        trace,
        "WITH RECURSIVE n(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)"
        " INSERT INTO ledger SELECT n, ?, n, CAST(json_set(?, '$.requestdigest', printf('%064d', n)) AS BLOB) FROM n",
        party, row,
    )  # fmt: skip
    with Trace.open(trace) as opened:
        assert len(history(opened, "r-000001")["rows"]) > 19_000


def test_damage_is_one_line(trace: Path) -> None:
    pages = Pages(trace)
    pages.share("ledger")
    pages.save()
    with Trace.open(trace) as opened, pytest.raises(Damage, match=r"^\S+ is damaged; copy it again"):
        digest(opened)
