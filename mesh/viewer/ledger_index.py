"""The second part of the reading of a trace: every party's ledger, by exchange, and hashes for its proofs."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec import Struct

from mesh.merkle import Tree
from mesh.names import BROKER
from mesh.trace.reader import Trace
from mesh.trace.tied import hex_bytes
from mesh.viewer.chunks import BLOCK, LEDGER_COLUMNS, NONE, Chunk, column, pieces
from mesh.viewer.message_index import Messages

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
    subject: str | None = None


_row = msgspec.json.Decoder(_Row).decode


class LedgerIndexing:
    """One reading of all ledgers; `messages` say which exchange a request's digest is of, `placed` about whom each is."""

    def __init__(self, trace: Trace, messages: Messages, placed: array[int]) -> None:
        self._trace = trace
        self._messages = messages
        self._placed = placed
        self._broker = next((number for number, address in trace.parties.items() if address == BROKER), 0)
        self._entries: dict[int, list[bytes]] = {}
        """Party → its rows since the last full block."""
        self.read = 0
        """Rows."""
        self._marks: dict[int, tuple[int, str]] = {}
        """Place in the columns → party and message id: a mark names no digest."""
        self._given: dict[tuple[str, str, str], tuple[Counter[str], list[int]]] = {}
        """(Who gave, to whom, service) → how often each item, and how many answers."""

    def run(self) -> Iterator[Chunk]:
        """The rows in chunks, then the marks that hide an exchange later."""
        for rows in pieces(self._trace, _LEDGER):
            yield self._chunk(rows)
        if self._marks:
            yield self._marked()

    def _chunk(self, found: list[tuple[Any, ...]]) -> Chunk:
        numbers, parties, rows = zip(*found, strict=True)
        chunk = Chunk()
        columns = (numbers, parties, *self._exchanges(parties, rows, chunk))
        chunk.ledger = {
            name: column(code, values).tobytes()
            for (name, code), values in zip(LEDGER_COLUMNS.items(), columns, strict=True)
        }
        self._hash(parties, rows, chunk)
        return chunk

    def _exchanges(
        self, parties: tuple[int, ...], rows: tuple[bytes, ...], chunk: Chunk
    ) -> tuple[list[int], list[int]]:
        """The exchange of each row, and whom it names; the broker says which were permitted, and which are hidden."""
        found, persons, broker = list[int](), list[int](), self._broker
        asked, first = self._messages.asked, self._messages.first
        for place, (party, data) in enumerate(zip(parties, rows, strict=True), self.read):
            try:
                row = _row(data)
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
                found.append(NONE)
                persons.append(NONE)
                continue
            root = asked.get(hex_bytes(row.requestdigest), 0)
            exchange = first[root]
            found.append(exchange)
            persons.append(NONE if row.subject is None else self._person(row.subject, root))
            if row.entry == "mark":
                self._marks[place] = (party, row.id)
            if party == broker and exchange != NONE:
                if row.entry == "permitted":
                    chunk.permitted.append(exchange)
                if row.undisclosed:
                    chunk.hidden.append(exchange)
            if row.entry == "answered" and row.code is None:
                self._count(row)
        self.read += len(found)
        return found, persons

    def _person(self, code: str, root: int) -> int:
        """Whom a code means: as the trace says, or else as its exchange shows."""
        return self._messages.person_of.get(code) or (self._placed[root] if root < len(self._placed) else 0)

    def _count(self, row: _Row) -> None:
        """What an answer disclosed went to who asked; what was pushed came to who took it."""
        service, giver, to = row.service or "", row.provider or "", row.requester
        if service in self._pushes:
            giver, to = to, giver
        items, answers = self._given.setdefault((giver, to, service), (Counter(), [0]))
        answers[0] += 1
        if row.items:
            items.update(row.items.split())

    @cached_property
    def _pushes(self) -> frozenset[str]:
        return frozenset(self._messages.pushes())

    def _hash(self, parties: tuple[int, ...], rows: tuple[Any, ...], chunk: Chunk) -> None:
        for party, data in zip(parties, rows, strict=True):
            entries = self._entries.setdefault(party, [])
            entries.append(data)
            if len(entries) == BLOCK:
                tree = Tree()
                tree.extend(entries)
                chunk.blocks[party] = chunk.blocks.get(party, b"") + tree.root()
                entries.clear()

    def _marked(self) -> Chunk:
        ids = json.dumps(sorted({id_ for _, id_ in self._marks.values()}))
        exchange_of = {id_: self._messages.exchange(digest) for id_, digest in self._trace.rows(_ASKED, ids)}
        marks = {place: exchange_of.get(id_, NONE) for place, (_, id_) in self._marks.items()}
        hidden = [marks[place] for place, (party, _) in self._marks.items() if party == self._broker]
        return Chunk(marks=marks, hidden=hidden)

    def summary(self) -> dict[str, Any]:
        """Who gave what to whom: giver, receiver, service, answers, and how often each item."""
        return {
            "given": [
                [giver, to, service, answers, dict(items)]
                for (giver, to, service), (items, (answers,)) in sorted(self._given.items())
            ]
        }
