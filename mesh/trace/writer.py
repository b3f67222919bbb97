"""Records a run into a trace file, by batches, so that equal runs make equal bytes.

Rules kept here:
1. Rows are committed by count, never by time; the file's header fields that count writes or name the
   SQLite version are set to constants on a clean close, as sqlite.org/fileformat.html section 1.3 places
   them.
2. Never plaintext: a line is kept as it went over the wire.
3. A file under way has `complete` = 0; it is readable at every commit, and verifies: the registry as it stands, and
   which transmissions are still under way, are committed with the rest. Its journal lies beside it all the time, which
   tells readers that it is still being written.
4. What was recorded under the same name before is kept aside until the new recording holds something, and comes back
   if the run is refused.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from mesh.bulk import insert_rows
from mesh.errors import MeshError, UsageError
from mesh.exchange import digest_of
from mesh.keys import SealingKey
from mesh.message import Kind
from mesh.message import Refusal as RefusalMessage
from mesh.party import Admitted, read_line
from mesh.recorder import Passage
from mesh.refusals import Refusal
from mesh.story import Sentence
from mesh.trace.claim import Claim
from mesh.trace.columns import index_of
from mesh.trace.former import Former
from mesh.trace.keyring import Keys
from mesh.trace.rows import Expectation
from mesh.trace.schema import (
    APPLICATION_ID,
    COMMIT_EVERY,
    FORMAT,
    NOT_TRIED,
    PAGE_SIZE,
    SCHEMA,
    sealing_keys_in,
)
from mesh.trace.tied import tied

# sqlite3 looks for an adapter for None, as it does for bytes; empty values become NULL in SQLite instead.
_MESSAGE = "(?, ?, ?, NULLIF(?, ''), NULLIF(?, ''), NULLIF(?, ''), ?)"
_TRANSMISSION = "(?, ?, ?, ?, ?, ?, NULLIF(?, 0), ?, NULLIF(?, ''), NULLIF(?, 0))"
_LEDGER = "(?, ?, ?, ?)"
_GATHERED = 128 * _TRANSMISSION.count("?")
"""Cells of transmissions at which the rows that wait are inserted."""
CACHE_KIB = 4096
"""Pages in memory: twice what a batch writes. More would be fresh memory for each page, which nobody reads again."""
_NEWLINE = 0x0A
"""As a number: asking `in` with bytes makes CPython raise and drop an error first."""
RECENT_MAX = 2**17
"""Digests remembered to keep a message once; far more than are under way at a time."""


class RegistryRows(Protocol):
    """What a writer keeps of a registry."""

    def rows(self) -> list[tuple[int, str, bytes]]:
        """Position, address and bytes of every entry."""

    def head(self) -> bytes:
        """The newest head."""

    def unkept(self) -> tuple[list[tuple[int, str, bytes]], bytes]:
        """The rows that are new since the last call, and a head over all."""


class TraceWriter:
    """Writes one trace; without a path it is kept in memory and can be asked, but not kept."""

    def __init__(self, path: Path | None, **meta: Any) -> None:
        self.path = path
        self._claim: Claim | None = None
        self._former: Former | None = None
        self.db = self._create(path)
        self._parties: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._older: dict[str, int] = {}
        # The cells of rows that wait, one after another: that is how they are bound.
        self._messages: list[Any] = []
        self._transmissions: list[Any] = []
        self._ledger: list[Any] = []
        self._message_count = 0
        self._ledger_count = 0
        self._sent = 0
        self._committed = 0
        self.expectations: list[Expectation] = []
        self.on_commit: Callable[[], None] | None = None
        """Called after every batch; a progress display hangs on it."""
        self.before_commit: Callable[[], None] | None = None
        """Called before every batch is committed: for what must be with it, that messages can be verified."""
        try:
            self.meta(format=FORMAT, complete=0, **meta)
            self.db.execute("COMMIT")
            self._begin()
        except sqlite3.Error as error:
            self.discard()
            raise _unwritable(path, error) from None

    def _create(self, path: Path | None) -> sqlite3.Connection:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._claim = Claim(path)
                self._former = Former(path)
            db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
            db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            db.execute("PRAGMA encoding = 'UTF-8'")
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = OFF")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("BEGIN")
            for statement in SCHEMA.split(";"):
                db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            if self._former is not None:
                self._former.restore()
            self._release()
            raise _unwritable(path, error) from None
        return db

    def _release(self) -> None:
        """Let others record under the name."""
        if self._claim is not None:
            self._claim.release()

    def meta(self, **values: Any) -> None:
        """Keep facts about the run: scenario, seed, settings, start."""
        self._keep("meta", values)

    def epilogue(self, **values: Any) -> None:
        """Keep what the run says of itself at its end. It stands apart, so that a file cut short still has its facts."""
        self._keep("epilogue", values)

    def _keep(self, table: str, values: dict[str, Any]) -> None:
        rows = [
            (key, value if isinstance(value, str) else json.dumps(value)) for key, value in values.items()
        ]
        self.db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)  # noqa: S608

    # The recorder's part.

    def sent(self) -> int:
        """A transmission begins; returns its index, counted from 0."""
        self._sent += 1
        return self._sent - 1

    def transmission(
        self,
        index: int,
        sent_us: int,
        arrived_us: int,
        sender: str,
        recipient: str,
        line: bytes,
        fate: str,
        passage: Passage,
    ) -> None:
        """Keep a transmission, its message and its permit.

        What the gate has read and hashed is taken from it; only what it could not read is read here.
        """
        admitted, permit_digest = passage.admitted, passage.permit_digest
        parties, numbers = self._parties, self._numbers
        message = numbers.get(admitted.digest) if admitted is not None else None
        permit = numbers.get(permit_digest) if permit_digest is not None else None
        if message is None or (permit is None and _NEWLINE in line):
            head, two, permit_line = line.partition(b"\n")
            message = message or self._message(head, admitted)
            permit = permit or (self._permit(permit_line, passage) if two else None)
        self._transmissions += (
            index,
            sent_us,
            arrived_us,
            parties.get(sender) or self._party(sender),
            parties.get(recipient) or self._party(recipient),
            message,
            permit or 0,
            fate,
            passage.code or "",
            passage.gate,
        )
        if len(self._transmissions) >= _GATHERED:
            self._insert()
            if self._sent - self._committed >= COMMIT_EVERY:
                self.commit()

    def ledger_rows(self, party: str, position: int, rows: Sequence[bytearray]) -> None:
        """Keep rows of a party's ledger."""
        number = self._parties.get(party) or self._party(party)
        cells = self._ledger
        count = self._ledger_count
        for offset, row in enumerate(rows):
            cells += (count + 1 + offset, number, position + offset, row)
        self._ledger_count += len(rows)

    def tree_head(self, party: str, token: bytes) -> None:
        """Keep a signed head of a party's ledger."""
        number = self._parties.get(party) or self._party(party)
        self.db.execute("INSERT INTO head(party, token) VALUES (?, ?)", (number, token))

    def _party(self, address: str) -> int:
        number = len(self._parties) + 1
        self._parties[address] = number
        self.db.execute("INSERT INTO party VALUES (?, ?)", (number, address))
        return number

    def _message(self, line: bytes, admitted: Admitted | None) -> int:
        if admitted is None:
            digest = digest_of(line)
            known = self._numbers.get(digest) or self._older.get(digest)
            if known is not None:
                return known
            kind, message_id, service, code = index_of(line)
            return self._new_message(line, digest, (kind, message_id or "", service or "", code or ""))
        if admitted.digest in self._older:
            return self._older[admitted.digest]
        message = admitted.message
        code = message.code if admitted.kind == Kind.REFUSAL else ""
        return self._new_message(line, admitted.digest, (admitted.kind, message.id, message.type, code))

    def _permit(self, line: bytes, passage: Passage) -> int:
        if passage.admitted is None or passage.permit_digest is None or passage.code is not None:
            return self._message(line, None)
        # Both lines passed the gate, so the permit names the service of the message beside it.
        return self._new_message(
            line, passage.permit_digest, (Kind.PERMIT, "", passage.admitted.message.type, "")
        )

    def _new_message(self, line: bytes, digest: str, index: tuple[str, str, str, str]) -> int:
        self._message_count = number = self._message_count + 1
        if len(self._numbers) >= RECENT_MAX:
            # Two generations: taking single entries from a dict's front gets slower with every one.
            self._older, self._numbers = self._numbers, {}
        self._numbers[digest] = number
        # sqlite3 binds a bytearray as it is, but looks for an adapter for every bytes object.
        self._messages += (number, bytearray.fromhex(digest), *index, bytearray(line))
        return number

    # What the simulation adds.

    def handle(self, handle: str, member: str, code: str) -> None:
        """Keep which resident a member's code means; in simulation only."""
        self.db.execute("INSERT OR IGNORE INTO resident VALUES (?, ?, ?)", (handle, member, code))

    def expectation(self, expectation: Expectation) -> None:
        """Keep an expectation and whether it held."""
        self.expectations.append(expectation)
        self.db.execute(
            "INSERT INTO expectation(text, text_ja, held, message, after) VALUES (?, ?, ?, ?, ?)",
            (
                expectation.text,
                expectation.text_ja,
                int(expectation.held) if expectation.tried else NOT_TRIED,
                expectation.message,
                expectation.after,
            ),
        )

    def sentence(self, sentence: Sentence) -> None:
        """Keep a sentence of the story, with the messages that it owns."""
        self.db.execute(
            "INSERT INTO story(text, text_ja, messages) VALUES (?, ?, ?)",
            (sentence.text, sentence.text_ja, json.dumps(sentence.messages)),
        )

    def keep_sealing_keys(self, address: str, keys: Sequence[SealingKey]) -> None:
        """Keep every sealing key that a simulated node had, so that its perspective can be opened."""
        raw = b"".join(key.key.private_bytes_raw() for key in keys)
        self.db.execute("INSERT OR REPLACE INTO sealing_key VALUES (?, ?)", (address, raw))

    def sealing_keys(self, address: str) -> tuple[bytes, ...]:
        """Every private sealing key that a simulated node had, 32 bytes each; none before the run's end."""
        found = self.db.execute("SELECT key FROM sealing_key WHERE address = ?", (address,)).fetchone()
        return () if found is None else sealing_keys_in(found[0])

    def registry(self, registry: RegistryRows, root_der: bytes) -> None:
        """Keep every entry, the head over them and the root certificate."""
        self._keep_registry(registry.rows(), registry.head(), root_der)

    def under_way(self, registry: RegistryRows, root_der: bytes, transmissions: Sequence[int]) -> None:
        """Keep what the registry has become, and which transmissions have not arrived, as of the commit that follows."""
        self._keep_registry(*registry.unkept(), root_der)
        self.meta(under_way=list(transmissions))

    def _keep_registry(self, rows: list[tuple[int, str, bytes]], head: bytes, root_der: bytes) -> None:
        self.db.executemany("INSERT OR REPLACE INTO registry_entry VALUES (?, ?, ?)", rows)
        self.db.execute("INSERT OR REPLACE INTO registry_head VALUES (1, ?)", (head,))
        self.meta(root=root_der.hex())

    # Batches and the end.

    def _insert(self) -> None:
        """Hand over what has gathered, while the processor's cache still holds it."""
        db = self.db
        insert_rows(db, "message", _MESSAGE, self._messages)
        insert_rows(db, "transmission", _TRANSMISSION, self._transmissions)
        insert_rows(db, "ledger", _LEDGER, self._ledger)
        self._messages.clear()
        self._transmissions.clear()
        self._ledger.clear()

    def commit(self) -> None:
        """Make durable what has gathered."""
        self._insert()
        self._committed = self._sent
        if self.before_commit is not None:
            self.before_commit()
        self.db.execute("COMMIT")
        self._begin()
        if self._former is not None and self._sent >= COMMIT_EVERY:
            self._former.forget()
            self._former = None
        if self.on_commit is not None:
            self.on_commit()

    def _begin(self) -> None:
        self.db.execute("BEGIN")
        # The first write makes the journal; without it a reader would take the run for one that was interrupted.
        # (What would not change a byte would not be written.)
        self.db.execute("DELETE FROM meta WHERE key = 'complete'")
        self.meta(complete=0)

    def refusals(self) -> dict[str, int]:
        """How many distinct refusals were made, by code."""
        self.commit()
        rows = self.db.execute(
            "SELECT code, count(*) FROM message WHERE kind = 'refusal' GROUP BY code ORDER BY code"
        )
        return dict(rows)

    def refusals_by_service(self) -> list[tuple[str, str, int]]:
        """How many distinct refusals were made: service, code, number."""
        self.commit()
        return self.db.execute(
            "SELECT service, code, count(*) FROM message WHERE kind = 'refusal' AND service IS NOT NULL "
            "GROUP BY service, code ORDER BY service, code"
        ).fetchall()

    def refused(self) -> Iterator[Refusal]:
        """Every distinct refusal, by the transmission that carried it first; opened, where its seal has a key here."""
        self.commit()
        keys = Keys(self)
        sql = (
            "SELECT min(t.number), m.line FROM message m JOIN transmission t ON t.message = m.number"
            " WHERE m.kind = 'refusal' GROUP BY m.number ORDER BY 1"
        )
        found = self.db.execute(sql).fetchall()
        pushes: set[str] = set()
        if found:
            kinds = "SELECT digest FROM message WHERE kind IN ('event', 'notice')"
            pushes.update(bytes(digest).hex() for (digest,) in self.db.execute(kinds))
        for index, line in found:
            refusal = _read_refusal(line)
            if refusal is not None:
                reason = keys.reason(refusal)
                yield Refusal(
                    index,
                    refusal.type,
                    refusal.code if reason is None else reason.name,
                    refusal.data.text if reason is None else reason.text,
                    by=refusal.source,
                    to=refusal.recipient,
                    push=refusal.requestdigest in pushes,
                )

    def about(self, ids: Sequence[str]) -> list[int]:
        """The transmissions of messages with these ids, and of what answers them, in the order of sending."""
        self.commit()
        sql = "SELECT number, digest FROM message WHERE id IN (SELECT value FROM json_each(?))"
        mine = {bytes(digest).hex(): number for number, digest in self.db.execute(sql, (json.dumps(ids),))}
        answers = "SELECT number, line FROM message WHERE kind IN ('reply', 'refusal', 'receipt')"
        numbers = list(mine.values()) + [
            number for number, line in self.db.execute(answers) if tied(line).requestdigest in mine
        ]
        sql = "SELECT number FROM transmission WHERE message IN (SELECT value FROM json_each(?)) ORDER BY number"
        return [number for (number,) in self.db.execute(sql, (json.dumps(numbers),))]

    def ledgers(self) -> Iterator[tuple[str, bytes]]:
        """Every party's ledger rows, each with its party, in the order in which they were committed."""
        self.commit()
        return self.db.execute(
            "SELECT p.address, l.row FROM ledger l JOIN party p ON p.number = l.party ORDER BY l.number"
        )

    @property
    def ledger_size(self) -> int:
        """How many ledger rows all parties have committed."""
        return self._ledger_count

    @property
    def parties(self) -> tuple[str, ...]:
        """The addresses that sent, were sent to, or keep a ledger, in the order of their first appearance."""
        return tuple(self._parties)

    @property
    def transmissions(self) -> int:
        """How many transmissions began."""
        return self._sent

    def close(self, *, complete: bool = True, refused: bool = False) -> None:
        """Finish the file: `complete` is False for a run that was interrupted, which keeps nothing if it sent nothing.

        A run that was `refused` leaves no file, and what was recorded before under its name.
        """
        self.meta(complete=int(complete))
        self.db.execute("DELETE FROM meta WHERE key = 'under_way'")
        self._insert()
        self.db.execute("COMMIT")
        self.db.close()
        if self.path is None:
            return
        former = self._former
        if refused and former is None:
            self.path.unlink(missing_ok=True)
        elif former is not None and (refused or (former.exists and not complete and not self._sent)):
            former.restore()
        else:
            _settle_header(self.path)
            if former is not None:
                former.forget()
        self._release()

    def discard(self) -> None:
        """Leave no file, and what was recorded before under its name if that is still there."""
        self.db.close()
        if self._former is not None:
            self._former.restore()
        elif self.path is not None:
            for file in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                file.unlink(missing_ok=True)
        self._release()


def _read_refusal(line: bytes) -> RefusalMessage | None:
    """A refusal from its line; None for bytes that only call themselves one."""
    try:
        message = read_line(line)
    except MeshError:
        return None
    return message if isinstance(message, RefusalMessage) else None


def _unwritable(path: Path | None, error: Exception) -> UsageError:
    said = error.strerror if isinstance(error, OSError) else error
    return UsageError(f"cannot write the trace {path}: {said}; name a file in a writable folder with room")


def _settle_header(path: Path) -> None:
    """Set the change counter, and the version that wrote, to constants: else equal runs differ there."""
    with path.open("r+b") as file:
        file.seek(24)
        file.write((1).to_bytes(4, "big"))
        file.seek(92)
        file.write((1).to_bytes(4, "big") + (3_040_000).to_bytes(4, "big"))
