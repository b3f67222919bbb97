"""What two bodies could join of the people whom both know, if they laid their records together."""

from __future__ import annotations

from itertools import compress
from typing import Any, Final

from mesh.errors import MeshError
from mesh.ledger import read_row
from mesh.trace.perspective import OfParties
from mesh.viewer.chunks import NONE
from mesh.viewer.opened import Opened, member

JOINED_MAX: Final = 500
"""Joined pairs that are shown; all are counted."""


def joining(opened: Opened, first: str, second: str) -> dict[str, Any]:
    """As `mesh.trace.perspective.joins` and `known_to_both` say it, from the index.

    `joined` are pairs of codes with the exchange that both took part in; `joinable` counts the residents among them,
    `known_to_both` those of whom both have a record. `UsageError` for who is not in the trace.
    """
    ours, theirs = (_records(opened, name) for name in (first, second))
    shared = sorted(ours.keys() & theirs.keys())
    # Systems of one body share its codes, so that there is nothing to join.
    joined = [one for one in shared if member(ours[one][0]) != member(theirs[one][0])]
    read = (_pair(opened, one, ours[one], theirs[one]) for one in joined[:JOINED_MAX])
    pairs = [pair for pair in read if pair is not None]
    people = opened.index.about
    among = frozenset(joined)
    return {
        "joined": pairs,
        "count": len(pairs) if len(joined) <= JOINED_MAX else len(joined),
        "joinable": sum(1 for exchanges in people.values() if not among.isdisjoint(exchanges)),
        "known_to_both": sum(
            1
            for exchanges in people.values()
            if not ours.keys().isdisjoint(exchanges) and not theirs.keys().isdisjoint(exchanges)
        ),
        "index": opened.progress,
    }


def _records(opened: Opened, name: str) -> dict[int, tuple[str, int]]:
    """Exchange → a party of the body that recorded it, and the first row."""
    view, found = opened.perspective(name), dict[int, tuple[str, int]]()
    if not isinstance(view, OfParties):
        return found
    ledger, addresses = opened.index.ledger, opened.trace.parties
    wanted = frozenset(opened.numbers_of(view.parties))
    rows = zip(ledger["exchange"], ledger["party"], ledger["number"], strict=True)
    for exchange, party, number in compress(rows, map(wanted.__contains__, ledger["party"])):
        if exchange != NONE:
            found.setdefault(exchange, (addresses[party], number))
    return found


def _pair(
    opened: Opened, exchange: int, ours: tuple[str, int], theirs: tuple[str, int]
) -> dict[str, Any] | None:
    try:
        mine, other = (read_row(opened.trace.ledger_row(number).row) for _, number in (ours, theirs))
    except MeshError:
        return None
    if mine.subject is None or other.subject is None:
        return None
    return {"first": mine.subject, "second": other.subject, "message": mine.id, "index": exchange}
