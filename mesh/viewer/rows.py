"""The list of transmissions: which pass the filters, a page of them, and where one stands among them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from mesh.errors import UsageError
from mesh.names import is_role, matches
from mesh.trace.opening import Damage
from mesh.trace.perspective import EVERYTHING, OfParties, OfResident, OnTheWire, Perspective, Seen
from mesh.trace.seen import row_seen
from mesh.viewer.index import Mask, Places, both, either
from mesh.viewer.opened import Opened, member

PAGE_MAX: Final = 500
NUMBER_MAX: Final = 2**53 - 1
TEXT_MAX: Final = 200
"""Characters of a filter."""
_WHOLE_ID: Final = re.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""As a run gives them to its messages."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which transmissions are listed, and as whom; what is empty lets all pass."""

    as_: str = EVERYTHING
    node: str = ""
    """An address, a member, or a role: who sent or got a line, made its message, or is whom that is for."""
    person: str = ""
    service: str = ""
    code: str = ""
    kind: str = ""
    whole: str = ""
    """`1` for whole exchanges, once a line of them passes."""
    q: str = ""
    """Text in an id, an address, a service, a procedure or a code, or in what a party, service or procedure is called."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """The filters of a URL's query; `UsageError` for one that is too long."""
        values = {one.name: query.get(one.name.rstrip("_"), "") for one in fields(cls)}
        for name, value in values.items():
            if len(value) > TEXT_MAX:
                raise UsageError(f"{name.rstrip('_')} is longer than {TEXT_MAX} characters")
        values["as_"] = values["as_"] or EVERYTHING
        return cls(**values)


def select(opened: Opened, wanted: Filters) -> Places:
    """The places of the transmissions that pass; `UsageError` for a perspective or person that is not there."""
    view = opened.perspective(wanted.as_)
    if wanted.person and not opened.is_resident(wanted.person):
        raise UsageError(f"the trace knows no resident {wanted.person}")
    if wanted.whole and not isinstance(view, OnTheWire):
        return opened.index.select(wanted, lambda: _whole(opened, view, replace(wanted, whole="")))
    return opened.index.select(wanted, lambda: _masks(opened, view, wanted))


def _whole(opened: Opened, view: Perspective, wanted: Filters) -> list[Mask]:
    """Every line of the exchanges of which one passes, as far as somebody has it."""
    index, seen = opened.index, opened.seen_by(view)
    exchange = index.columns["exchange"].__getitem__
    passing = frozenset(map(exchange, select(opened, wanted)))
    return [index.of(passing), *([] if seen is None else [seen])]


def _masks(opened: Opened, view: Perspective, wanted: Filters) -> list[Mask]:
    index = opened.index
    seen = opened.seen_by(view)
    masks = [] if seen is None else [seen]
    if isinstance(view, OnTheWire):
        if wanted.node:
            masks.append(_carried(opened, lambda address: _is(wanted.node, address)))
        # Whoever cannot read a line cannot find it by what stands in it either.
        sealed = (wanted.person, wanted.service, wanted.code, wanted.kind)
        return [*masks, *_search_outside(opened, wanted.q), *([bytes(len(index))] if any(sealed) else [])]
    if wanted.node:
        masks.append(_touching(opened, lambda address: _is(wanted.node, address)))
    if wanted.person:
        masks.append(index.of(frozenset(index.about.get(wanted.person, ()))))
    for column, value in (("service", wanted.service), ("kind", wanted.kind)):
        if value:
            masks.append(index.where(column, value.__eq__))
    if wanted.code:
        masks.append(_with_code(opened, view, wanted.code))
    if wanted.q:
        masks.append(_search(opened, wanted.q.lower()))
    return masks


def _is(wanted: str, address: str) -> bool:
    """Whether an address is the one, of the member, or of the role that is wanted."""
    return (
        address == wanted
        or address.startswith(f"{wanted}/")
        or (is_role(wanted) and matches(wanted, address))
    )


def _touching(opened: Opened, wanted: Callable[[str], bool]) -> Mask:
    """What goes from or to an address that is wanted, or is made by it or meant for it: the broker carries it."""
    index = opened.index
    meant = either(index.where("source", wanted), index.where("meant", wanted))
    return either(_carried(opened, wanted), meant)


def _carried(opened: Opened, wanted: Callable[[str], bool]) -> Mask:
    """What goes from or to an address that is wanted."""
    numbers = [number for number, address in opened.trace.parties.items() if wanted(address)]
    return either(opened.index.by("sender", numbers), opened.index.by("recipient", numbers))


def _with_code(opened: Opened, view: Perspective, code: str) -> Mask:
    index = opened.index
    if isinstance(view, OfResident):
        return index.at(number for number, outcome in view.outcomes.items() if outcome == code)
    refused = index.where("refused", code.__eq__)
    if isinstance(view, OfParties):
        # Who sent a line does not see what the gate at the other end made of it.
        refused = both(refused, index.by("recipient", opened.numbers_of(view.parties)))
    return either(index.where("code", code.__eq__), refused)


def _named(opened: Opened, text: str) -> Callable[[str], bool]:
    """Whether the text stands in a party's address or name, or its member's name."""
    names = opened.trace.names
    return lambda address: _says(text, address, names) or _says(text, member(address), names)


def _says(text: str, name: str, titles: Mapping[str, tuple[str, str]]) -> bool:
    return any(text in one.lower() for one in (name, *titles.get(name, ())))


def _search_outside(opened: Opened, text: str) -> list[Mask]:
    return [_carried(opened, _named(opened, text.lower()))] if text else []


def _search(opened: Opened, text: str) -> Mask:
    index = opened.index
    found = either(
        _touching(opened, _named(opened, text)), index.where("code", lambda name: text in name.lower())
    )
    for column, key in (("service", "services"), ("procedure", "procedures")):
        titles = dict(opened.trace.titles(key))
        found = either(found, index.where(column, lambda name, titles=titles: _says(text, name, titles)))  # type: ignore[misc]
    # Ids are many and long, so they are looked at last, and not where everything was found already.
    return found if 0 not in found else either(found, index.with_id(text))


# Pages.


def page(opened: Opened, wanted: Filters, offset: int, limit: int) -> dict[str, Any]:
    """The rows from an offset on, at most `PAGE_MAX`, and how many there are in all so far."""
    limit = min(limit, PAGE_MAX)
    view = opened.perspective(wanted.as_)
    if not opened.index.listed and wanted == Filters():
        # Before the index is there a row's number is its place, unless the run was interrupted.
        numbers, total = list(range(offset, min(offset + limit, opened.count))), opened.count
    else:
        places = select(opened, wanted)
        column = opened.index.columns["number"]
        numbers = [column[place] for place in places[offset : offset + limit]]
        early = [] if opened.index.listed else _early(opened, wanted)
        numbers += early[max(offset - len(places), 0) :][: limit - len(numbers)]
        total = len(places) + len(early)
    rows, note = [], None
    try:
        for sent in opened.transmissions(numbers):
            seen = view.see(sent)
            if seen is not None:
                rows.append(row(opened, seen, view))
    except Damage as damage:
        note = str(damage)
    return {"total": total, "offset": offset, "rows": rows, "note": note}


def _early(opened: Opened, wanted: Filters) -> list[int]:
    """What has the wanted id and was not read yet: who pastes a message's id need not wait for the index."""
    if wanted != Filters(q=wanted.q) or not _WHOLE_ID.fullmatch(wanted.q):
        return []
    return opened.early(wanted.q.lower())


def position(opened: Opened, wanted: Filters, number: int) -> int:
    """Where a transmission stands under the filters, or where it would; a resident names it by their own number."""
    view = opened.perspective(wanted.as_)
    if isinstance(view, OfResident):
        number = view.numbers[number] if number < len(view.numbers) else NUMBER_MAX
    if not opened.index.listed and wanted == Filters():
        return min(number, max(opened.count - 1, 0))
    places = select(opened, wanted)
    return bisect_left(places, opened.index.place_of(number))


def row(opened: Opened, seen: Seen, view: Perspective) -> dict[str, Any]:
    """One transmission as somebody sees it: what they cannot read is None."""
    sent = seen.sent
    made = row_seen(seen, view)
    for name in ("jws", "permit", "subject", "content"):
        del made[name]
    made |= {"permitted": None, "exchange": None}
    if isinstance(view, OfResident):
        # What is hidden must leave no gap, so that numbers of the whole run are nothing for a resident.
        made["exchange"] = made["index"]
    elif seen.readable:
        made |= {"permitted": sent.permit is not None, "exchange": opened.index.exchange_of(sent.number)}
    return made


def text_of(stated: dict[str, Any], name: str) -> str | None:
    """An attribute that is a text; anybody may have sent anything."""
    value = stated.get(name)
    return value if isinstance(value, str) else None
