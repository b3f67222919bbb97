"""A resident's page: who asked what about them, their letters and their consents, as the portal would show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mesh.message import Kind
from mesh.recorder import Fate
from mesh.trace.history import NoCode, history
from mesh.trace.perspective import EVERYTHING, OfResident, Text
from mesh.trace.recheck import ASKS
from mesh.trace.rows import Transmission
from mesh.trace.show import attributes_of
from mesh.viewer.consents import consents_of
from mesh.viewer.opened import Opened
from mesh.viewer.rows import text_of


def resident(opened: Opened, handle: str, name: str = EVERYTHING, *, hidden: bool = False) -> dict[str, Any]:
    """The page of a handle; `hidden` is the inspector's view, which a resident never has."""
    view = opened.perspective(name)
    return {
        "person": handle,
        "rows": _rows(opened, handle, hidden=hidden and view.shows(Text.RUN)),
        "letters": list(_letters(opened, handle, own=not view.shows(Text.RUN))),
        "consents": consents_of(opened, handle),
        "end_us": opened.index.columns["sent_us"][-1] if len(opened.index) else 0,
    }


def _rows(opened: Opened, handle: str, *, hidden: bool) -> list[dict[str, Any]]:
    try:
        rows = opened.broker_rows_about(handle)
        found: list[dict[str, Any]] = history(opened.trace, handle, hidden=hidden, rows=rows)["rows"]
    except NoCode:
        return []
    start_us = opened.trace.start_us or 0
    kinds = _kinds(opened, handle)
    return [
        row | {"time_us": row["time_us"] - start_us, "kind": kinds.get(row["service"], Kind.REQUEST)}
        for row in found
    ]


def _kinds(opened: Opened, handle: str) -> dict[str, str]:
    """Which services ask about the person, and which tell: nobody asks for an event or a letter."""
    index, about = opened.index, frozenset(opened.index.about.get(handle, ()))
    places = index.select(("about", handle), lambda: [index.of(about)])
    kinds, services = (index.names[one] for one in ("kind", "service"))
    pairs = {(index.columns["service"][place], index.columns["kind"][place]) for place in places}
    return {services[service]: kinds[kind] for service, kind in sorted(pairs) if kinds[kind] in ASKS}


def _letters(opened: Opened, handle: str, *, own: bool) -> Iterator[dict[str, Any]]:
    """Letters that came to the portal, opened as the resident reads them; `own` numbers them as the resident does."""
    view = opened.perspective(handle)
    for place, sent in enumerate(opened.transmissions(view.numbers if isinstance(view, OfResident) else ())):
        seen = view.see(sent) if sent.message.kind == Kind.NOTICE else None
        came = None if seen is None else _delivery(opened, sent)
        if seen is None or came is None:
            continue
        stated = attributes_of(sent.message)
        yield {
            "index": place if own else sent.number,
            "time_us": came.arrived_us,
            "id": sent.message.id,
            "from": text_of(stated, "source"),
            "to": sent.recipient,
            "service": sent.message.service,
            "procedure": text_of(stated, "procedure"),
            "content": seen.content,
        }


def _delivery(opened: Opened, sent: Transmission) -> Transmission | None:
    """The first try by which a letter reached its inbox."""
    exchange = opened.index.exchange_of(sent.number)
    places = [] if exchange is None else opened.index.places_of(exchange)
    tries = opened.transmissions([opened.index.columns["number"][place] for place in places])
    return next(
        (
            one
            for one in tries
            if one.permit is not None and one.recipient == sent.recipient and one.fate == Fate.DELIVERED
        ),
        None,
    )
