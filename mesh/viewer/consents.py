"""The consents on a resident's page: scope, term, uses, and what its broker has confirmed of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from mesh import jws
from mesh.builtin import CONSENTS
from mesh.consent import Consent, Difference, costs_use
from mesh.errors import MeshError
from mesh.message import Kind
from mesh.recorder import Fate
from mesh.trace.perspective import EVERYTHING, Perspective
from mesh.trace.rows import Transmission
from mesh.trace.show import attributes_of
from mesh.viewer.opened import Opened
from mesh.viewer.rows import text_of

_consent_decoder = msgspec.json.Decoder(Consent)
_difference_decoder = msgspec.json.Decoder(Difference)


class _Published(NamedTuple):
    """One difference on its way to a broker; times are µs since the run began."""

    difference: Difference
    sent_us: int
    confirmed_us: int | None
    """When the broker's answer that it goes by it came back."""


def consents_of(opened: Opened, handle: str) -> list[dict[str, Any]]:
    """What the portal published of a resident's consents, the oldest first.

    `given_us` and `withdrawn_us` are when the broker's word came that it goes by it, None until then;
    `withdrawing_us` is when it was first told of a withdrawal.
    """
    start_us = opened.trace.start_us or 0
    codes = frozenset(opened.trace.codes_of(handle).values())
    found: dict[str, dict[str, Any]] = {}
    for published in _published(opened):
        for token in published.difference.given:
            consent = _read(token, _consent_decoder)
            if isinstance(consent, Consent) and consent.subject in codes:
                shown = found.setdefault(consent.id, _shown(consent, start_us))
                shown["given_us"] = _first(shown["given_us"], published.confirmed_us)
        for shown in (found[one] for one in published.difference.withdrawn if one in found):
            shown["withdrawing_us"] = _first(shown["withdrawing_us"], published.sent_us)
            shown["withdrawn_us"] = _first(shown["withdrawn_us"], published.confirmed_us)
    for id_ in _uses(opened, handle):
        if id_ in found:
            found[id_]["used"] += 1
    return list(found.values())


def _shown(consent: Consent, start_us: int) -> dict[str, Any]:
    stated: dict[str, Any] = msgspec.to_builtins(consent)
    del stated["subject"]  # The code is the firm's own of the person: nobody else's page says it.
    times = {"from_us": consent.from_us - start_us, "until_us": consent.until_us - start_us}
    return stated | times | {"given_us": None, "withdrawing_us": None, "withdrawn_us": None, "used": 0}


def _first(known_us: int | None, time_us: int | None) -> int | None:
    return time_us if known_us is None else known_us


def _published(opened: Opened) -> Iterator[_Published]:
    index, view = opened.index, opened.perspective(EVERYTHING)
    places = index.select(
        ("differences",),
        lambda: [index.where("service", CONSENTS.name.__eq__), index.where("kind", Kind.REQUEST.__eq__)],
    )
    for sent in opened.transmissions([index.columns["number"][place] for place in places]):
        token = _content(view, sent).get("listing")
        difference = _read(token, _difference_decoder) if isinstance(token, str) else None
        if isinstance(difference, Difference):
            yield _Published(difference, sent.sent_us, _confirmed_us(opened, view, sent, difference))


def _confirmed_us(
    opened: Opened, view: Perspective, sent: Transmission, difference: Difference
) -> int | None:
    exchange = opened.index.exchange_of(sent.number)
    places = [] if exchange is None else opened.index.places_of(exchange)
    for one in opened.transmissions([opened.index.columns["number"][place] for place in places]):
        came = one.message.kind == Kind.REPLY and one.fate == Fate.DELIVERED and one.recipient == sent.sender
        if came and _content(view, one).get("version") == difference.version:
            return one.arrived_us
    return None


def _content(view: Perspective, sent: Transmission) -> dict[str, Any]:
    seen = view.see(sent)
    return seen.content if seen is not None and isinstance(seen.content, dict) else {}


def _uses(opened: Opened, handle: str) -> Iterator[str]:
    """The consent that each use was of, as the providers recorded what they answered."""
    index = opened.index
    about = frozenset(index.about.get(handle, ()))
    places = index.select(("about", handle), lambda: [index.of(about)])
    consent_of: dict[tuple[str | None, str], str] = {}
    for sent in opened.transmissions([index.columns["number"][place] for place in places]):
        stated = attributes_of(sent.message) if sent.message.kind == Kind.REQUEST else {}
        consent = text_of(stated, "consent")
        if consent is not None:
            consent_of[text_of(stated, "source"), sent.message.id or ""] = consent
    for party, row in opened.rows_about(handle):
        if row.entry == "answered" and party == row.provider and costs_use(row.code):
            consent = consent_of.get((row.requester, row.id))
            if consent is not None:
                yield consent


def _read(token: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    """What a token says; whether it verifies is the message page's and `trace verify`'s to say."""
    try:
        return decoder.decode(jws.parse(token).payload)
    except (MeshError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
