"""Who asks about many persons in a short time: what the commission looks at first, and no more than a reason to look.

The threshold is illustrative; the real commission publishes none. An office that is merely busy reaches it too, so
what counts is whether it has a case for each exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from mesh.ledger import Row
from mesh.names import matches, member_of

OFFICES: Final = "muni/*/*"
"""Who is watched: the offices of municipalities, when they ask other bodies."""
WITHIN_US: Final = 3_600_000_000
PERSONS_MIN: Final = 8


class Burst(NamedTuple):
    """Exchanges of one office for one procedure that came close upon each other, and about how many persons."""

    office: str
    procedure: str
    messages: tuple[str, ...]
    persons: int


def bursts(rows: Iterable[Row]) -> list[Burst]:
    """Every office's exchanges that belong to an hour with many persons; `rows` are the broker's."""
    asked: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.entry == "permitted" and row.subject is not None and _is_watched(row):
            asked.setdefault((row.requester, row.procedure or ""), []).append(row)
    found = ((key, _close(group)) for key, group in asked.items())
    return [
        Burst(*key, tuple(dict.fromkeys(row.id for row in rows)), len({row.subject for row in rows}))
        for key, rows in found
        if rows
    ]


def _is_watched(row: Row) -> bool:
    other = row.provider is not None and member_of(row.provider) != member_of(row.requester)
    return other and matches(OFFICES, row.requester)


def _close(rows: list[Row]) -> list[Row]:
    """The rows, in the order of time, that are in an hour in which as many persons were asked about."""
    close: dict[int, Row] = {}
    start = 0
    for stop, row in enumerate(rows, start=1):
        while rows[start].time_us < row.time_us - WITHIN_US:
            start += 1
        if len({one.subject for one in rows[start:stop]}) >= PERSONS_MIN:
            close.update(enumerate(rows[start:stop], start=start))
    return [close[place] for place in sorted(close)]
