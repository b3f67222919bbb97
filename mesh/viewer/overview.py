"""The whole run at a glance: who exchanged how much with whom, and when."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any, Final

from mesh.message import Kind
from mesh.names import BROKER
from mesh.trace.perspective import OnTheWire
from mesh.trace.recheck import ASKS
from mesh.viewer.index import Places, both, either
from mesh.viewer.opened import Opened, member
from mesh.viewer.rows import Filters, select

BINS_MAX: Final = 2000

Pair = tuple[str, str]


def network(opened: Opened, name: str, from_us: int, to_us: int | None) -> dict[str, Any]:
    """Members with their nodes, and what went between them from one time to another.

    `edges` count transmissions, so that everything goes by the broker's member; `exchanges` count what was asked or
    pushed from one member to another, by way of the broker.
    """
    places = _between(opened, select(opened, Filters(as_=name)), from_us, to_us)
    refused = frozenset(_between(opened, _refused(opened, name), from_us, to_us))
    asked = _between(opened, _asked(opened, name), from_us, to_us)
    index = opened.index
    sender, recipient, exchange = (
        index.columns[one].__getitem__ for one in ("sender", "recipient", "exchange")
    )
    # `map` and `zip` alone: a generator of our own would take three times as long over a million.
    edges = Counter(zip(map(sender, places), map(recipient, places), strict=True))
    refusals = Counter((sender(place), recipient(place)) for place in refused)
    starts = map(sender, map(index.place_of, map(exchange, asked)))
    pairs = Counter(zip(starts, map(recipient, asked), strict=True))
    return {
        "members": _members(opened),
        "edges": [
            {"from": start, "to": end, "messages": count, "refusals": among}
            for (start, end), count, among in _by_member(opened, edges, refusals)
        ],
        "exchanges": [
            {"from": start, "to": end, "count": count} for (start, end), count, _ in _by_member(opened, pairs)
        ],
        "index": opened.progress,
    }


def timeline(opened: Opened, name: str, bins: int) -> dict[str, Any]:
    """How many messages, and refusals among them, were sent in each of so many equal parts of the run."""
    sent_us, bins = opened.index.columns["sent_us"], max(1, min(bins, BINS_MAX))
    end_us = sent_us[-1] if sent_us else 0
    edges = [end_us * number // bins for number in range(bins)]
    messages, refusals = (
        _counts(opened, places, edges)
        for places in (select(opened, Filters(as_=name)), _refused(opened, name))
    )
    parts = zip(edges, messages, refusals, strict=True)
    return {
        "from_us": 0,
        "to_us": end_us,
        "bins": [{"from_us": at, "messages": many, "refusals": few} for at, many, few in parts],
        "index": opened.progress,
    }


def _counts(opened: Opened, places: Places, edges: list[int]) -> list[int]:
    sent_us = opened.index.columns["sent_us"]
    starts = [bisect_left(places, at, key=sent_us.__getitem__) for at in edges]
    return [after - before for before, after in zip(starts, [*starts[1:], len(places)], strict=True)]


def _between(opened: Opened, places: Places, from_us: int, to_us: int | None) -> Places:
    sent_us = opened.index.columns["sent_us"].__getitem__
    start = bisect_left(places, from_us, key=sent_us)
    end = len(places) if to_us is None else bisect_left(places, to_us, key=sent_us)
    return places[start:end]


def _refused(opened: Opened, name: str) -> Places:
    """Refusals, and what a gate refused, as far as somebody sees them."""
    index, view = opened.index, opened.perspective(name)
    if isinstance(view, OnTheWire):
        return range(0)
    seen = opened.seen_by(view)
    return index.select(
        ("refused", name),
        lambda: [
            either(index.where("kind", Kind.REFUSAL.__eq__), index.where("refused", bool)),
            *([] if seen is None else [seen]),
        ],
    )


def _asked(opened: Opened, name: str) -> Places:
    """What the broker passed on of requests and pushes."""
    index, view = opened.index, opened.perspective(name)
    if isinstance(view, OnTheWire):
        return range(0)
    seen = opened.seen_by(view)
    return index.select(
        ("asked", name),
        lambda: [
            both(index.where("kind", ASKS.__contains__), index.by("sender", opened.numbers_of((BROKER,)))),
            *([] if seen is None else [seen]),
        ],
    )


def _by_member(
    opened: Opened, counts: Counter[tuple[int, int]], among: Counter[tuple[int, int]] | None = None
) -> list[tuple[Pair, int, int]]:
    """Counts between parties as counts between their members, by name."""
    names = {number: member(address) for number, address in opened.trace.parties.items()}
    many, few = Counter[Pair](), Counter[Pair]()
    for total, given in ((many, counts), (few, among or Counter())):
        for (start, end), count in given.items():
            total[names.get(start, "?"), names.get(end, "?")] += count
    return [(pair, count, few[pair]) for pair, count in sorted(many.items())]


def _members(opened: Opened) -> list[dict[str, Any]]:
    nodes: dict[str, list[str]] = {}
    for address in opened.trace.parties.values():
        nodes.setdefault(member(address), []).append(address)
    return [
        {
            "member": name,
            "zones": sorted({opened.zones[one] for one in addresses if one in opened.zones}),
            "nodes": [{"address": one, "zone": opened.zones.get(one)} for one in addresses],
        }
        for name, addresses in nodes.items()
    ]
