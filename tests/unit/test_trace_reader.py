"""The reader: what it refuses, in one line, and what an interrupted trace still gives."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import UsageError
from mesh.recorder import NO_PASSAGE
from mesh.trace.digest import digest
from mesh.trace.reader import PIECE, Trace
from mesh.trace.schema import FORMAT
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from tests.helpers_trace import BROKER, CITY, edit, make_trace


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.sqlite")


@pytest.fixture
def trace(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.sqlite"))


def refusal(path: Path | str) -> str:
    with pytest.raises(UsageError) as caught:
        Trace.open(path).close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_thing_that_is_no_trace_is_named_with_what_to_do(trace: Path, tmp_path: Path) -> None:
    assert "there is no trace" in refusal(tmp_path / "nothing.sqlite")
    assert "there is no trace" in refusal("a\0name")
    assert "is a folder" in refusal(tmp_path)
    assert "is no trace" in refusal(Path(__file__))
    (tmp_path / "empty").touch()
    assert "is no trace" in refusal(tmp_path / "empty")
    db = sqlite3.connect(tmp_path / "other.sqlite")
    db.execute("CREATE TABLE t(a)")
    db.close()
    assert "is a database, but no trace" in refusal(tmp_path / "other.sqlite")
    edit(trace, "UPDATE meta SET value = ? WHERE key = 'format'", str(FORMAT + 1))
    assert f"has format {FORMAT + 1}" in refusal(trace)
    edit(trace, "DELETE FROM meta WHERE key = 'format'")
    assert "is damaged" in refusal(trace)


def test_a_name_with_line_breaks_gives_one_line_and_a_strange_one_opens(trace: Path, tmp_path: Path) -> None:
    refusal(tmp_path / "a\nb")
    with Trace.open(shutil.copy(trace, tmp_path / "a b?mode=rw#50%25 年.sqlite")) as opened:
        assert opened.meta["scenario"] == "story"


def test_a_trace_that_is_as_it_should_be_has_no_notes(trace: Path) -> None:
    with Trace.open(trace) as opened:
        assert opened.notes == ()


def test_a_truncated_trace_is_read_as_far_as_it_goes(trace: Path) -> None:
    data = trace.read_bytes()
    with Trace.open(trace) as opened:
        whole = list(opened.transmissions())
    trace.write_bytes(data[:-1])
    with Trace.open(trace) as opened:
        assert all(f"truncated: {len(data) - 1} of {len(data)} bytes" in note for note in opened.notes)
        assert opened.notes
        assert not opened.whole
        assert list(opened.transmissions()) == whole
        verify(opened)
    counts = []
    for pages in range(1, len(data) // 8192, 4):
        trace.write_bytes(data[: pages * 8192])
        counts.append(0)
        with suppress(UsageError), Trace.open(trace) as opened:
            for one, of in zip(opened.transmissions(), whole, strict=False):
                assert one == of
                counts[-1] += 1
    assert max(counts) > 0
    assert counts[0] == 0
    trace.write_bytes(data[:50])
    assert "is truncated: 50 bytes are left" in refusal(trace)


def root_page(trace: Path, table: str) -> int:
    """Where a table begins in the file."""
    db = sqlite3.connect(trace)
    ((page,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    db.close()
    return int(page)


def lose(trace: Path, page: int) -> None:
    """Put zeros over a page, as a disk does that lost one."""
    data = bytearray(trace.read_bytes())
    data[(page - 1) * 8192 : page * 8192] = bytes(8192)
    trace.write_bytes(data)


@pytest.mark.parametrize(
    "table", ["head", "registry_entry", "registry_head", "resident", "expectation", "sealing_key", "epilogue"]
)
def test_who_only_looks_reads_on_without_a_lost_page_and_is_told(trace: Path, table: str) -> None:
    lose(trace, root_page(trace, table))
    with Trace.open(trace, lenient=True) as opened:
        for rows in (opened.heads(), opened.registry_entries(), opened.residents(), opened.expectations()):
            list(rows)
        opened.registry_head()
        opened.sealing_keys(BROKER)
        assert len(list(opened.transmissions())) == 41
        (note,) = opened.notes
        assert f"is damaged: not all of its table {table} can be read" in note
    with Trace.open(trace) as opened:
        assert not verify(opened).ok


def test_verification_reads_everything(trace: Path) -> None:
    with Trace.open(trace) as opened:
        assert verify(opened).ok
    for table in ("meta", "party", "message", "transmission", "ledger"):
        copy = trace.with_name(f"{table}.trace")
        shutil.copy(trace, copy)
        lose(copy, root_page(copy, table))
        with suppress(UsageError), Trace.open(copy) as opened:
            assert not verify(opened).ok


def test_a_trace_of_an_older_format_is_read_without_what_it_lacks(trace: Path) -> None:
    edit(trace, "UPDATE meta SET value = ? WHERE key = 'format'", str(FORMAT - 1))
    db = sqlite3.connect(trace)
    db.execute("DROP TABLE expectation")
    db.close()
    with Trace.open(trace) as opened:
        (note,) = opened.notes
        assert f"has format {FORMAT - 1}" in note
        assert list(opened.expectations()) == []
        assert len(list(opened.transmissions())) == 41
    edit(trace, "UPDATE meta SET value = ? WHERE key = 'format'", str(FORMAT))
    with Trace.open(trace) as opened, pytest.raises(UsageError, match="is damaged"):
        list(opened.expectations())


def test_what_a_trace_gives(trace: Path) -> None:
    before = trace.read_bytes()
    with Trace.open(trace) as opened:
        assert opened.complete
        assert opened.meta["seed"] == 1
        assert opened.start_us == 1775001600000000
        assert opened.root_der
        sent = list(opened.transmissions())
        assert [one.number for one in sent] == list(range(len(sent)))
        assert (sent[1].sender, sent[1].message.kind) == (BROKER, "request")
        assert sent[1].permit is not None
        assert [one.number for one in opened.transmissions(3, 2)] == [3, 4]
        assert opened.message(sent[5].message.number) == sent[5].message
        rows = [row for row in opened.ledger() if row.party == CITY]
        assert rows == list(opened.ledger(CITY))
        assert [row.position for row in rows] == list(range(len(rows)))
        assert list(opened.ledger("muni/00000/none")) == []
        assert CITY in [party for party, _ in opened.heads()]
        assert [entry[0] for entry in opened.registry_entries()] == [0, 1, 2, 3]
        assert opened.registry_head()
        assert list(opened.codes_of("r-000001")) == ["gov/digital", "muni/01208", "muni/28100"]
        assert [one.text_ja for one in opened.expectations()] == ["うまくいった"]
        assert len(opened.sealing_keys(BROKER)) == 1
        assert opened.sealing_keys("muni/00000/none") == ()
        with pytest.raises(UsageError, match="one of them is r-000001"):
            opened.codes_of("r-9")
    assert trace.read_bytes() == before
    assert [path.name for path in trace.parent.iterdir()] == [trace.name]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE transmission SET sent_us = 'soon' WHERE number = 3",
        "UPDATE transmission SET sender = 99 WHERE number = 3",
        "UPDATE transmission SET message = 999 WHERE number = 3",
        "UPDATE transmission SET permit = 999 WHERE number = 3",
        "UPDATE message SET line = 'text' WHERE number = (SELECT message FROM transmission WHERE number = 3)",
        "UPDATE message SET kind = x'00' WHERE number = (SELECT message FROM transmission WHERE number = 3)",
    ],
)
def test_a_column_of_a_wrong_type_is_damage_with_its_index(trace: Path, change: str) -> None:
    edit(trace, change)
    with Trace.open(trace) as opened:
        with pytest.raises(UsageError, match=r"damaged at transmission [23]"):
            list(opened.transmissions())
        found = verify(opened).finding
        assert found is not None
        assert found.index in (2, 3)


@pytest.mark.parametrize(
    ("table", "column"),
    [("ledger", "row"), ("ledger", "party"), ("head", "token"), ("registry_head", "token")],
)
def test_damage_elsewhere_is_a_finding_without_an_index(trace: Path, table: str, column: str) -> None:
    edit(trace, f"UPDATE {table} SET {column} = 'x' WHERE rowid = 1")
    with Trace.open(trace) as opened:
        found = verify(opened).finding
    assert found is not None
    assert found.index is None


def test_an_interrupted_trace_opens_as_far_as_it_was_committed(tmp_path: Path) -> None:
    path = make_trace(tmp_path / "story.sqlite", complete=False)
    with Trace.open(path) as opened:
        assert not opened.complete
        assert ["was interrupted" in note for note in opened.notes] == [True]
        assert len(list(opened.transmissions())) > 30


def test_a_trace_under_way_is_read_up_to_its_last_commit_and_does_not_hold_up_the_run(tmp_path: Path) -> None:
    writer = TraceWriter(path := tmp_path / "t.sqlite", scenario="slow")

    def send(count: int, party: str) -> None:
        for _ in range(count):
            writer.transmission(writer.sent(), 0, 0, CITY, party, b"line", "delivered", NO_PASSAGE)

    send(PIECE + 10, BROKER)
    writer.commit()
    send(20, BROKER)
    writer._insert()
    with Trace.open(path) as opened:
        assert opened.live
        assert ["still being written" in note for note in opened.notes] == [True]
        sent = opened.transmissions()
        first = next(sent)
        writer.db.execute("PRAGMA busy_timeout = 0")
        send(PIECE, "muni/01100/late")
        writer.commit()  # Not held up by who reads.
        assert [one.number for one in sent] == list(range(first.number + 1, 2 * PIECE + 30))
        assert [one.number for one in opened.transmissions(5, PIECE + 2)] == list(range(5, PIECE + 7))
        assert opened.parties[3] == "muni/01100/late"
    writer.close()


def test_a_trace_that_is_locked_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.trace.opening.PATIENCE_S", 0.05)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "t.sqlite"), "stay"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert "is still being written" in refusal(tmp_path / "t.sqlite")
        child.kill()


WRITER = """
import os, sys
from pathlib import Path
from mesh.trace.writer import TraceWriter
writer = TraceWriter(Path(sys.argv[1]), scenario="killed")
writer.db.execute("INSERT INTO party VALUES (1, 'muni/01208/tax')")
writer.db.execute("COMMIT")
writer.db.execute("BEGIN")
writer.db.execute("PRAGMA cache_size = 2")
for number in range(2, 4000):
    writer.db.execute("INSERT INTO party VALUES (?, ?)", (number, 'x' * 400 + str(number)))
print("ready", flush=True)
if sys.argv[2] == "die":
    os._exit(9)
sys.stdin.read()
"""


def test_a_killed_writer_leaves_what_it_committed_and_its_files_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    subprocess.run([sys.executable, "-c", WRITER, str(path), "die"], check=False, stdout=subprocess.DEVNULL)
    files = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert sorted(files) == [".t.sqlite.lock", "t.sqlite", "t.sqlite-journal"]
    with Trace.open(path) as opened:
        assert opened.parties == {1: "muni/01208/tax"}
        assert not opened.complete
        copy = opened._copy
        assert copy is not None
        report = verify(opened)
        assert (report.ok, report.nothing, report.finding) == (False, True, None)
    assert not copy.exists()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == files


def test_a_killed_writer_whose_journal_is_lost_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    subprocess.run([sys.executable, "-c", WRITER, str(path), "die"], check=False, stdout=subprocess.DEVNULL)
    journal = path.with_name("t.sqlite-journal")
    journal.write_bytes(journal.read_bytes()[:600])
    with suppress(UsageError), Trace.open(path) as opened:
        assert not verify(opened).ok


@settings(max_examples=100)
@given(data=st.data())
def test_no_damage_of_the_file_escapes(
    original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(original.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.sqlite"
    path.write_bytes(changed)
    with suppress(UsageError), Trace.open(path) as opened:
        verify(opened)
        digest(opened)


def test_the_digest_is_of_rows_and_not_of_pages(trace: Path) -> None:
    with Trace.open(trace) as opened:
        before = digest(opened)
    db = sqlite3.connect(trace)
    db.execute("PRAGMA page_size = 4096")
    db.execute("VACUUM")
    db.close()
    with Trace.open(trace) as opened:
        assert digest(opened) == before
    for change in (
        "UPDATE meta SET value = '2' WHERE key = 'seed'",
        "UPDATE head SET token = CAST(token AS TEXT) WHERE number = 1",
        "UPDATE resident SET code = code || 'x' WHERE handle = 'r-000002'",
        "DELETE FROM expectation",
    ):
        edit(trace, change)
        with Trace.open(trace) as opened:
            after = digest(opened)
        assert after != before
        before = after


def test_equal_runs_have_equal_digests(original: Path, tmp_path: Path) -> None:
    with Trace.open(original) as one, Trace.open(make_trace(tmp_path / "again.sqlite")) as two:
        assert digest(one) == digest(two)


def test_a_trace_in_memory_is_no_file() -> None:
    TraceWriter(None).close()
    assert "there is no trace" in refusal(":memory:")


@pytest.mark.parametrize(
    "said",
    [
        '["no", "names"]',
        '"no names"',
        "7",
        "{broken",
        '{"muni/28100": "Kobe", "muni/28100/tax": {"title": 7, "title_ja": "税"}, "gov/digital": {}}',
        '{"muni/28100": {"title": "Kobe"}, "gov/digital": {"title": "", "title_ja": ""}, "x": null}',
    ],
)
def test_names_are_taken_as_they_should_be_and_no_others(tmp_path: Path, said: str) -> None:
    path = make_trace(tmp_path / "story.trace")
    edit(path, "INSERT OR REPLACE INTO epilogue VALUES ('names', ?)", said)
    with Trace.open(path) as trace:
        assert trace.names == {}


def test_a_name_in_one_language_serves_for_both(tmp_path: Path) -> None:
    path = make_trace(tmp_path / "story.trace")
    names = '{"muni/28100": {"title": "", "title_ja": "神戸市"}, "gov/digital": {"title": "Agency", "title_ja": ""}}'
    edit(path, "INSERT OR REPLACE INTO epilogue VALUES ('names', ?)", names)
    with Trace.open(path) as trace:
        assert trace.names == {"muni/28100": ("神戸市", "神戸市"), "gov/digital": ("Agency", "Agency")}
