"""Signs a kept answer anew, when the key that signed it counts no more: whoever asks again could not believe it.

The outcome stays the one that was kept; only its time and signature are new. So the ledger gets the row of the answer once
more, with the digest of the new bytes, and the database keeps those from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from mesh.exchange import Turn, digest_of
from mesh.ledger import Row
from mesh.party import Party

Key = tuple[str, str]
"""Source and id of the message that was answered."""


class Renewal:
    """The kept answers of one party; `statement` of `mesh.store` takes (line, id, source), `rows_with` finds ledger rows."""

    def __init__(self, party: Party, statement: str, rows_with: Callable[[str], Iterable[Row]]) -> None:
        self._party = party
        self._statement = statement
        self._rows_with = rows_with
        self._under_way: dict[Key, bytes] = {}
        """Until they are committed."""

    def line(self, kept: bytes, key: Key, now_us: int, turn: Turn) -> bytes:
        """The answer to give: what was kept, or the same signed anew, with its row and its place in the database."""
        if key in self._under_way:
            return self._under_way[key]
        line = self._party.current(kept, now_us)
        if line is kept:
            return kept
        row = next(row for row in reversed(list(self._rows_with(key[1]))) if _is_answer(row, key))
        turn.rows.append(replace(row, time_us=now_us, replydigest=digest_of(line)))
        turn.writes.append((self._statement, (line, key[1], key[0])))
        self._under_way[key] = line
        turn.calls.append((self._under_way.pop, (key, None)))
        turn.undo.append(lambda _: self._under_way.pop(key, None))
        return line


def _is_answer(row: Row, key: Key) -> bool:
    return row.entry == "answered" and (row.requester, row.id) == key
