"""The bench's plain loop makes what a mesh makes, or it would be no measure of one."""

from __future__ import annotations

from pathlib import Path

from mesh import jws
from mesh.bench import FEW, World
from mesh.keys import COUNTS
from mesh.message import Kind
from mesh.plain_loop import COMMIT_EVERY, PlainLoop


def test_its_documents_and_records_are_those_of_a_mesh(tmp_path: Path) -> None:
    world, plain = World("mesh", FEW, tmp_path), PlainLoop(tmp_path, 10)
    world.run(10)
    world.writer.commit()
    sql = "SELECT length(line) FROM message WHERE kind = ? ORDER BY number DESC LIMIT 1"
    theirs = [
        world.writer.db.execute(sql, (kind,)).fetchone()[0]
        for kind in (Kind.REQUEST, Kind.PERMIT, Kind.REPLY)
    ]
    rows, row_bytes = world.writer.db.execute("SELECT count(*), sum(length(row)) FROM ledger").fetchone()
    world.close()
    plain.run(10)
    last = plain.last
    assert [len(last.request), len(last.permit), len(last.reply)] == theirs
    assert len(plain.ledger_rows) == rows == 5 * 10
    # A broker's own code of a person is a letter longer.
    assert sum(len(row[-1]) for row in plain.ledger_rows) == row_bytes - 10
    plain.close()


def test_it_signs_and_verifies_as_an_exchange_does(tmp_path: Path) -> None:
    plain = PlainLoop(tmp_path, 10)
    before = COUNTS.sign, COUNTS.verify
    plain.run(20)
    assert (COUNTS.sign - before[0], COUNTS.verify - before[1]) == (3 * 20, 5 * 20)
    assert [jws.parse(line).typ for line in (plain.last.request, plain.last.permit, plain.last.reply)] == [
        Kind.REQUEST,
        Kind.PERMIT,
        Kind.REPLY,
    ]
    plain.close()


def test_its_trace_is_on_disk(tmp_path: Path) -> None:
    plain = PlainLoop(tmp_path, 50)
    plain.run(COMMIT_EVERY)
    plain.close()
    assert (tmp_path / "plain.trace").stat().st_size > 5_000 * COMMIT_EVERY
