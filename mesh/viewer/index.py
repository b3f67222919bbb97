"""Finds transmissions of a trace in memory: a few numbers for each, and masks of 0 and 1 over them.

Rules kept here:
1. A mask has one byte for each transmission read so far. Masks are made, joined and counted by single calls
   of C, so that a million takes some hundredths of a second.
2. What was selected is kept as numbers of places, so that any page of it, and the place of any message in
   it, is found at once.
3. Forty-nine bytes a transmission and twelve a ledger row, whatever the size of the messages.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable
from itertools import compress
from typing import Any, Final, TypeAlias

from mesh.merkle import FixedTree, Tree
from mesh.viewer.chunks import BLOCK, COLUMNS, LEDGER_COLUMNS, NAMED, Chunk, new_columns

SELECTIONS_MAX: Final = 12
"""Selections that are remembered, the least recently used leave first; one of a million is 4 MB."""
HASH_BYTES: Final = 32

Mask = bytes
Places: TypeAlias = "range | array[int]"


class Index:
    """What was read of one trace so far; `take` adds to it."""

    def __init__(self) -> None:
        self.columns = new_columns(COLUMNS)
        self.ledger = new_columns(LEDGER_COLUMNS)
        self.names: dict[str, list[str]] = {column: [] for column in NAMED}
        self.about: dict[str, array[int]] = {}
        """Resident → exchanges about them, in no order."""
        self.permitted: set[int] = set()
        self.hidden: set[int] = set()
        self.share = 0.0
        self.listed = False
        """Whether all transmissions that can be read are here; the ledgers follow."""
        self.done = False
        self.note: str | None = None
        self.summary: dict[str, Any] = {}
        self._ids: list[str] = []
        self._blocks: dict[int, bytes] = {}
        self._selections: dict[Any, tuple[int, Places]] = {}

    def __len__(self) -> int:
        return len(self.columns["number"])

    def take(self, chunk: Chunk) -> None:
        """Add what was found next."""
        for name, data in chunk.columns.items():
            self.columns[name].frombytes(data)
        self._ids += chunk.ids
        for name, names in chunk.names.items():
            self.names[name] += names
        for person, exchanges in chunk.about.items():
            self.about.setdefault(person, array("I")).extend(exchanges)
        for name, data in chunk.ledger.items():
            self.ledger[name].frombytes(data)
        self.permitted.update(chunk.permitted)
        self.hidden.update(chunk.hidden)
        for place, exchange in chunk.marks.items():
            self.ledger["exchange"][place] = exchange
        for party, data in chunk.blocks.items():
            self._blocks[party] = self._blocks.get(party, b"") + data
        self.summary |= chunk.summary or {}
        self.note = chunk.note or self.note
        self.share = chunk.share
        self.done = chunk.ends
        self.listed = self.listed or chunk.listed or self.done

    # Masks.

    def where(self, column: str, wanted: Callable[[str], bool]) -> Mask:
        """Transmissions whose name in a column is wanted; the empty name never is."""
        table = bytes(bool(name) and wanted(name) for name in self.names[column])
        if 1 not in table:
            return bytes(len(self))
        width = self.columns[column].itemsize
        if len(table) <= 256:
            # As few names as one byte has room for: of a wider column, that byte tells them apart.
            low = self.columns[column].tobytes()[0 if sys.byteorder == "little" else width - 1 :: width]
            return low.translate(table.ljust(256, b"\0"))
        return bytes(map(table.__getitem__, self.columns[column]))

    def by(self, column: str, parties: Iterable[int]) -> Mask:
        """Transmissions whose `sender` or `recipient` is one of the parties."""
        wanted = frozenset(parties)
        if not wanted:
            return bytes(len(self))
        return bytes(map(wanted.__contains__, self.columns[column]))

    def at(self, numbers: Iterable[int]) -> Mask:
        """The transmissions with these numbers."""
        found, known = bytearray(len(self)), self.columns["number"]
        for number in numbers:
            place = self.place_of(number)
            if place < len(found) and known[place] == number:
                found[place] = 1
        return bytes(found)

    def of(self, exchanges: Container[int]) -> Mask:
        """The transmissions of exchanges."""
        return bytes(map(exchanges.__contains__, self.columns["exchange"]))

    def with_id(self, part: str) -> Mask:
        """Transmissions of messages in whose id the text stands."""
        found = bytearray(1)  # There is no message 0.
        for ids in self._ids:
            if part in ids:
                found += bytes([part in one for one in ids.split("\n")])
            else:
                found += bytes(ids.count("\n") + 1)
        return bytes(map(found.__getitem__, self.columns["message"]))

    def select(self, key: Any, masks: Callable[[], list[Mask]]) -> Places:
        """The places of what all masks let pass; `key` says what they are of, so that they are made once."""
        size, places = self._selections.pop(key, (-1, range(0)))
        if size != self._stamp():
            places = self._select(masks())
            if len(self._selections) >= SELECTIONS_MAX:
                del self._selections[next(iter(self._selections))]
        self._selections[key] = (self._stamp(), places)
        return places

    def _stamp(self) -> int:
        """A number that changes whenever something was added."""
        return len(self) + len(self.ledger["number"]) + self.done

    def _select(self, masks: list[Mask]) -> Places:
        if not masks:
            return range(len(self))
        mask = masks[0]
        for other in masks[1:]:
            mask = both(mask, other)
        return array("I", compress(range(len(mask)), mask))

    # Places and numbers.

    def place_of(self, number: int) -> int:
        """Where a transmission stands, or would stand."""
        numbers = self.columns["number"]
        if number < len(numbers) and numbers[number] == number:
            return number
        return bisect_left(numbers, number)

    def exchange_of(self, number: int) -> int | None:
        """The first transmission of the exchange of one; None as long as that was not read."""
        place = self.place_of(number)
        known = place < len(self) and self.columns["number"][place] == number
        return self.columns["exchange"][place] if known else None

    def places_of(self, exchange: int) -> list[int]:
        """The places of an exchange's transmissions."""
        return _find(self.columns["exchange"], exchange, self.place_of(exchange))

    def ledger_rows_of(self, exchange: int) -> list[int]:
        """The numbers of the ledger rows about an exchange."""
        numbers = self.ledger["number"]
        return [numbers[place] for place in _find(self.ledger["exchange"], exchange)]

    def ledger_of(self, party: int) -> array[int]:
        """The numbers of a party's ledger rows, in order."""
        wanted = frozenset((party,))
        return array("I", compress(self.ledger["number"], map(wanted.__contains__, self.ledger["party"])))

    def path(
        self, party: int, position: int, size: int, leaves: Callable[[range], list[bytes]]
    ) -> list[bytes]:
        """The inclusion path of a ledger row in the tree of the first `size`; `leaves(positions)` gives their hashes.

        Within its block the leaves are asked for; above, the blocks' own hashes serve.
        """
        block = position // BLOCK

        def of_block(number: int) -> list[bytes]:
            return leaves(range(number * BLOCK, min((number + 1) * BLOCK, size)))

        kept = self._blocks.get(party, b"")
        full = min(size // BLOCK, len(kept) // HASH_BYTES)
        blocks = [kept[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(full)]
        while len(blocks) * BLOCK < size:
            blocks.append(Tree(of_block(len(blocks))).root())
        within = FixedTree(of_block(block)).path(position % BLOCK)
        return within + FixedTree(blocks).path(block)


def both(one: Mask, other: Mask) -> Mask:
    """What both masks let pass; as whole numbers, which joins them in one step."""
    joined = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return joined.to_bytes(len(one), "little")


def either(one: Mask, other: Mask) -> Mask:
    """What one of the masks lets pass."""
    joined = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return joined.to_bytes(len(one), "little")


def _find(column: array[int], wanted: int, start: int = 0) -> list[int]:
    """Where a number stands in a column of four-byte numbers."""
    data, needle, width = memoryview(column).cast("B").tobytes(), array("I", (wanted,)).tobytes(), 4
    found, at = [], data.find(needle, start * width)
    while at >= 0:
        if at % width == 0:
            found.append(at // width)
        at = data.find(needle, at + 1 if at % width else at + width)
    return found
