"""Insiders who show the commission other books than they keep: what a body's own administrators could do.

They hold the body's signing key, so the head over the false books is genuine. Who only shows false books has a true
ledger, in the database and in the trace; what is shown is in the answers that the commission alone can open. Who writes
them (`misrecord`) has no other: then the trace has the disagreement, and `trace verify` and the commission's page name it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mesh import Caller, Node, NotFound, serves
from mesh.builtin import LEDGER_HEAD, LEDGER_ROWS, ROWS_MAX, HeadQuery, HeadReply, RowsQuery, RowsReply
from mesh.exchange import Write
from mesh.jws import sign
from mesh.ledger import Head, Row, read_row
from mesh.merkle import consistency_path, leaf_hash, root_of
from mesh.message import Kind, encode
from nodes.municipality.child_allowance import ChildAllowanceOffice
from nodes.municipality.tax import TaxOffice

Falsify = Callable[[Row], Row | None]
"""What becomes of a record in the books that are shown; None leaves it out."""


class SecondBooks(Node):
    """Shows the ledger as `falsify` makes it."""

    falsify: Falsify | None = None

    def _shown(self) -> list[bytes]:
        rows = list(self.host.store.ledger_rows())
        if self.falsify is None:
            return rows
        changed = map(self.falsify, map(read_row, rows))
        return [encode(row) for row in changed if row is not None]

    @serves(LEDGER_HEAD)
    async def _shown_head(self, query: HeadQuery, caller: Caller) -> HeadReply:
        """A genuine signature over the books that are shown."""
        self.host.flush()
        leaves = [leaf_hash(row) for row in self._shown()]
        if query.known_size > len(leaves):
            raise NotFound("the ledger has fewer rows")
        path = consistency_path(leaves, query.known_size, len(leaves)) if query.known_size else []
        head = Head(self.address, len(leaves), root_of(leaves).hex(), self.host.now_us())
        token = sign(encode(head), self.party.keys.signing, typ=Kind.TREE_HEAD)
        return HeadReply(token.decode(), tuple(one.hex() for one in path))

    @serves(LEDGER_ROWS)
    async def _shown_rows(self, query: RowsQuery, caller: Caller) -> RowsReply:
        """Rows of the books that are shown."""
        stop = min(query.stop, query.start + ROWS_MAX)
        return RowsReply(tuple(row.decode() for row in self._shown()[query.start : stop]))


def misrecord(node: Node, falsify: Callable[[Row], Row]) -> None:
    """Let a node write down, from now on, what `falsify` makes of each of its records; its heads are over that."""
    commit = node.host.commit

    def commit_false(writes: Sequence[Write], rows: Sequence[Row] = ()) -> None:
        commit(writes, [falsify(row) for row in rows])

    setattr(node.host, "commit", commit_false)  # noqa: B010


class FalsifyingTaxOffice(SecondBooks, TaxOffice):
    """A tax office whose administrator can show other books."""


class FalsifyingAllowanceOffice(SecondBooks, ChildAllowanceOffice):
    """An allowance office whose administrator can show other books."""
