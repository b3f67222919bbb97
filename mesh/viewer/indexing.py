"""Reads a whole trace once and gives, in chunks, what the viewer finds things by.

Rules kept here:
1. Chunks come in the order of sending, so that what was read so far can be used at once; the ledgers follow.
2. An exchange is named by the first transmission of its request or push. A permit, a repeat and every answer
   belong to the exchange whose digest they name; what names none is an exchange of its own.
3. Nothing is judged here: an index says where things stand, and the bytes say what they are.
4. Where the trace is damaged the reading ends, with what was found up to there.

For a large trace it is a process of its own, `python -m mesh.viewer.indexing FILE`, so that the server answers
meanwhile: each chunk goes to stdout as four bytes of length and MessagePack.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from mesh import base64url
from mesh.errors import MeshError, UsageError
from mesh.message import Kind
from mesh.names import BROKER
from mesh.recorder import Fate
from mesh.trace.opening import Damage
from mesh.trace.perspective import Keys
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.viewer.chunks import COLUMNS, NAMED, Chunk, Columns, Names, new_columns, pieces, to_bytes
from mesh.viewer.ledger_index import LedgerIndexing

CHUNK: Final = 16_384
"""Transmissions in a chunk."""
RECENT_MAX: Final = 2**17
"""Messages remembered for their next transmission; one that comes later is read again."""
PERCENTILES: Final = (50, 90, 95, 99)

_TRANSMISSIONS: Final = (
    "SELECT number, sent_us, arrived_us, sender, recipient, message, ifnull(permit, 0), fate, ifnull(code, '')"
    " FROM transmission WHERE number >= ? ORDER BY number LIMIT ?"
)
_MESSAGES: Final = (
    "SELECT number, digest, kind, ifnull(id, ''), ifnull(service, ''), ifnull(code, ''), line FROM message"
    " WHERE number >= ? ORDER BY number LIMIT ?"
)


class _Payload(Struct, gc=False):
    """What a message or permit is tied to others by."""

    requestdigest: str | None = None
    subject: str | None = None
    procedure: str | None = None
    source: str | None = None


class _Known(Struct, gc=False):
    """What is remembered of a message that was read."""

    kind: str
    id: str
    service: int
    procedure: int
    code: int
    asks: bytes
    """The digest of the request or push that it is or belongs to; empty if it names none."""
    subject: str | None
    """A permit's; of what else has one it is sealed."""
    exchange: int = -1
    """The first transmission of its exchange; -1 before there was one."""


_payload = msgspec.json.Decoder(_Payload).decode
_UNREADABLE: Final = (MeshError, msgspec.MsgspecError, ValueError, TypeError, IndexError, RecursionError)
_BROKEN: Final = (Damage, OverflowError, TypeError, ValueError, KeyError)
"""What a row gives that no run writes."""


def chunks(trace: Trace) -> Iterator[Chunk]:
    """Everything that an index holds, in the order in which it is found."""
    indexing = _Indexing(trace)
    try:
        yield from indexing.run()
    except Damage as damage:
        yield Chunk(1.0, note=str(damage))
    except _BROKEN:
        # What the file holds has types or numbers that no run writes.
        yield Chunk(1.0, note=f"{trace.path.name} is damaged; what follows is left out")
    finally:
        indexing.close()


class _Indexing:
    """One reading of one trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._names = {column: Names(COLUMNS[column]) for column in NAMED}
        self._messages = pieces(trace, _MESSAGES)
        self._known: dict[int, _Known] = {}
        self._exchanges: dict[bytes, int] = {}
        self._person_of = {code: handle for handle, _, code in trace.residents()}
        self._about: dict[str, list[int]] = {}
        self._placed: dict[int, str] = {}
        """Exchange → whom it is about."""
        self._unplaced: dict[int, int] = {}
        """Exchange → its message, whose sealed subject says whom it is about."""
        self._latencies: dict[int, array[int]] = {}
        self._asked: dict[int, tuple[int, int, int]] = {}
        """Exchange that is not answered yet → requester, time of sending, service."""
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._pushes: dict[str, None] = {}

    def run(self) -> Iterator[Chunk]:
        """The transmissions, whom they are about, the ledgers, and what came of it all."""
        transmissions = count(self._trace, "transmission")
        total = transmissions + count(self._trace, "ledger") + 1
        done = 0
        for chunk in self._transmissions():
            done += len(chunk.columns["kind"])
            chunk.share = done / total
            yield chunk
        self._open_subjects()
        yield Chunk(done / total, about=self._take_about())
        ledgers = LedgerIndexing(self._trace, self._exchanges, self._pushes)
        for chunk in ledgers.run():
            done += len(chunk.ledger.get("number", b"")) // 4
            chunk.share = done / total
            yield chunk
        yield Chunk(1.0, summary=self._summary() | ledgers.summary())

    def close(self) -> None:
        """Let go of the statement that reads the messages."""
        self._messages.close()

    def _transmissions(self) -> Iterator[Chunk]:
        columns, ids = new_columns(COLUMNS), list[str]()
        broken: Exception | None = None
        try:
            for _ in self._rows(columns, ids):
                yield self._chunk(columns, ids)
                for column in columns.values():
                    del column[:]
                ids.clear()
        except _BROKEN as error:
            # What was read of the rows before still counts.
            broken, whole = error, min(len(ids), *map(len, columns.values()))
            for column in columns.values():
                del column[whole:]
            del ids[whole:]
        yield self._chunk(columns, ids)
        if broken is not None:
            try:
                raise broken
            finally:
                del broken  # The error knows this frame: kept, the two would hold statements open.

    def _rows(self, columns: Columns, ids: list[str]) -> Iterator[None]:
        """Put transmissions into the columns; yields when they make a chunk."""
        refused_of, fate_of, kind_of = (self._names[one].number for one in ("refused", "fate", "kind"))
        for row in pieces(self._trace, _TRANSMISSIONS):
            number, sent_us, arrived_us, sender, recipient, message, permit, fate, code = row
            known = self._message(message)
            exchange = self._exchange(known, number, message)
            procedure = known.procedure
            if permit:
                permitted = self._message(permit)
                procedure = procedure or permitted.procedure
                self._place(self._person_of.get(permitted.subject or ""), exchange)
            values = (
                number, sent_us, sender, recipient, exchange, known.service, procedure, kind_of(known.kind),
                known.code, refused_of(code), fate_of(fate),
            )  # fmt: skip
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            ids.append(known.id)
            if fate == Fate.DELIVERED and not code:
                self._answered(exchange, recipient, arrived_us, known)
            if exchange == number and known.kind in ASKS:
                self._asked[exchange] = (sender, sent_us, known.service)
            if len(ids) >= CHUNK:
                yield None

    def _chunk(self, columns: Columns, ids: list[str]) -> Chunk:
        return Chunk(
            columns=to_bytes(columns),
            ids="\n".join(ids).lower(),
            names={column: names.take() for column, names in self._names.items()},
            about=self._take_about(),
        )

    def _take_about(self) -> dict[str, list[int]]:
        about, self._about = self._about, {}
        return about

    # Messages and their exchanges.

    def _message(self, number: int) -> _Known:
        known = self._known.get(number)
        if known is not None:
            return known
        # Messages are numbered as they are first sent, so that the wanted one is mostly the next.
        for row in self._messages:
            self._known[row[0]] = known = self._read(row)
            if len(self._known) > RECENT_MAX:
                del self._known[next(iter(self._known))]
            if row[0] >= number:
                break
        if number not in self._known:
            (row,) = self._trace.rows(_MESSAGES, number, 1)
            if row[0] != number:
                raise KeyError(number)
            self._known[number] = self._read(row)
        return self._known[number]

    def _read(self, row: tuple[Any, ...]) -> _Known:
        _, digest, kind, id_, service, code, line = row
        payload = _read_payload(line)
        asks = b""
        if kind in ASKS:
            asks = digest
            if kind != Kind.REQUEST:
                self._pushes[service] = None
        elif kind in ANSWERS or kind == Kind.PERMIT:
            asks = hex_bytes(payload.requestdigest)
        if kind == Kind.REFUSAL:
            self._refusals[service, code] += 1
        names = self._names
        return _Known(
            kind,
            id_.replace("\n", " "),
            names["service"].number(service),
            names["procedure"].number(payload.procedure or ""),
            names["code"].number(code),
            asks,
            payload.subject,
        )

    def _exchange(self, known: _Known, number: int, message: int) -> int:
        if known.exchange < 0:
            known.exchange = self._exchanges.get(known.asks, number)
            if known.exchange == number and known.kind in ASKS:
                self._exchanges[known.asks] = number
                self._unplaced[number] = message
        return known.exchange

    # Whom an exchange is about.

    def _place(self, person: str | None, exchange: int) -> None:
        if person is None or self._placed.get(exchange) == person:
            return
        self._placed[exchange] = person
        self._unplaced.pop(exchange, None)
        self._about.setdefault(person, []).append(exchange)

    def _open_subjects(self) -> None:
        """Of what the broker never permitted, the sealed subject says whom it is about."""
        keys = Keys(self._trace)
        for exchange, number in list(self._unplaced.items()):
            payload = _read_payload(self._trace.message(number).line)
            if payload.subject is None:
                continue
            try:
                code = keys.open(payload.subject, BROKER, payload.source or "")
            except _UNREADABLE:
                continue
            self._place(self._person_of.get(code) if isinstance(code, str) else None, exchange)

    # How long it took.

    def _answered(self, exchange: int, recipient: int, arrived_us: int, known: _Known) -> None:
        """An exchange took from the first sending of its request to the first answer that its requester has."""
        asked = self._asked.get(exchange)
        if asked is None or asked[0] != recipient or known.kind not in ANSWERS:
            return
        del self._asked[exchange]
        self._latencies.setdefault(asked[2], array("q")).append(arrived_us - asked[1])

    def _summary(self) -> dict[str, Any]:
        services = self._names["service"].all
        latencies = [
            {"service": services[number]} | percentiles(sorted(values))
            for number, values in self._latencies.items()
        ]
        return {
            "latencies": sorted(latencies, key=lambda one: one["service"]),
            "refusals": [
                {"service": service, "code": code, "count": times}
                for (service, code), times in sorted(self._refusals.items())
            ],
        }


def percentiles(values: list[int]) -> dict[str, int]:
    """Of sorted µs: how many, the nearest-rank percentiles, and the longest."""
    found = {f"p{part}_us": values[-(-len(values) * part // 100) - 1] for part in PERCENTILES}
    return {"count": len(values)} | found | {"max_us": values[-1]}


def count(trace: Trace, table: str) -> int:
    """How many rows a table has by its last number; counting them would read all of a large file."""
    # Two statements: asked for both at once, SQLite would go through the whole table.
    ((last,),) = trace.rows(f"SELECT ifnull(max(number), -1) FROM {table}")  # noqa: S608
    ((first,),) = trace.rows(f"SELECT ifnull(min(number), 0) FROM {table}")  # noqa: S608
    return int(last) - int(first) + 1


def hex_bytes(text: str | None) -> bytes:
    """The bytes of hexadecimal text; none of what is no such text."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b""


def _read_payload(line: bytes) -> _Payload:
    try:
        return _payload(base64url.decode(line.split(b".", 2)[1]))
    except _UNREADABLE:
        return _Payload()


def main(path: str) -> int:
    """Write the chunks of a trace to stdout."""
    encode, write = msgspec.msgpack.Encoder().encode, sys.stdout.buffer.write
    try:
        with Trace.open(Path(path)) as trace:
            for chunk in chunks(trace):
                data = encode(chunk)
                write(len(data).to_bytes(4, "big") + data)
                sys.stdout.buffer.flush()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
