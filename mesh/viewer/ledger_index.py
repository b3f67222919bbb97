"""The second part of the reading of a trace: every party's ledger, by exchange, and hashes for its proofs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from mesh.merkle import Tree, leaf_hash
from mesh.names import BROKER
from mesh.trace.reader import Trace
from mesh.viewer.chunks import BLOCK, LEDGER_COLUMNS, NONE, Chunk, new_columns, pieces, to_bytes

CHUNK: Final = 16_384
"""Ledger rows in a chunk."""
_LEDGER: Final = "SELECT number, party, row FROM ledger WHERE number >= ? ORDER BY number LIMIT ?"
_ASKED: Final = (
    "SELECT id, digest FROM message WHERE kind IN ('request', 'event', 'notice')"
    " AND id IN (SELECT value FROM json_each(?))"
)


class _Row(Struct, gc=False):
    """What a ledger row is tied to its exchange by, and what it disclosed."""

    entry: str
    id: str
    requester: str
    provider: str | None = None
    service: str | None = None
    items: str | None = None
    requestdigest: str | None = None
    code: str | None = None
    undisclosed: bool = False


_row = msgspec.json.Decoder(_Row).decode


class LedgerIndexing:
    """One reading of all ledgers. `exchanges` maps a request's digest to its first transmission."""

    def __init__(self, trace: Trace, exchanges: dict[bytes, int], pushes: Container[str]) -> None:
        self._trace = trace
        self._exchanges = exchanges
        self._pushes = pushes
        self._broker = next((number for number, address in trace.parties.items() if address == BROKER), 0)
        self._trees: dict[int, Tree] = {}
        self._marks: dict[int, tuple[int, str]] = {}
        """Place in the columns → party and message id: a mark names no digest."""
        self._disclosed: dict[str, Counter[str]] = {}
        self._answers: Counter[str] = Counter()

    def run(self) -> Iterator[Chunk]:
        """The rows in chunks, then the marks that hide an exchange later."""
        columns, chunk = new_columns(LEDGER_COLUMNS), Chunk()
        for place, (number, party, data) in enumerate(pieces(self._trace, _LEDGER)):
            columns["number"].append(number)
            columns["party"].append(party)
            columns["exchange"].append(self._exchange(place, party, data, chunk))
            self._leaf(party, data, chunk)
            if place % CHUNK == CHUNK - 1:
                chunk.ledger = to_bytes(columns)
                yield chunk
                columns, chunk = new_columns(LEDGER_COLUMNS), Chunk()
        chunk.ledger = to_bytes(columns)
        yield chunk
        if self._marks:
            yield self._marked()

    def _exchange(self, place: int, party: int, data: bytes, chunk: Chunk) -> int:
        try:
            row = _row(data)
            exchange = self._exchanges.get(bytes.fromhex(row.requestdigest or ""), NONE)
        except (msgspec.MsgspecError, ValueError, TypeError):
            return NONE
        if row.entry == "mark":
            self._marks[place] = (party, row.id)
        if party == self._broker and exchange != NONE:
            if row.entry == "permitted":
                chunk.permitted.append(exchange)
            if row.undisclosed:
                chunk.hidden.append(exchange)
        if row.entry == "answered" and row.code is None:
            self._count(row)
        return exchange

    def _count(self, row: _Row) -> None:
        """What an answer disclosed went to who asked; what was pushed came to who took it."""
        self._answers[row.service or ""] += 1
        if row.items:
            to = row.provider if row.service in self._pushes else row.requester
            self._disclosed.setdefault(to or "", Counter()).update(row.items.split())

    def _leaf(self, party: int, data: bytes, chunk: Chunk) -> None:
        tree = self._trees.setdefault(party, Tree())
        tree.append(leaf_hash(data))
        if tree.size == BLOCK:
            chunk.blocks[party] = chunk.blocks.get(party, b"") + tree.root()
            self._trees[party] = Tree()

    def _marked(self) -> Chunk:
        ids = json.dumps(sorted({id_ for _, id_ in self._marks.values()}))
        exchange_of = {
            id_: self._exchanges.get(digest, NONE) for id_, digest in self._trace.rows(_ASKED, ids)
        }
        marks = {place: exchange_of.get(id_, NONE) for place, (_, id_) in self._marks.items()}
        hidden = [marks[place] for place, (party, _) in self._marks.items() if party == self._broker]
        return Chunk(marks=marks, hidden=hidden)

    def summary(self) -> dict[str, Any]:
        """What was disclosed to whom, and how often each service was answered."""
        return {
            "disclosed": [
                {"to": to, "items": list(items), "answers": dict(items)}
                for to, items in sorted(self._disclosed.items())
            ],
            "answers": dict(sorted(self._answers.items())),
        }
