"""Re-checks the ledgers of a trace: every row, every signed head over them, and that they agree.

Rules kept here:
1. A party's rows stand at positions 0, 1, 2… in the order of commits, and the first `size` of them have the
   root of each head of that size. Sizes never fall. So every head continues the one before it.
2. A head is of the party's own key, old or new. When it was signed is not judged: a party whose certificate
   was revoked still has to say how its ledger ends.
3. In a complete trace the last head covers all rows; else the rows of the hour after it are counted as unsigned: a head
   is signed with the first row, and with the first an hour after the last one.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

import msgspec

from mesh.errors import MeshError
from mesh.ledger import HEAD_EVERY_US, Head, Row, read_head
from mesh.merkle import Tree, leaf_hash
from mesh.parsing import decode
from mesh.trace.agreement import Agreement
from mesh.trace.finding import Finding, Report
from mesh.trace.reader import Trace
from mesh.trace.recheck import Recheck
from mesh.trace.rows import LedgerRow
from mesh.view import View

_row_decoder = msgspec.json.Decoder(Row)


class _Book:
    """One party's ledger as far as it was read."""

    __slots__ = ("covered", "covered_us", "first_uncovered", "heads", "tree")

    def __init__(self) -> None:
        self.tree = Tree()
        self.heads: deque[Head] = deque()
        """Those whose rows have not all come yet."""
        self.covered = -1
        """The size of the last head that held; -1 when there was none."""
        self.covered_us = 0
        """When that was signed."""
        self.first_uncovered: int | None = None
        """The position of the first row that should be under a head and is under none."""


class Ledgers:
    """The ledgers of one trace, whose transmissions were checked before."""

    def __init__(self, trace: Trace, view: View, recheck: Recheck, report: Report) -> None:
        self._trace = trace
        self._view = view
        self._report = report
        self._books: dict[str, _Book] = {}
        self._agreement = Agreement(trace, recheck)
        self._number = 0

    def read_heads(self, count: int | None = None) -> None:
        """Check the signatures of the heads, of the first `count` if it is given; raises `Finding`."""
        for party, token in islice(self._trace.heads(), count):
            book = self._books.setdefault(party, _Book())
            try:
                head = self._read_head(party, token)
                size = book.heads[-1].size if book.heads else 0
                if head.party != party or head.size < size:
                    raise MeshError(
                        "ledger_broken", "a head is another party's, or smaller than one before it"
                    )
            except MeshError as error:
                raise Finding(error.code, f"{party}, a signed head: {error.text}") from None
            book.heads.append(head)
        for party, book in self._books.items():
            self._compare(party, book)

    def _read_head(self, party: str, token: bytes) -> Head:
        return read_head(token, self._view.signer(token, party).verify_key)

    def row(self, stored: LedgerRow) -> None:
        """Check the next row; raises `Finding`, whose text names party and position."""
        party, position = stored.party, stored.position
        book = self._books.get(party)
        if book is None:
            book = self._books[party] = _Book()
        message = None
        try:
            if position != book.tree.size or stored.number <= self._number:
                raise MeshError("ledger_broken", f"row {book.tree.size} is missing, or not in its place")
            self._number = stored.number
            row = _read_row(stored.row)
            message = row.id
            self._agreement.enter(party, row)
        except MeshError as error:
            raise Finding(error.code, f"{party}, row {position}: {error.text}", message=message) from None
        if book.first_uncovered is None and row.time_us >= book.covered_us + HEAD_EVERY_US:
            book.first_uncovered = position
        book.tree.append(leaf_hash(stored.row))
        if book.heads and book.heads[0].size == book.tree.size:
            self._compare(party, book)
        self._report.ledger_rows += 1

    def _compare(self, party: str, book: _Book) -> None:
        while book.heads and book.heads[0].size == book.tree.size:
            head = book.heads.popleft()
            if head.root != book.tree.root().hex():
                first = max(book.covered, 0)
                raise Finding(
                    "ledger_broken",
                    f"{party}, rows {first} to {head.size - 1}: they do not have the root of their signed head",
                )
            book.covered, book.covered_us, book.first_uncovered = head.size, head.time_us, None

    def finish(self) -> None:
        """Check that the heads cover the rows, and count what is left open; raises `Finding`."""
        report = self._report
        for party, book in self._books.items():
            if book.heads:
                text = f"{party}, row {book.tree.size}: it is missing, and a signed head covers it"
                raise Finding("ledger_broken", text)
            uncovered = book.tree.size - max(book.covered, 0)
            first = book.tree.size - uncovered if uncovered and self._trace.complete else book.first_uncovered
            if first is not None:
                raise Finding("ledger_broken", f"{party}, row {first}: no signed head covers it")
            report.unsigned += uncovered
            report.trees += 1
        for late in self._agreement.finish():
            text = f"{late.party}: {late.error.text}" if late.party else late.error.text
            raise Finding(
                late.error.code,
                text,
                index=late.sent,
                message=None if late.exchange is None else late.exchange[1],
            )
        report.unfinished = self._agreement.unfinished()
        report.retried = self._agreement.retried()


def _read_row(data: bytes) -> Row:
    try:
        return decode(data, _row_decoder)
    except MeshError:
        raise MeshError("ledger_broken", "it is no ledger row") from None
