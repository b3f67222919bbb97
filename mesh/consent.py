"""Consents (同意): what a person lets a private firm, or a body that needs it, ask about them.

The portal signs each consent and a rising list of all that stand; brokers accept the list, the provider
gets the consent with the permit. Between agencies none is needed: there the law permits and the ledger
shows. How often a consent was used is counted where it is exact, at the recipient.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from mesh import jws
from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey
from mesh.message import Kind, decode, encode

Id = Annotated[str, Meta(max_length=64)]


class Consent(Struct, frozen=True, forbid_unknown_fields=True):
    """One person's consent: scope, purpose, term and number of uses."""

    id: Id
    firm: str
    """The member that may ask."""
    subject: str
    """The firm's own linkage code of the person."""
    procedure: str
    services: tuple[str, ...]
    items: tuple[str, ...]
    from_us: int
    until_us: int
    uses: int
    """How many answers may be given under it."""


class ConsentList(Struct, frozen=True, forbid_unknown_fields=True):
    """All consents that stand at a version, and the ids of those withdrawn."""

    version: int
    consents: tuple[str, ...]
    """Each a JWS by the portal."""
    withdrawn: tuple[Id, ...]


_consent_decoder = msgspec.json.Decoder(Consent)
_list_decoder = msgspec.json.Decoder(ConsentList)


def sign_consent(consent: Consent, key: SigningKey) -> str:
    """The consent as a JWS by the portal."""
    return jws.sign(encode(consent), key, typ=Kind.CONSENT).decode()


def sign_list(listing: ConsentList, key: SigningKey) -> str:
    """The list as a JWS by the portal."""
    return jws.sign(encode(listing), key, typ=Kind.CONSENT).decode()


def read_consent(token: str, portal: VerifyKey) -> Consent:
    """A consent that the portal signed; any `MeshError` of a token, or schema_invalid."""
    return decode(jws.verify(token, portal, typ=Kind.CONSENT), _consent_decoder)


class ConsentBook:
    """What a broker knows of consents: the newest list that it accepted."""

    def __init__(self) -> None:
        self.version = 0
        self._standing: dict[str, tuple[Consent, str]] = {}
        self._withdrawn: frozenset[str] = frozenset()

    def accept(self, token: str, portal: VerifyKey) -> int:
        """Take over a newer list; an older one is `registry_stale`. Returns the version."""
        listing = decode(jws.verify(token, portal, typ=Kind.CONSENT), _list_decoder)
        if listing.version <= self.version:
            raise MeshError("registry_stale", "a newer list of consents is known")
        read = [(read_consent(one, portal), one) for one in listing.consents]
        self._standing = {consent.id: (consent, one) for consent, one in read}
        self._withdrawn = frozenset(listing.withdrawn)
        self.version = listing.version
        return self.version

    def check(
        self,
        consent_id: str | None,
        *,
        firm: str,
        subject: str,
        procedure: str,
        service: str,
        items: frozenset[str],
        now_us: int,
    ) -> str:
        """The signed consent that covers the question; consent_required, _expired or _withdrawn."""
        found = self._standing.get(consent_id or "")
        if found is None:
            raise MeshError("consent_required")
        consent, token = found
        covers = (
            consent.firm == firm
            and consent.subject == subject
            and consent.procedure == procedure
            and service in consent.services
            and items <= frozenset(consent.items)
        )
        if not covers:
            raise MeshError("consent_required", "the consent does not cover this question")
        if not consent.from_us <= now_us < consent.until_us:
            raise MeshError("consent_expired")
        if consent.id in self._withdrawn:
            raise MeshError("consent_withdrawn")
        return token
