"""Reads a whole trace once and gives, in chunks, what the viewer finds things by.

Rules kept here:
1. Chunks come in the order of sending, so that what was read so far can be used at once; the ledgers follow.
2. An exchange is named by the first transmission of its request or push. A permit, a repeat and every answer
   belong to the exchange whose digest they name; what names none is an exchange of its own.
3. Nothing is judged here: an index says where things stand, and the bytes say what they are.
4. Where the trace is damaged the reading ends, with what was found up to there.
5. Rows are turned into columns, and columns into others, by single calls of C wherever that can be: a million
   transmissions are waited for.

For a large trace it is a process of its own, `python -m mesh.viewer.indexing FILE NAME`, so that the server answers
meanwhile: each chunk goes to stdout as four bytes of length and MessagePack.
"""

from __future__ import annotations

import gc
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import Any, Final

import msgspec

from mesh.errors import UsageError
from mesh.message import Kind
from mesh.names import BROKER
from mesh.recorder import Fate
from mesh.trace.keyring import Keys
from mesh.trace.opening import Damage
from mesh.trace.reader import Trace
from mesh.trace.tied import UNREADABLE, tied
from mesh.viewer import child
from mesh.viewer.chunks import COLUMNS, NAMED, NONE, Chunk, Columns, Names, column, pieces, to_bytes
from mesh.viewer.ledger_index import LedgerIndexing
from mesh.viewer.message_index import Messages

# As blobs, because the reader's way of decoding a text is a call of Python for each.
_TRANSMISSIONS: Final = (
    "SELECT number, sent_us, arrived_us, sender, recipient, message, ifnull(permit, 0),"
    " CAST(ifnull(fate, '') AS BLOB), CAST(ifnull(code, '') AS BLOB)"
    " FROM transmission WHERE number >= ? ORDER BY number LIMIT ?"
)
_WIDTHS: Final = "IqqIIII"
"""Of the columns of numbers above."""
_DELIVERED: Final = Fate.DELIVERED.encode()

Rows = list[tuple[Any, ...]]


def chunks(trace: Trace) -> Iterator[Chunk]:
    """Everything that an index holds, in the order in which it is found."""
    indexing = _Indexing(trace)
    try:
        yield from indexing.run()
    except Damage as damage:
        yield Chunk(1.0, note=f"{damage}; {indexing.reached()}")
    except ValueError:
        # What the file holds has types or numbers that no run writes.
        yield Chunk(1.0, note=f"{trace.name} is damaged; {indexing.reached()}")
    finally:
        indexing.close()


class _Indexing:
    """One reading of one trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._names = {name: Names(COLUMNS[name]) for name in NAMED}
        self._handles = [""]
        self._messages = Messages(trace, self._names, self._codes())
        self._read = 0
        """Transmissions."""
        self._about: dict[str, list[int]] = {}
        self._placed = array("I")
        """Request or push → whom it is about."""
        self._ledgers = LedgerIndexing(trace, self._messages, self._placed)
        self._waits: dict[tuple[int, int], array[int]] = {}
        """(Asker, service) → how long each answered request or push was waited for."""
        self._refused: set[int] = set()
        """Requests that were refused at least once."""
        self._refusal = self._names["kind"][Kind.REFUSAL.encode()]
        self._asker, self._asked_us = array("I"), array("q")
        """Request that is not answered yet → who asked, and when; 0 for nobody."""

    def _codes(self) -> dict[str, int]:
        """Code → number of the resident whom it means."""
        known, handles = dict[str, int](), self._handles
        for handle, _, code in self._trace.residents():
            if handle != handles[-1]:
                handles.append(handle)
            known[code] = len(handles) - 1
        return known

    def run(self) -> Iterator[Chunk]:
        """The transmissions, whom they are about, the ledgers, and what came of it all."""
        transmissions = count(self._trace, "transmission")
        total = transmissions + count(self._trace, "ledger") + 1
        for rows in pieces(self._trace, _TRANSMISSIONS):
            whole = self._whole(rows)
            self._read += len(whole)
            if whole:
                yield self._chunk(whole, self._read / total)
            if len(whole) < len(rows):
                raise self._messages.damage or ValueError
        self._open_subjects()
        yield Chunk(self._read / total, about=self._take_about(), listed=True)
        for chunk in self._ledgers.run():
            chunk.share = (self._read + self._ledgers.read) / total
            yield chunk
        yield Chunk(1.0, summary=self._summary() | self._ledgers.summary())

    def reached(self) -> str:
        """How far it came, for people."""
        return f"until there {self._read} messages and {self._ledgers.read} ledger rows can be read"

    def close(self) -> None:
        """Let go of the statement that reads the messages."""
        self._messages.close()

    # Transmissions.

    def _whole(self, rows: Rows) -> Rows:
        """The rows up to the first whose messages are not there, or in which something is no number."""
        if not self._are_whole(rows):
            rows = rows[: next(at for at, row in enumerate(rows) if not self._are_whole([row]))]
        return rows

    def _are_whole(self, rows: Rows) -> bool:
        try:
            *_, messages, permits = (
                column(code, values) for code, values in zip(_WIDTHS, zip(*rows, strict=True), strict=False)
            )
        except ValueError:
            return False
        self._messages.read_to(max(*messages, *permits))
        return min(messages) > 0 and max(*messages, *permits) < len(self._messages)

    def _chunk(self, rows: Rows, share: float) -> Chunk:
        number, sent_us, arrived_us, sender, recipient, message, permit, fate, code = zip(*rows, strict=True)
        known, names = self._messages, self._names
        passed = [one == _DELIVERED and not refused for one, refused in zip(fate, code, strict=True)]
        exchange = self._exchanges(
            zip(number, sent_us, arrived_us, sender, recipient, message, passed, strict=True)
        )
        self._place(exchange, message, permit)
        under = zip(
            map(known.procedure.__getitem__, message), map(known.procedure.__getitem__, permit), strict=True
        )
        values = (
            number, sent_us, sender, recipient, message, exchange,
            map(known.service.__getitem__, message), (own or permitted for own, permitted in under),
            map(known.source.__getitem__, message), map(known.meant.__getitem__, message),
            map(known.kind.__getitem__, message), map(known.code.__getitem__, message),
            map(names["refused"].__getitem__, code), map(names["fate"].__getitem__, fate),
        )  # fmt: skip
        columns: Columns = {
            name: array(width, one) for (name, width), one in zip(COLUMNS.items(), values, strict=True)
        }
        return Chunk(
            share,
            columns=to_bytes(columns),
            ids=known.take_ids(),
            names={name: one.take() for name, one in names.items()},
            about=self._take_about(),
        )

    def _exchanges(self, rows: Iterator[tuple[Any, ...]]) -> array[int]:
        """The exchange of each transmission; on the way it is seen how long a request was waited for.

        That is from its first sending to the first reply or receipt that its requester has. What was refused, and tried
        again, still waits; in the end it was refused, or nobody answered.
        """
        known, found = self._messages, array("I")
        roots, first, answers, asks = known.root, known.first, known.answers, known.asks
        asker, asked_us = self._grown(self._asker), self._grown(self._asked_us)
        waits, refused = self._waits, self._refused
        for number, sent_us, arrived_us, sender, recipient, message, passed in rows:
            root = roots[message]
            exchange = first[root]
            if exchange == NONE:
                first[root] = exchange = number
                if asks[message]:
                    asker[root], asked_us[root] = sender, sent_us
            elif passed and asker[root] == recipient and answers[message]:
                if known.kind[message] == self._refusal:
                    refused.add(root)
                else:
                    key = (recipient, known.service[root])
                    waits.setdefault(key, array("q")).append(arrived_us - asked_us[root])
                    asker[root] = 0
            found.append(exchange)
        return found

    def _grown(self, values: array[int]) -> array[int]:
        """A column by message, with room for all that were read."""
        values.extend((0,) * (len(self._messages) - len(values)))
        return values

    # Whom an exchange is about.

    def _place(self, exchanges: array[int], messages: tuple[int, ...], permits: tuple[int, ...]) -> None:
        persons = list(map(self._messages.person.__getitem__, permits))
        for exchange, message, person in compress(zip(exchanges, messages, persons, strict=True), persons):
            self._put(self._messages.root[message], exchange, person)

    def _put(self, root: int, exchange: int, person: int) -> None:
        placed = self._grown(self._placed)
        if placed[root] != person:
            placed[root] = person
            self._about.setdefault(self._handles[person], []).append(exchange)

    def _open_subjects(self) -> None:
        """Of what the broker never permitted, the sealed subject says whom it is about."""
        keys, known, placed = Keys(self._trace), self._messages, self._grown(self._placed)
        for number in compress(range(len(known)), known.asks):
            if placed[number] or known.first[number] == NONE or known.root[number] != number:
                continue
            said = tied(self._trace.message(number).line)
            if said.subject is None:
                continue
            try:
                code = keys.open(said.subject, BROKER, said.source or "")
            except UNREADABLE:
                continue
            person = known.person_of.get(code, 0) if isinstance(code, str) else 0
            if person:
                self._put(number, known.first[number], person)

    def _take_about(self) -> dict[str, list[int]]:
        about, self._about = self._about, {}
        return about

    # How it ended.

    def _summary(self) -> dict[str, Any]:
        """How long answers took, by asker and service, and of the rest, how many were refused, or never answered."""
        known, services = self._messages, self._names["service"].all
        refused, unfinished = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
        for root in compress(range(len(self._asker)), self._asker):
            (refused if root in self._refused else unfinished)[self._asker[root], known.service[root]] += 1
        return {
            "waits": [
                [
                    asker,
                    services[service],
                    times.tobytes(),
                    refused[asker, service],
                    unfinished[asker, service],
                ]
                for asker, service in {**self._waits, **refused, **unfinished}
                for times in [self._waits.get((asker, service), array("q"))]
            ]
        }


def count(trace: Trace, table: str) -> int:
    """How many rows a table has by its last number; counting them would read all of a large file."""
    # Two statements: asked for both at once, SQLite would go through the whole table.
    ((last,),) = trace.rows(f"SELECT ifnull(max(number), -1) FROM {table}")  # noqa: S608
    ((first,),) = trace.rows(f"SELECT ifnull(min(number), 0) FROM {table}")  # noqa: S608
    return int(last) - int(first) + 1


def main(path: str, name: str) -> int:
    """Write the chunks of a trace, which texts call by the name, to stdout."""
    encode, write = msgspec.msgpack.Encoder().encode, sys.stdout.buffer.write
    gc.disable()  # Nothing here goes in circles, and sweeping through millions of numbers takes its time.
    try:
        with Trace.open(Path(path), name, lenient=True) as trace:
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
    child.end_with_parent()
    sys.exit(main(*sys.argv[1:]))
