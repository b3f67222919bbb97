"""An exchange as a plain loop: the least that its documents cost, for `bench` to hold the mesh against.

It makes the same documents as a mesh does, with the same seals, signatures, ledger rows and trace rows, for as many
exchanges at a time. It has no loop of events, no addresses, no law, no checks beyond the signatures, and no answer for
anything that goes wrong. What a mesh costs above this is the price of being one.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from mesh import jws
from mesh.exchange import digest_of
from mesh.keys import NodeKeys, SigningKey
from mesh.ledger import Ledger, Row, row_bytes
from mesh.message import Kind, Permit, Reply, Request, encode, format_time
from mesh.names import BROKER
from mesh.sealing import Channel, decrypt, read_header, split
from mesh.store import Store
from mesh.trace.schema import PAGE_SIZE, SCHEMA

DESK: Final = "muni/00001/desk"
TAX: Final = "muni/00002/tax"
ITEMS: Final = "assessed_on income_yen taxable"
SERVICE: Final = "bench.income.v1"
_CODE: Final = "muni/00000:" + "c" * 43
"""Of the length of a linkage code."""
COMMIT_EVERY: Final = 250
"""Exchanges between two commits of the trace; a mesh makes four transmissions of each."""

_decode: Final = {kind: msgspec.json.Decoder(kind).decode for kind in (Request, Permit, Reply)}


class _Party:
    """Keys, database and ledger of one of the three, and the ciphers that it has derived."""

    def __init__(self, address: str) -> None:
        self.keys = NodeKeys.derived(b"plain loop", address)
        self.store = Store(schema="CREATE TABLE income(person TEXT PRIMARY KEY, yen INTEGER NOT NULL)")
        self.ledger = Ledger(address)
        self.rows: list[bytearray] = []
        self.outcomes: list[tuple[str, tuple[Any, ...]]] = []
        self._ciphers: dict[bytes, Any] = {}

    def read(self, line: bytes, signer: SigningKey, kind: Any) -> Any:
        """A document, its signature verified."""
        token = jws.parse(line)
        signer.public.verify(token.signature, token.signing_input)
        return _decode[kind](token.payload)

    def unseal(self, seal: str) -> bytes:
        parts = split(seal)
        if parts[0] not in self._ciphers:
            self._ciphers[parts[0]] = read_header(parts[0], self.keys.sealing)[2]
        return decrypt(self._ciphers[parts[0]], parts)

    def commit(self) -> list[bytearray]:
        """Commit what waits; returns the rows."""
        rows, self.rows = self.rows, []
        if rows:
            self.store.commit(self.outcomes, rows, self.ledger.size)
            self.ledger.extend(rows)
            self.outcomes.clear()
        return rows


class _Exchange(Struct):
    """One exchange under way."""

    id: str
    now_us: int
    request: bytes = b""
    permit: bytes = b""
    reply: bytes = b""


class PlainLoop:
    """Makes exchanges, `in_flight` at a time, hop by hop as they travel; its trace is a file in the folder."""

    def __init__(self, folder: Path, in_flight: int) -> None:
        self.in_flight = in_flight
        self._made = self._rows = self._lines = 0
        self.last = _Exchange("", 0)
        """The exchange made last."""
        self._parties = self._desk, self._broker, self._tax = [
            _Party(address) for address in (DESK, BROKER, TAX)
        ]
        self._tax.store.db.execute("INSERT INTO income VALUES ('person', 4200000)")
        self._to_broker = self._channel(self._desk, self._broker)
        self._to_tax = self._channel(self._desk, self._tax)
        self._to_desk = self._channel(self._tax, self._desk)
        self._trace = sqlite3.connect(folder / "plain.trace", isolation_level=None)
        for statement in (
            f"PRAGMA page_size = {PAGE_SIZE}",
            "PRAGMA synchronous = OFF",
            *SCHEMA.split(";"),
            "BEGIN",
        ):
            self._trace.execute(statement)
        self.ledger_rows: list[tuple[Any, ...]] = []
        self._messages: list[tuple[Any, ...]] = []
        self._transmissions: list[tuple[Any, ...]] = []

    def _channel(self, sender: _Party, recipient: _Party) -> Channel:
        ephemeral = NodeKeys.derived(
            b"plain loop, once", sender.ledger.party + recipient.ledger.party
        ).sealing
        to = recipient.keys.sealing.public
        return Channel(ephemeral, to, apu=sender.ledger.party, apv=recipient.ledger.party)

    def run(self, count: int) -> float:
        """Make so many exchanges; the CPU seconds that they took."""
        start = time.process_time()
        for _ in range(0, count, self.in_flight):
            self._make(self.in_flight)
        return time.process_time() - start

    def _make(self, count: int) -> None:
        started = range(self._made, self._made + count)
        exchanges = [
            _Exchange(f"01946d3a-0000-7000-8000-{number:012x}", 10**15 + number) for number in started
        ]
        self._made += count
        for hop in (self._ask, self._permit, self._answer, self._pass_back, self._close):
            for exchange in exchanges:
                hop(exchange)
            for number, party in enumerate(self._parties):
                for row in party.commit():
                    self._rows += 1
                    self.ledger_rows.append((self._rows, number, self._rows, row))
        self.last = exchanges[-1]
        if len(self._transmissions) >= 4 * COMMIT_EVERY:
            self._write_trace()

    def _ask(self, exchange: _Exchange) -> None:
        binding = b'{"id":"%b","source":"%b","recipient":' % (exchange.id.encode(), DESK.encode())
        request = Request(
            specversion="1.0", id=exchange.id, source=DESK, type=SERVICE, time=format_time(exchange.now_us),
            recipient=TAX, datacontenttype="application/jose", procedure="bench", items=ITEMS,
            subject=self._to_broker.seal(b'%b"%b","data":"%b"}' % (binding, BROKER.encode(), _CODE.encode())),
            expiry=format_time(exchange.now_us + 300_000_000),
            data=self._to_tax.seal(b'%b"%b","data":{"tax_year":2025}}' % (binding, TAX.encode())),
        )  # fmt: skip
        exchange.request = jws.sign(encode(request), self._desk.keys.signing, typ=Kind.REQUEST)
        self._record(self._desk, "opened", exchange, requestdigest=digest_of(exchange.request), **_ABOUT)

    def _permit(self, exchange: _Exchange) -> None:
        request = self._broker.read(exchange.request, self._desk.keys.signing, Request)
        digest = digest_of(exchange.request)
        self._broker.unseal(request.subject)
        permit = Permit(
            broker=BROKER, requestdigest=digest, requester=request.source, recipient=request.recipient,
            service=request.type, procedure=request.procedure, items=request.items, basis="added-1", subject=_CODE,
            registry=12, time=request.time, expiry=request.expiry,
        )  # fmt: skip
        exchange.permit = jws.sign(encode(permit), self._broker.keys.signing, typ=Kind.PERMIT)
        digests = {"requestdigest": digest, "permitdigest": digest_of(exchange.permit)}
        self._record(self._broker, "permitted", exchange, **digests, **_ABOUT)
        self._send(exchange, exchange.request, digest, Kind.REQUEST)

    def _answer(self, exchange: _Exchange) -> None:
        # A line carries both, and its recipient takes it apart.
        line, _, permit_line = (exchange.request + b"\n" + exchange.permit).partition(b"\n")
        tax = self._tax
        tax.read(permit_line, self._broker.keys.signing, Permit)
        request = tax.read(line, self._desk.keys.signing, Request)
        digests = {"requestdigest": digest_of(line), "permitdigest": digest_of(permit_line)}
        tax.unseal(request.data)
        yen = tax.store.db.execute("SELECT yen FROM income WHERE person = 'person'").fetchone()["yen"]
        body = b'{"id":"%b","source":"%b","recipient":"%b","data":{"income_yen":%d,"taxable":true,"assessed_on":"2026-06-01"}}'
        reply = Reply(
            specversion="1.0", id=exchange.id, source=TAX, type=SERVICE, time=request.time, recipient=request.source,
            datacontenttype="application/jose", **digests,
            data=self._to_desk.seal(body % (exchange.id.encode(), TAX.encode(), DESK.encode(), yen)),
        )  # fmt: skip
        exchange.reply = jws.sign(encode(reply), tax.keys.signing, typ=Kind.REPLY)
        self._record(tax, "answered", exchange, replydigest=digest_of(exchange.reply), **digests, **_ABOUT)
        kept = bytearray(exchange.reply), exchange.now_us, bytearray(permit_line)
        tax.outcomes.append(("answer", (DESK, exchange.id, digests["requestdigest"], *kept)))
        self._send(exchange, permit_line, digests["permitdigest"], Kind.PERMIT)

    def _pass_back(self, exchange: _Exchange) -> None:
        _, digest = self._take_reply(self._broker, exchange)
        self._send(exchange, exchange.reply, digest, Kind.REPLY)

    def _close(self, exchange: _Exchange) -> None:
        reply, _ = self._take_reply(self._desk, exchange)
        self._desk.unseal(reply.data)
        self._send(exchange)

    def _take_reply(self, party: _Party, exchange: _Exchange) -> tuple[Reply, str]:
        reply: Reply = party.read(exchange.reply, self._tax.keys.signing, Reply)
        digest = digest_of(exchange.reply)
        digests = {"requestdigest": reply.requestdigest, "permitdigest": reply.permitdigest}
        self._record(party, "closed", exchange, replydigest=digest, **digests)
        return reply, digest

    def _record(self, party: _Party, entry: Any, exchange: _Exchange, **values: Any) -> None:
        party.rows.append(row_bytes(Row(entry, exchange.now_us, exchange.id, DESK, **values)))

    def _send(self, exchange: _Exchange, line: bytes = b"", digest: str = "", kind: str = "") -> None:
        """Keep a transmission, and the message that it is the first to bring."""
        at_us, number = exchange.now_us, len(self._transmissions)
        if line:
            self._lines += 1
            self._messages.append(
                (self._lines, bytes.fromhex(digest), kind, exchange.id, SERVICE, None, line)
            )
        self._transmissions.append(
            (None, at_us, at_us, 1, number & 3, self._lines, None, "delivered", None, 1)
        )

    def _write_trace(self) -> None:
        many = self._trace.executemany
        many("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", self._messages)
        many("INSERT INTO transmission VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._transmissions)
        many("INSERT INTO ledger VALUES (?, ?, ?, ?)", self.ledger_rows)
        self._trace.execute("COMMIT")
        self._trace.execute("BEGIN")
        for rows in (self._messages, self._transmissions, self.ledger_rows):
            rows.clear()

    def close(self) -> None:
        """Close the databases."""
        self._trace.close()
        for party in self._parties:
            party.store.close()


_ABOUT: Final = {
    "provider": TAX, "service": SERVICE, "procedure": "bench", "items": ITEMS, "subject": _CODE,
}  # fmt: skip
