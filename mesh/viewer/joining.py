"""What two bodies could join of the people whom both know, if they laid their records together.

Rules kept here:
1. A body knows a person if a row of its ledger names a code of theirs.
2. Codes differ for every body; that two of them mean one person only an exchange in which both took part says.
3. Who holds the code keys (the broker, and the code issuer) needs no exchange: it translates every code, alone.
"""

from __future__ import annotations

from itertools import compress
from typing import Any, Final, NamedTuple

from mesh.errors import MeshError
from mesh.ledger import read_row
from mesh.names import BROKER, CODE_ISSUER
from mesh.trace.perspective import EVERYTHING, OfParties, Text
from mesh.viewer.chunks import NONE
from mesh.viewer.opened import Opened, member

JOINED_MAX: Final = 500
"""Pairs that are shown; all are counted."""


class _Records(NamedTuple):
    """What the ledgers of a body say of people."""

    rows: dict[int, tuple[str, int]]
    """Exchange → a party of the body that recorded a code in it, and the row."""
    persons: dict[int, int]
    """The same exchange → whom the code means; 0 if the trace does not say."""
    known: frozenset[int]


def joining(opened: Opened, first: str, second: str, name: str = EVERYTHING) -> dict[str, Any]:
    """What two bodies could join; each is named as a perspective is, so that a body may be several.

    `joined` are the distinct pairs of codes, each with the first exchange that both took part in and the number of
    `exchanges` that join it, and `count` says how many pairs there are; `joinable` counts the residents among them,
    `known_to_both` those of whom both have a record, which only the whole run shows. `translators` are those of them
    who can translate all codes, so that everybody is joinable. `UsageError` for who is not in the trace.
    """
    view, bodies = opened.perspective(name), [opened.perspective(one) for one in (first, second)]
    translators = [one for body in bodies if isinstance(body, OfParties) for one in sorted(body.parties)]
    translators = [one for one in dict.fromkeys(translators) if one in (BROKER, CODE_ISSUER)]
    ours, theirs = (_records(opened, body) for body in (first, second))
    shared = sorted(ours.rows.keys() & theirs.rows.keys())
    # Systems of one body share its codes, so that there is nothing to join.
    joined = [one for one in shared if member(ours.rows[one][0]) != member(theirs.rows[one][0])]
    pairs = _distinct(opened, joined, ours, theirs)
    known = (ours.known & theirs.known) - {0}
    joinable = known if translators else {ours.persons[one] for one in joined} - {0}
    return {
        "joined": pairs[:JOINED_MAX],
        "count": len(pairs),
        "joinable": len(joinable),
        "known_to_both": len(known) if view.shows(Text.RUN) else None,
        "translators": translators,
    }


def _distinct(opened: Opened, joined: list[int], ours: _Records, theirs: _Records) -> list[dict[str, Any]]:
    """Each pair of codes once, by the first exchange that joins it, and in how many it is; later ones are not shown."""
    found: dict[tuple[Any, ...], list[int]] = {}
    read: dict[int, dict[str, Any] | None] = {}
    for one in joined:
        bodies, person = (member(ours.rows[one][0]), member(theirs.rows[one][0])), ours.persons[one]
        # Two bodies have one pair of codes for a person; of one whom the trace does not know only the codes say so.
        key: tuple[Any, ...] = (*bodies, person)
        if not person or person != theirs.persons[one]:
            pair = read[one] = _pair(opened, one, ours.rows[one], theirs.rows[one])
            if pair is None:
                continue
            key = (*bodies, pair["first"], pair["second"])
        found.setdefault(key, []).append(one)
    pairs = []
    for at, exchanges in enumerate(found.values()):
        first = exchanges[0]
        pair = None
        if at < JOINED_MAX:
            pair = read.get(first) or _pair(opened, first, ours.rows[first], theirs.rows[first])
            if pair is None:
                continue
        pairs.append((pair or {}) | {"exchanges": len(exchanges)})
    return pairs


def _records(opened: Opened, name: str) -> _Records:
    view = opened.perspective(name)
    records = _Records({}, {}, frozenset())
    if not isinstance(view, OfParties):
        return records
    ledger, addresses = opened.index.ledger, opened.trace.parties
    wanted = frozenset(opened.numbers_of(view.parties))
    rows = zip(ledger["exchange"], ledger["party"], ledger["number"], ledger["person"], strict=True)
    known = set[int]()
    for exchange, party, number, person in compress(rows, map(wanted.__contains__, ledger["party"])):
        if person == NONE:
            continue
        known.add(person)
        if exchange != NONE and exchange not in records.rows:
            records.rows[exchange] = (addresses[party], number)
            records.persons[exchange] = person
    return records._replace(known=frozenset(known))


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
