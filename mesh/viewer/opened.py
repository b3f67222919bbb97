"""One trace that the viewer shows: its file, the index over it, and how different people see it."""

from __future__ import annotations

import asyncio
import json
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import cached_property
from itertools import compress
from typing import Any, Final

import msgspec

from mesh.errors import MeshError
from mesh.ledger import Row, read_row
from mesh.merkle import leaf_hash
from mesh.message import Kind
from mesh.names import BROKER, member_of
from mesh.trace.history import shown
from mesh.trace.opening import Steps
from mesh.trace.perspective import OfParties, OfResident, OnTheWire, Perspective, entries_of, perspective
from mesh.trace.reader import Trace
from mesh.trace.recheck import ASKS
from mesh.trace.rows import Transmission
from mesh.trace.seen import notes_seen
from mesh.trace.show import parts
from mesh.viewer import child
from mesh.viewer.index import Index, Mask, both, either
from mesh.viewer.indexing import chunks, count
from mesh.viewer.receiving import received
from mesh.viewer.review import Review
from mesh.viewer.stamp import stamp_of

AT_ONCE_MAX: Final = 4000
"""Transmissions that are read when the trace is opened; more are read by a process of their own."""
STEPS_MAX: Final = 500 * Steps.UNIT
"""What SQLite may do for one answer, or to open a small trace: some seconds, in which nobody else gets an answer."""
FRESH_S: Final = 3.0
"""How long nothing newer is looked for in a trace that still grows."""
REST: Final = 5
"""That many times as long as reading it took, if that is longer: it is read anew each time."""
PERSPECTIVES_MAX: Final = 16
LEDGERS_MAX: Final = 8
"""Parties whose ledger's row numbers are remembered."""

_WITH_ID: Final = "SELECT number FROM transmission WHERE message IN (SELECT number FROM message WHERE id = ?) ORDER BY number"


class _Zone(msgspec.Struct):
    """The part of a registry entry that the viewer shows."""

    zone: str = ""


_zone_decoder: Final = msgspec.json.Decoder(_Zone)


class Opened:
    """A trace under its name in the folder. `start` begins to read it, `close` ends that."""

    def __init__(self, trace: Trace) -> None:
        self.name = trace.name
        self.trace = trace
        self.index = Index()
        self.stamp = "-".join(map(str, stamp_of(trace.path)))
        """Another one once there is something else to see."""
        self._opened_s = time.monotonic()
        self._took_s: float | None = None
        """How long it took to read it."""
        self.count = count(self.trace, "transmission")
        """Transmissions, by their numbers; the index counts them."""
        self.review = Review(trace.file, trace.name)
        self._reading: asyncio.Task[None] | None = None
        self._perspectives: dict[str, Perspective] = {}
        self._ledgers: dict[str, array[int]] = {}
        self._early: dict[str, list[int]] = {}
        self._numbers = {address: number for number, address in self.trace.parties.items()}

    async def start(self) -> None:
        """Read the trace: a small one now, a large one in the background."""
        if self.count <= AT_ONCE_MAX:
            self.trace.steps.allow(STEPS_MAX)
            for chunk in chunks(self.trace):
                self.index.take(chunk)
            self._took_s = time.monotonic() - self._opened_s
        else:
            self._reading = asyncio.create_task(self._read(), name=f"read {self.name}")

    async def _read(self) -> None:
        async with aclosing(received(self.trace.file, self.name)) as chunks_:
            async for chunk in chunks_:
                self.index.take(chunk)
        self._took_s = time.monotonic() - self._opened_s

    def follow(self, older: Opened) -> None:
        """Take over the comparison that somebody waits for, of what was there when it began."""
        if older.trace.file == self.trace.file:
            self.review, older.review = older.review, self.review
            self.review.outdate()

    async def close(self) -> None:
        """Stop reading, and close the file."""
        if self._reading is not None:
            await child.stop(self._reading, ending=self.index.done)
        await self.review.close()
        self.trace.close()

    def is_fresh(self) -> bool:
        """Whether a trace that may grow was read a moment ago, or is being read: its next lines can wait."""
        if self.trace.complete:
            return False
        rest_s = FRESH_S if self._took_s is None else max(FRESH_S, REST * self._took_s)
        return not self.index.done or time.monotonic() - self._opened_s < rest_s

    @property
    def messages(self) -> int:
        """How many transmissions there are to see: those of the file when it was opened, and what was read since."""
        return max(self.count, len(self.index))

    @property
    def progress(self) -> dict[str, Any]:
        """How far the index is, as every answer that rests on it says."""
        return {"done": self.index.done, "share": round(self.index.share, 3)}

    def covered(self, name: str) -> dict[str, Any]:
        """How far a list of what somebody sees is. The ledgers come last, and only what residents see rests on them."""
        if self.is_resident(name):
            return self.progress
        self.perspective(name)  # It is an error to look as nobody.
        share = 1.0 if self.index.listed else len(self.index) / max(self.count, 1)
        return {"done": self.index.listed, "share": round(share, 3)}

    def notes_for(self, name: str) -> list[str]:
        """What somebody should know of the file before believing what is missing."""
        notes = list(notes_seen(self.trace, name))
        if self.index.note is not None:
            notes.append(self.index.note)
        return notes

    # Who sees what.

    def perspective(self, name: str) -> Perspective:
        """Somebody's view, by a name of `mesh.trace.perspective`; `UsageError` for who is not in the trace."""
        found = self._perspectives.get(name)
        if found is None:
            found = self._resident(name) if self.is_resident(name) else perspective(self.trace, name)
            if len(self._perspectives) >= PERSPECTIVES_MAX:
                del self._perspectives[next(iter(self._perspectives))]
            if not isinstance(found, OfResident) or self.index.done:
                self._perspectives[name] = found
        return found

    def _resident(self, name: str) -> OfResident:
        index, about = self.index, frozenset(self.index.about.get(name, ()))
        rows = self.broker_rows_about(name)
        known = {} if not rows else shown(self.trace, name, rows)
        places = index.select(
            ("passed on", name),
            lambda: [
                index.of(about), index.by("sender", [self.broker]), index.where("kind", ASKS.__contains__),
            ],
        )  # fmt: skip
        numbers = [index.columns["number"][place] for place in places]
        return OfResident(self.trace, name, entries_of(self.transmissions(numbers), known))

    def is_resident(self, name: str) -> bool:
        """Whether this is a resident's handle."""
        return name in self.residents

    @cached_property
    def residents(self) -> dict[str, None]:
        """Every resident's handle, in order."""
        return dict.fromkeys(handle for handle, _, _ in self.trace.residents())

    def seen_by(self, view: Perspective) -> Mask | None:
        """Which transmissions somebody has; None for all. It says for all what `view.see` says of one."""
        index = self.index
        if isinstance(view, OfResident):
            return index.at(view.numbers)
        if not isinstance(view, OfParties):
            return None
        numbers = self.numbers_of(view.parties)
        arrived = index.where("fate", lambda fate: fate == "delivered")
        return either(index.by("sender", numbers), both(index.by("recipient", numbers), arrived))

    def refusals(self, view: Perspective, among: Iterable[int] | None = None) -> list[int]:
        """Where each refusal that somebody has was first sent: one signed message is one, on however many lines.

        `among` are the places that are looked at, if not all.
        """
        index = self.index
        if isinstance(view, OnTheWire):
            return []
        seen = self.seen_by(view)
        places = index.select(
            ("refusals", view.name),
            lambda: [index.where("kind", Kind.REFUSAL.__eq__), *([] if seen is None else [seen])],
        )
        first: dict[int, int] = {}
        for place in places if among is None else filter(frozenset(among).__contains__, places):
            first.setdefault(index.columns["message"][place], place)
        return list(first.values())

    # What was recorded.

    def early(self, id_: str) -> list[int]:
        """The transmissions of a message, by its whole id, of which the index may not know yet."""
        if id_ not in self._early:
            self._early[id_] = [number for (number,) in self.trace.rows(_WITH_ID, id_)]
        last = self.index.columns["number"][-1] if len(self.index) else -1
        return [number for number in self._early[id_] if number > last]

    def heads(self, party: str) -> list[tuple[int, bytes]]:
        """A party's signed heads with their sizes, in the order of signing; nothing is verified here."""
        return self._heads.get(party, [])

    @cached_property
    def _heads(self) -> dict[str, list[tuple[int, bytes]]]:
        found: dict[str, list[tuple[int, bytes]]] = {}
        for party, token in self.trace.heads():
            stated = parts(token)[1]
            size = stated.get("size") if isinstance(stated, dict) else None
            found.setdefault(party, []).append((size if type(size) is int else 0, token))
        return found

    def broker_rows_about(self, handle: str) -> dict[str, list[Row]]:
        """The broker's rows of every exchange about a resident, by message id; a row that cannot be read is left out."""
        rows: dict[str, list[Row]] = {}
        for _, row in self.rows_about(handle, self.broker):
            rows.setdefault(row.id, []).append(row)
        return rows

    def rows_about(self, handle: str, of: int | None = None) -> Iterator[tuple[str, Row]]:
        """Party and row of every exchange about a resident, of one party if its number is given; unreadable ones are left out."""
        about, ledger = frozenset(self.index.about.get(handle, ())), self.index.ledger
        among = compress(
            zip(ledger["number"], ledger["party"], strict=True), map(about.__contains__, ledger["exchange"])
        )
        for stored in self.trace.ledger_rows([number for number, party in among if of in (None, party)]):
            with suppress(MeshError):
                yield stored.party, read_row(stored.row)

    def transmissions(self, numbers: Sequence[int]) -> list[Transmission]:
        """The transmissions with these numbers, which rise."""
        if not numbers:
            return []
        if numbers[-1] - numbers[0] < 2 * len(numbers):
            wanted = frozenset(numbers)
            near = self.trace.transmissions(
                numbers[0], numbers[-1] - numbers[0] + 1, "t.number <= ?", (numbers[-1],)
            )
            return [sent for sent in near if sent.number in wanted]
        given = "t.number IN (SELECT value FROM json_each(?))"
        return list(self.trace.transmissions(numbers[0], -1, given, (json.dumps(numbers),)))

    def path(self, party: str, position: int, size: int) -> list[bytes]:
        """The inclusion path of a party's ledger row; `IndexError` if the ledger is shorter."""
        rows = self._ledgers.pop(party, None) or self.index.ledger_of(self._numbers.get(party, 0))
        if len(self._ledgers) >= LEDGERS_MAX:
            del self._ledgers[next(iter(self._ledgers))]
        self._ledgers[party] = rows
        if size > len(rows):
            raise IndexError

        def leaves(positions: range) -> list[bytes]:
            wanted = rows[positions.start : positions.stop]
            return [leaf_hash(stored.row) for stored in self.trace.ledger_rows(wanted)]

        return self.index.path(self._numbers[party], position, size, leaves)

    # Names.

    def numbers_of(self, addresses: Iterable[str]) -> list[int]:
        """The parties' numbers."""
        return sorted(self._numbers[one] for one in addresses if one in self._numbers)

    @property
    def broker(self) -> int:
        """The broker's number; 0 if it took no part."""
        return self._numbers.get(BROKER, 0)

    def names_of(self, addresses: Collection[str]) -> dict[str, tuple[str, str]]:
        """What some who took part and their members are called, as the trace says."""
        taking_part = dict.fromkeys((*addresses, *map(member, addresses)))
        return {one: self.trace.names[one] for one in taking_part if one in self.trace.names}

    @cached_property
    def zones(self) -> dict[str, str]:
        """Every registered address's zone."""
        return dict(_zones(self.trace))


def _zones(trace: Trace) -> Iterator[tuple[str, str]]:
    for _, address, data in trace.registry_entries():
        try:
            yield address, _zone_decoder.decode(data).zone
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue


def member(address: str) -> str:
    """The member of an address, or the text itself when it is none."""
    try:
        return member_of(address)
    except MeshError:
        return address
