"""One example of each kind of message, made of the structs that travel; each fits its schema."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from mesh.errors import CODES
from mesh.message import Event, Notice, Permit, Receipt, Refusal, RefusalData, Reply, Request
from mesh.names import BROKER
from mesh.services import Offer

_JWE = "eyJhbGciOiJFQ0RILUVTIn0..c2VhbGVk.c2VhbGVk.c2VhbGVk"
_TIME, _SOON = "2026-04-01T00:00:00.000000Z", "2026-04-01T00:00:30.000000Z"
_ID = "019d4650-0000-7000-8000-0000000000{:02x}"


class Examples:
    """Examples of one declaration, between two nodes that the law might name."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        roles = offer.requester_roles, offer.provider_roles
        self._sender, self._recipient = (_address(names[0] if names else "*/*/*") for names in roles)
        self._basis = offer.bases[0] if offer.bases else None

    def of(self, kind: str) -> Any:
        """The example as JSON."""
        if kind == "delivery":
            sent = "request" if self._offer.kind == "service" else self._offer.kind
            return [self.of(sent), self.of("permit")]
        example: Struct = getattr(self, f"_{kind}")()
        return msgspec.to_builtins(example)

    def _envelope(self, number: int, source: str, recipient: str) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": _ID.format(number),
            "source": source,
            "type": self._offer.name,
            "time": _TIME,
            "recipient": recipient,
        }

    def _asked(self) -> dict[str, Any]:
        """Subject, procedure and items, where the declaration has them."""
        about = self._offer.personal or self._offer.kind == "notice"
        return {
            "subject": _JWE if about else None,
            "procedure": self._basis.procedure if self._basis else ("example" if about else None),
            "items": " ".join(self._offer.items) if about else None,
        }

    def _request(self) -> Request:
        return Request(
            **self._envelope(1, self._sender, self._recipient),
            **self._asked(),
            datacontenttype="application/jose",
            expiry=_SOON,
            data=_JWE,
        )

    def _notice(self) -> Notice:
        return Notice(
            **self._envelope(1, self._sender, self._recipient),
            **self._asked(),
            datacontenttype="application/jose",
            expiry=_SOON,
            data=_JWE,
        )

    def _event(self) -> Event:
        return Event(**self._envelope(1, self._sender, BROKER), subject=_JWE, dataversion=1, expiry=_SOON)

    def _permit(self) -> Permit:
        asked = self._asked()
        return Permit(
            broker=BROKER,
            requestdigest="0" * 64,
            requester=self._sender,
            recipient=self._recipient,
            service=self._offer.name,
            procedure=asked["procedure"],
            items=asked["items"],
            basis=self._basis.id if self._basis else "none",
            registry=1,
            time=_TIME,
            expiry=_SOON,
        )

    def _reply(self) -> Reply:
        return Reply(
            **self._envelope(2, self._recipient, self._sender),
            datacontenttype="application/jose",
            requestdigest="0" * 64,
            permitdigest="1" * 64,
            data=_JWE,
        )

    def _refusal(self) -> Refusal:
        code = CODES["overloaded"]
        return Refusal(
            **self._envelope(2, BROKER, self._sender),
            datacontenttype="application/json",
            requestdigest="0" * 64,
            code=code.name,
            data=RefusalData(code.definite, code.text),
        )

    def _receipt(self) -> Receipt:
        return Receipt(**self._envelope(2, BROKER, self._sender), requestdigest="0" * 64)


def _address(role: str) -> str:
    """An address that has the role."""
    fillers = ("muni", "01208", "example")
    return "/".join(
        filler if part == "*" else part for part, filler in zip(role.split("/"), fillers, strict=True)
    )
