"""The whole run at a glance: who exchanged how much with whom, and when."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from mesh.errors import CODES
from mesh.names import BROKER
from mesh.recorder import Fate
from mesh.trace.perspective import OfParties, OfResident, OnTheWire, Text
from mesh.trace.recheck import ASKS
from mesh.trace.seen import fate_sent
from mesh.trace.show import attributes_of
from mesh.viewer.index import Places, both
from mesh.viewer.opened import Opened, member
from mesh.viewer.rows import PAGE_MAX, Filters, page, select, text_of

BINS_MAX: Final = 2000

Stand = tuple[str, str]
"""A member, and the zone in which some of its systems stand; "" for those that no registry knows."""
Pair = tuple[Stand, Stand]


def network(opened: Opened, name: str, from_us: int, to_us: int | None) -> dict[str, Any]:
    """Members with their nodes, and what went between them from one time to another.

    What stands in two zones is two places, so that each edge runs from zone to zone. `edges` count transmissions, so that
    everything goes by the broker's member, and on each the refusals that were first sent along it; `exchanges` count what was asked or pushed from one member to another, by way of the broker. A resident
    has the exchanges alone, drawn as they are meant.
    """
    view = opened.perspective(name)
    if isinstance(view, OfResident):
        return _of_resident(opened, view, from_us, to_us)
    places = _between(opened, select(opened, Filters(as_=name)), from_us, to_us)
    refused = _between(opened, opened.refusals(view), from_us, to_us)
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
    ends = list(opened.trace.parties.values())
    if not view.shows(Text.RUN):
        near = {*map(sender, places), *map(recipient, places)}
        ends = [address for number, address in opened.trace.parties.items() if number in near]
    return {
        "members": _members(opened, ends),
        "edges": [
            _ends(pair) | {"messages": count, "refusals": among}
            for pair, count, among in _by_stand(opened, edges, refusals)
        ],
        "exchanges": [_ends(pair) | {"count": count} for pair, count, _ in _by_stand(opened, pairs)],
    }


def present(opened: Opened, name: str) -> dict[str, Any]:
    """Who and what appears in what somebody sees: what there is to draw for them, and to choose from."""
    index, view, addresses = opened.index, opened.perspective(name), opened.trace.parties
    places = select(opened, Filters(as_=name))

    def of(column: str, among: Iterable[int] = places) -> set[int]:
        return set(map(index.columns[column].__getitem__, among))

    def named(column: str, among: Iterable[int] = places) -> list[str]:
        return sorted({index.names[column][one] for one in of(column, among)} - {""})

    met = {addresses[one] for one in of("sender") | of("recipient") if one in addresses}
    found = {"services": named("service"), "kinds": named("kind"), "fates": named("fate")}
    codes, residents = named("code"), [name]
    if isinstance(view, OnTheWire):
        found, codes, residents = {key: [] for key in found}, [], []
    elif isinstance(view, OfResident):
        # Whom a history names, which is not by whom its messages passed.
        rows = page(opened, Filters(as_=name), 0, PAGE_MAX)["rows"]
        met = {row[end] for row in rows for end in ("from", "to")}
        found["fates"] = sorted({row["fate"] for row in rows})
    elif isinstance(view, OfParties):
        own, recipient = frozenset(opened.numbers_of(view.parties)), index.columns["recipient"].__getitem__
        fate = index.columns["fate"].__getitem__
        came = frozenset(n for n, name in enumerate(index.names["fate"]) if name == Fate.DELIVERED)
        arrived = [place for place in places if recipient(place) in own and fate(place) in came]
        codes += named("refused", arrived)
        left = map(fate_sent, named("fate", set(places).difference(arrived)))
        found["fates"] = sorted({*named("fate", arrived), *left})
        residents = []
    else:
        codes, residents = codes + named("refused"), list(opened.residents)
    return {
        "parties": [one for one in addresses.values() if one in met],
        "residents": residents,
        "codes": [one for one in CODES if one in codes],
        **found,
    }


def _of_resident(opened: Opened, view: OfResident, from_us: int, to_us: int | None) -> dict[str, Any]:
    """The map of a resident's history."""
    many, few, near = Counter[Pair](), Counter[Pair](), dict[str, None]()
    for sent in opened.transmissions(view.numbers):
        if from_us <= sent.sent_us and (to_us is None or sent.sent_us < to_us):
            source = text_of(attributes_of(sent.message), "source") or "?"
            near |= dict.fromkeys((source, sent.recipient))
            pair = (_stand(opened, source), _stand(opened, sent.recipient))
            many[pair] += 1
            few[pair] += view.outcomes[sent.number] not in ("answered", "unfinished")
    return {
        "members": _members(opened, near),
        "edges": [
            _ends(pair) | {"messages": count, "refusals": few[pair]} for pair, count in sorted(many.items())
        ],
        "exchanges": [_ends(pair) | {"count": count} for pair, count in sorted(many.items())],
    }


def _refused(opened: Opened, wanted: Filters) -> list[int]:
    """The refusals among what is wanted, by place; a resident's are the lines of their history that were refused."""
    view = opened.perspective(wanted.as_)
    among = None if wanted == Filters(as_=wanted.as_) else select(opened, wanted)
    if not isinstance(view, OfResident):
        return opened.refusals(view, among)
    said = view.outcomes.items()
    refused = [opened.index.place_of(at) for at, one in said if one not in ("answered", "unfinished")]
    return refused if among is None else list(filter(frozenset(among).__contains__, refused))


def timeline(opened: Opened, wanted: Filters, bins: int) -> dict[str, Any]:
    """How many of the wanted messages, and refusals among them, were sent in equal parts of the run."""
    sent_us, bins = opened.index.columns["sent_us"], max(1, min(bins, BINS_MAX))
    end_us = sent_us[-1] if sent_us else 0
    edges = [end_us * number // bins for number in range(bins)]
    messages, refusals = (
        _counts(opened, places, edges) for places in (select(opened, wanted), _refused(opened, wanted))
    )
    parts = zip(edges, messages, refusals, strict=True)
    return {
        "from_us": 0,
        "to_us": end_us,
        "bins": [{"from_us": at, "messages": many, "refusals": few} for at, many, few in parts],
    }


def _counts(opened: Opened, places: Places | list[int], edges: list[int]) -> list[int]:
    sent_us = opened.index.columns["sent_us"]
    starts = [bisect_left(places, at, key=sent_us.__getitem__) for at in edges]
    return [after - before for before, after in zip(starts, [*starts[1:], len(places)], strict=True)]


def _between(
    opened: Opened, places: Places | list[int], from_us: int, to_us: int | None
) -> Places | list[int]:
    sent_us = opened.index.columns["sent_us"].__getitem__
    start = bisect_left(places, from_us, key=sent_us)
    end = len(places) if to_us is None else bisect_left(places, to_us, key=sent_us)
    return places[start:end]


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


def _stand(opened: Opened, address: str) -> Stand:
    return member(address), opened.zones.get(address, "")


def _ends(pair: Pair) -> dict[str, Any]:
    (start, start_zone), (end, end_zone) = pair
    return {"from": start, "from_zone": start_zone or None, "to": end, "to_zone": end_zone or None}


def _by_stand(
    opened: Opened, counts: Counter[tuple[int, int]], among: Counter[tuple[int, int]] | None = None
) -> list[tuple[Pair, int, int]]:
    """Counts between parties as counts between where they stand, by name."""
    stands = {number: _stand(opened, address) for number, address in opened.trace.parties.items()}
    nowhere = ("?", "")
    many, few = Counter[Pair](), Counter[Pair]()
    for total, given in ((many, counts), (few, among or Counter())):
        for (start, end), count in given.items():
            total[stands.get(start, nowhere), stands.get(end, nowhere)] += count
    return [(pair, count, few[pair]) for pair, count in sorted(many.items())]


def _members(opened: Opened, taking_part: Iterable[str]) -> list[dict[str, Any]]:
    nodes: dict[str, list[str]] = {}
    for address in taking_part:
        nodes.setdefault(member(address), []).append(address)
    return [
        {
            "member": name,
            "zones": sorted({opened.zones[one] for one in addresses if one in opened.zones}),
            "nodes": [{"address": one, "zone": opened.zones.get(one)} for one in addresses],
        }
        for name, addresses in nodes.items()
    ]
