"""The gate through which a trace is opened: what was made to harm who opens it does nothing, and is named."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.errors import UsageError
from mesh.trace.opening import Steps, known_objects
from mesh.trace.reader import Trace
from mesh.trace.schema import FORMAT
from tests.helpers_trace import edit, make_trace
from tests.unit.test_trace_reader import WRITER

MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture
def trace(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.trace"))


@pytest.fixture(autouse=True)
def copies(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where copies go; none is left when all is closed."""
    folder = tmp_path_factory.mktemp("copies")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def refusal(path: Path, name: str | None = None) -> str:
    before = sorted(path.parent.iterdir())
    with pytest.raises(UsageError) as caught:
        Trace.open(path, name).close()
    assert "\n" not in str(caught.value)
    assert sorted(path.parent.iterdir()) == before
    return str(caught.value)


def beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}-{kind}")


def script(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    for one in statements:
        db.execute(one)
    db.commit()
    db.close()


def test_a_journal_that_names_another_one_makes_sqlite_remove_nothing(trace: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("somebody's work")
    header = trace.read_bytes()[:100]
    name, page = str(victim).encode(), int.from_bytes(header[16:18], "big")
    journal = MAGIC + struct.pack(">5I", 0, 0, int.from_bytes(header[28:32], "big"), 512, page)
    journal = journal.ljust(512, b"\0") + struct.pack(">I", 0x40000000 // page + 1) + name
    journal += struct.pack(">2I", len(name), sum(name) & 0xFFFFFFFF) + MAGIC
    beside(trace, "journal").write_bytes(journal)
    assert "names another one" in refusal(trace)
    assert victim.exists()
    with Trace.open(trace, glance=True) as opened:  # Nothing is played back.
        assert opened.meta["scenario"] == "story"
    assert victim.exists()


@pytest.mark.parametrize("kind", ["journal", "wal"])
def test_what_lies_beside_a_trace_and_is_no_journal_is_not_read(trace: Path, kind: str) -> None:
    os.mkfifo(beside(trace, kind))  # Who opened it would wait for ever.
    assert f"beside x.trace lies a -{kind}" in refusal(trace, "x.trace")
    beside(trace, kind).unlink()
    beside(trace, kind).symlink_to("/dev/zero")  # Who copied it would never end.
    assert f"a -{kind} that no run leaves" in refusal(trace)


def test_a_write_ahead_log_is_neither_believed_nor_made(trace: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(trace)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("UPDATE meta SET value = 'forged' WHERE key = 'scenario'")
    db.commit()
    log = beside(trace, "wal").read_bytes()
    db.close()
    assert "write-ahead log" in refusal(trace)
    clean = Path(shutil.copy(trace, tmp_path / "clean.trace"))
    script(clean, "PRAGMA journal_mode = DELETE", "UPDATE meta SET value = 'true' WHERE key = 'scenario'")
    beside(clean, "wal").write_bytes(log)
    assert "a -wal that no run leaves" in refusal(clean)


LOOP = "CREATE VIEW {} AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT {} FROM c"


@pytest.mark.parametrize(
    "change",
    [
        ("ALTER TABLE meta RENAME TO old", LOOP.format("meta", "'k' || n AS key, 'v' AS value")),
        ("DROP TABLE party", LOOP.format("party", "n AS number, 'muni/01208/a' AS address")),
        ("DROP TABLE resident", LOOP.format("resident", "n AS handle, n AS member, n AS code")),
        (
            "ALTER TABLE ledger RENAME TO old",
            "CREATE VIEW ledger AS SELECT number, party, position, zeroblob(900000000) AS row FROM old",
        ),
        ("DROP TABLE party", "CREATE TABLE party(number, address AS (printf('%.*c', 900000000, 'x')))"),
        ("CREATE TRIGGER message AFTER INSERT ON transmission BEGIN DELETE FROM meta; END",),
        ("CREATE TABLE more(a)",),
        ("CREATE INDEX by_code ON message(code)",),
    ],
)
def test_tables_that_no_run_makes_are_not_asked(trace: Path, change: tuple[str, ...]) -> None:
    script(trace, *change)
    assert "holds tables that no trace has" in refusal(trace)


def test_a_later_format_may_have_other_tables_and_says_so(trace: Path) -> None:
    script(trace, "CREATE TABLE more(a)")
    edit(trace, "UPDATE meta SET value = ? WHERE key = 'format'", str(FORMAT + 1))
    assert f"has format {FORMAT + 1}" in refusal(trace)


def test_every_table_of_a_trace_is_known() -> None:
    names = {name for kind, name, *_ in known_objects() if kind == "table"}
    assert {"meta", "party", "message", "transmission", "ledger", "head", "sealing_key"} <= names


def endless(path: Path, table: str) -> None:
    """Let the table's pages lead to each other: its few rows come a thousand million times."""
    db = sqlite3.connect(path)
    ((root,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    db.close()
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    pages = [bytes(data[at : at + size]) for at in range(0, len(data), size)]
    below = len(pages) + 1
    pages.append(pages[root - 1])
    while pages[root - 1][0] == 5:  # Interior: go down to a leaf.
        root = int.from_bytes(pages[root - 1][8:12], "big")
        pages[-1] = pages[root - 1]
    ((root,),) = (
        sqlite3.connect(path)
        .execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        .fetchall()
    )
    cells = 1000
    for level in range(3):
        start = size - 5 * cells
        page = bytearray(size)
        page[:12] = struct.pack(">BHHHBI", 5, 0, cells, start, 0, below)
        for one in range(cells):
            page[12 + 2 * one : 14 + 2 * one] = (start + 5 * one).to_bytes(2, "big")
            page[start + 5 * one : start + 5 * one + 5] = struct.pack(">IB", below, 127)
        if level == 2:
            pages[root - 1] = bytes(page)
        else:
            pages.append(bytes(page))
            below = len(pages)
    whole = bytearray(b"".join(pages))
    whole[28:32] = len(pages).to_bytes(4, "big")
    path.write_bytes(whole)


def test_pages_that_lead_to_each_other_end(
    trace: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steps, "OPENING", 10 * Steps.UNIT)
    endless(trace, "party")
    assert "is damaged" in refusal(trace)
    shutil.copy(original, trace)
    endless(trace, "transmission")
    with Trace.open(trace) as opened:
        with pytest.raises(UsageError, match="is damaged"):
            for count, _ in enumerate(opened.transmissions()):  # noqa: B007
                pass
        assert count < 200
        opened.steps.allow(10 * opened.steps.UNIT)
        with pytest.raises(UsageError, match="is damaged"):
            opened.count("transmission")


def test_what_sqlite_says_of_damage_need_not_be_text(trace: Path) -> None:
    data = trace.read_bytes()
    at = data.index(b"tablemessagemessage")
    statement = data.index(b"CREATE TABLE message", at)
    changed = bytearray(data)
    changed[at + 5 : at + 7] = b"\xff\xfe"
    changed[statement : statement + 6] = b"CRE\xffTE"
    trace.write_bytes(changed)
    with pytest.raises(UnicodeDecodeError):
        sqlite3.connect(trace).execute("SELECT * FROM meta")
    assert "is damaged" in refusal(trace)


def test_a_name_stands_in_for_the_path_in_every_text(trace: Path) -> None:
    for change in ("DELETE FROM meta WHERE key = 'format'", "UPDATE party SET number = -number"):
        edit(trace, change)
        text = ""
        try:
            with Trace.open(trace, "x.trace") as opened:
                list(opened.transmissions())
        except UsageError as error:
            text = str(error)
        assert "x.trace is damaged" in text
        assert str(trace.parent) not in text
        edit(trace, "INSERT OR REPLACE INTO meta VALUES ('format', ?)", str(FORMAT))
    trace.write_bytes(b"")
    assert refusal(trace, "x.trace").startswith("x.trace is no trace")


def killed(path: Path) -> Path:
    command = [sys.executable, "-c", WRITER, str(path), "die"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    assert beside(path, "journal").exists()
    return path


def test_a_glance_at_a_killed_run_copies_nothing(tmp_path: Path, copies: Path) -> None:
    path = killed(tmp_path / "t.trace")
    with Trace.open(path, glance=True) as opened:
        assert opened.meta["scenario"] == "killed"
        assert opened.file == path
        assert list(copies.iterdir()) == []
    with Trace.open(path) as opened:
        assert opened.parties == {1: "muni/01208/tax"}
        assert opened.file.parent.parent == copies


def test_a_copy_for_which_there_is_no_room_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = killed(tmp_path / "t.trace")
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    assert "set TMPDIR" in refusal(path)


def test_a_link_that_leads_to_itself_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "me.trace").symlink_to("me.trace")
    refusal(tmp_path / "me.trace")
