"""A resident's page: who asked what about them, their letters and their consents, as the portal would show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mesh import jws
from mesh.builtin import CONSENTS
from mesh.consent import Consent, ConsentList
from mesh.errors import MeshError
from mesh.message import Kind
from mesh.names import BROKER
from mesh.recorder import Fate
from mesh.trace.history import NoCode, history
from mesh.trace.perspective import EVERYTHING, OfResident
from mesh.trace.recheck import ASKS
from mesh.trace.rows import Transmission
from mesh.trace.show import attributes_of
from mesh.viewer.opened import Opened
from mesh.viewer.rows import text_of

_consent_decoder = msgspec.json.Decoder(Consent)
_list_decoder = msgspec.json.Decoder(ConsentList)


def resident(opened: Opened, handle: str, name: str = EVERYTHING, *, hidden: bool = False) -> dict[str, Any]:
    """The page of a handle; `hidden` is the inspector's view, which a resident never has."""
    view = opened.perspective(name)
    return {
        "person": handle,
        "rows": _rows(opened, handle, hidden=hidden and view.knows_run),
        "letters": list(_letters(opened, handle, own=not view.knows_run)),
        "consents": _consents(opened, handle),
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


def _consents(opened: Opened, handle: str) -> list[dict[str, Any]]:
    """What the portal published of the resident's consents: scope, term, uses, and when it was withdrawn."""
    start_us = opened.trace.start_us or 0
    codes = frozenset(opened.trace.codes_of(handle).values())
    found: dict[str, dict[str, Any]] = {}
    for time_us, listing in _listings(opened):
        for token in listing.consents:
            consent = _read(token, _consent_decoder)
            if isinstance(consent, Consent) and consent.subject in codes:
                # The code is the firm's own of the person: nobody else's page says it.
                stated = msgspec.to_builtins(consent)
                del stated["subject"]
                stated |= {"from_us": consent.from_us - start_us, "until_us": consent.until_us - start_us}
                found.setdefault(consent.id, stated | {"withdrawn_us": None, "used": 0})
        for id_ in listing.withdrawn:
            if id_ in found and found[id_]["withdrawn_us"] is None:
                found[id_]["withdrawn_us"] = time_us
    for id_ in _uses(opened, handle):
        if id_ in found:
            found[id_]["used"] += 1
    return list(found.values())


def _listings(opened: Opened) -> Iterator[tuple[int, ConsentList]]:
    index, view = opened.index, opened.perspective(EVERYTHING)
    places = index.select(
        ("listings",),
        lambda: [index.where("service", CONSENTS.name.__eq__), index.where("kind", Kind.REQUEST.__eq__)],
    )
    for sent in opened.transmissions([index.columns["number"][place] for place in places]):
        seen = view.see(sent)
        token = seen.content.get("listing") if seen is not None and isinstance(seen.content, dict) else None
        listing = _read(token, _list_decoder) if isinstance(token, str) else None
        if isinstance(listing, ConsentList):
            yield sent.sent_us, listing


def _uses(opened: Opened, handle: str) -> Iterator[str]:
    """The consent under which each exchange about the resident was answered."""
    index = opened.index
    about = frozenset(index.about.get(handle, ()))
    places = index.select(("about", handle), lambda: [index.of(about)])
    consent_of: dict[int, str] = {}
    for sent in opened.transmissions([index.columns["number"][place] for place in places]):
        exchange = index.exchange_of(sent.number)
        if exchange is None:
            continue
        consent = text_of(attributes_of(sent.message), "consent")
        if consent is not None:
            consent_of[exchange] = consent
        elif sent.message.kind == Kind.REPLY and sent.sender == BROKER and exchange in consent_of:
            yield consent_of.pop(exchange)


def _read(token: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    """What a token says; whether it verifies is the message page's and `trace verify`'s to say."""
    try:
        return decoder.decode(jws.parse(token).payload)
    except (MeshError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
