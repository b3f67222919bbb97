"""Whether a message may go where it wants to: zone, law, consent, codes and rate, in this order.

Requests and pushes share this part of the broker's gate. It decides by who asks, for what and for which
items before anybody looks the person up.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mesh import jws
from mesh.consent import ConsentBook
from mesh.errors import MeshError
from mesh.exchange import digest_of
from mesh.ledger import Row
from mesh.linkage import CodeBook
from mesh.message import (
    Event,
    Kind,
    Permit,
    Receipt,
    Refusal,
    Reply,
    Request,
    decode_content,
    encode,
    format_time,
    items_of,
)
from mesh.names import BROKER, member_of
from mesh.party import PERMIT_LIFE_US, Party
from mesh.policy import NO_BASIS, LegalBasis, Policy
from mesh.view import KnownNode

_subject_decoder = msgspec.json.Decoder(str)


class RateLimit:
    """How many requests a second one peer may bring; approximate, since brokers do not share it."""

    def __init__(self, per_second_max: int | None = None) -> None:
        self.per_second_max = per_second_max
        self._windows: dict[str, tuple[int, int]] = {}

    def count(self, peer: str, monotonic_us: int) -> None:
        """Count one request; `rate_limited` above the limit."""
        if self.per_second_max is None:
            return
        second = monotonic_us // 1_000_000
        start, used = self._windows.get(peer, (second, 0))
        used = used + 1 if start == second else 1
        self._windows[peer] = (second, used)
        if used > self.per_second_max:
            raise MeshError("rate_limited")


class Authoriser:
    """The part of the gate that requests and pushes share: zone, law, consent, codes."""

    def __init__(self, party: Party, policy: Policy, codes: CodeBook, consents: ConsentBook) -> None:
        self.party = party
        self.policy = policy
        self.codes = codes
        self.consents = consents
        self.rates = RateLimit()

    def recipient(self, address: str, now_us: int) -> KnownNode:
        """To whom a message goes; `recipient_unknown` for whom nobody registered, or whose keys are revoked."""
        found = self.party.view.lookup(address)
        if found.is_revoked(now_us):
            raise MeshError("recipient_unknown", "the recipient's certificate was revoked")
        return found

    def check_zone(self, start: str, end: str, requester: str, provider: str) -> None:
        """`zone_forbidden` unless the two nodes may speak across their zones (三層分離)."""
        if not self.policy.may_cross(start, end, requester, provider):
            raise MeshError("zone_forbidden", f"{requester} in {start} has no path to {provider} in {end}")

    def basis_of(self, request: Request, items: frozenset[str], now_us: int) -> LegalBasis:
        """The row under which a request is lawful. Decided before anybody looks the person up."""
        policy = self.policy
        if request.source == self.party.address:
            # It takes every answer for one to be passed on, and would pass its own to itself for ever.
            raise MeshError("no_legal_basis", "the broker passes on what others ask, and asks nobody itself")
        if request.procedure is None or request.subject is None:
            if request.subject is not None or (policy.restricts(request.type) and request.procedure is None):
                raise MeshError("no_legal_basis", "the request names no procedure")
            if not policy.restricts(request.type):
                return NO_BASIS
        return policy.decide(
            request.source, request.procedure or "", request.recipient, request.type, items, now_us
        )

    def demands_consent(self, row: Row) -> bool:
        """Whether what the ledger says was permitted needed a consent; yes, where the law cannot say."""
        if row.procedure is None:
            return False
        try:
            items = items_of(row.items or "")
            return self.policy.decide(
                row.requester, row.procedure, row.provider or "", row.service or "", items, row.time_us
            ).consent
        except MeshError:
            return True

    def subject_of(self, message: Any, now_us: int) -> str:
        """The linkage code under a sealed subject; schema_invalid, or what kept the seal closed."""
        return decode_content(self.party.unseal(message.subject, message, now_us), _subject_decoder)

    def person_of(self, message: Any, now_us: int) -> bytes:
        """Whom a sealed subject means, by the sender's own code; linkage_code_*, or as `subject_of`."""
        return self.codes.person(self.subject_of(message, now_us), member_of(message.source))

    def was_permitted(
        self,
        answer: Reply | Refusal | Receipt,
        permit_line: bytes,
        requester: str,
        provider: str,
        service: str,
        now_us: int,
    ) -> bool:
        """Whether the permit beside a kept answer is the one that it names, given by a broker of this role for it."""
        if not permit_line or digest_of(permit_line) != answer.permitdigest:
            return False
        try:
            permit, _ = self.party.admit_permit(permit_line, now_us)
        except MeshError:
            return False
        stated = (permit.requestdigest, permit.requester, permit.recipient, permit.service)
        return stated == (answer.requestdigest, requester, provider, service)

    def permit(
        self,
        message: Any,
        digest: str,
        recipient: str,
        basis: LegalBasis,
        subject: str | None,
        now_us: int,
        *,
        consent: str | None = None,
        accepted: str | None = None,
    ) -> tuple[bytes, str]:
        """A signed permit for one delivery of the message, and its digest."""
        permit = Permit(
            broker=BROKER,
            requestdigest=digest,
            requester=message.source,
            recipient=recipient,
            service=message.type,
            procedure=basis.procedure if isinstance(message, Event) else message.procedure,
            items=None if isinstance(message, Event) else message.items,
            basis=basis.id,
            subject=subject,
            consent=consent,
            undisclosed=basis.undisclosed,
            subjectsmax=basis.subjects_max,
            registry=self.party.view.version,
            time=format_time(now_us),
            expiry=format_time(now_us + PERMIT_LIFE_US),
            accepted=accepted,
        )
        line = jws.sign(encode(permit), self.party.keys.signing, typ=Kind.PERMIT)
        return line, digest_of(line)
