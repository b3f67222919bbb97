"""Consents (同意): what a person lets a private firm, or a body that needs it, ask about them.

The portal signs each consent and a rising list of all that stand; brokers accept the list, the provider
gets the consent with the permit. Between agencies none is needed: there the law permits and the ledger
shows. How often a consent was used is counted where it is exact, at the recipient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from mesh import jws
from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey
from mesh.message import Kind, decode
from mesh.outgoing import sign_line

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


_NOT_COVERED = "the consent does not cover this question"

_consent_decoder = msgspec.json.Decoder(Consent)
_list_decoder = msgspec.json.Decoder(ConsentList)


def sign_consent(consent: Consent, key: SigningKey) -> str:
    """The consent as a JWS by the portal; `Unsendable` if those who read it would refuse it."""
    return sign_line(consent, _consent_decoder, key, Kind.CONSENT).decode()


def sign_list(listing: ConsentList, key: SigningKey) -> str:
    """The list as a JWS by the portal; `Unsendable` if those who read it would refuse it."""
    return sign_line(listing, _list_decoder, key, Kind.CONSENT).decode()


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
        if consent.subject != subject:
            raise MeshError("consent_required", _NOT_COVERED)
        check_scope(consent, firm=firm, procedure=procedure, service=service, items=items, now_us=now_us)
        if consent.id in self._withdrawn:
            raise MeshError("consent_withdrawn")
        return token


class ConsentUses:
    """Consents at a provider: read once more, and each use counted where the count is exact.

    `key_of(kid)` finds address and key of a signer, `issues(address)` says whether the law names that node
    as the portal, `used(consent_id)` how many uses are committed. An answer under way counts as a use.
    """

    def __init__(
        self,
        key_of: Callable[[str], tuple[str, VerifyKey]],
        issues: Callable[[str], bool],
        used: Callable[[str], int],
    ) -> None:
        self._key_of = key_of
        self._issues = issues
        self._used = used
        self._under_way: dict[str, int] = {}

    def check(
        self, token: str, *, firm: str, procedure: str, service: str, items: frozenset[str], now_us: int
    ) -> str:
        """The id of a consent that covers the question and has a use left.

        Raises `MeshError`: any of a token, consent_required, or consent_expired when it is used up.
        """
        address, key = self._key_of(jws.parse(token).kid)
        if not self._issues(address):
            raise MeshError("consent_required", "consents come from the portal that the law names")
        consent = read_consent(token, key)
        check_scope(consent, firm=firm, procedure=procedure, service=service, items=items, now_us=now_us)
        if self._used(consent.id) + self._under_way.get(consent.id, 0) >= consent.uses:
            raise MeshError("consent_expired", "the consent is used up")
        return consent.id

    def hold(self, consent_id: str) -> None:
        """An answer under the consent is under way."""
        self._under_way[consent_id] = self._under_way.get(consent_id, 0) + 1

    def release(self, consent_id: str) -> None:
        """The answer was committed, or there is none."""
        left = self._under_way.pop(consent_id) - 1
        if left:
            self._under_way[consent_id] = left


def check_scope(
    consent: Consent, *, firm: str, procedure: str, service: str, items: frozenset[str], now_us: int
) -> None:
    """`consent_required` unless the consent covers the question, `consent_expired` outside its term."""
    covers = (
        consent.firm == firm
        and consent.procedure == procedure
        and service in consent.services
        and items <= frozenset(consent.items)
    )
    if not covers:
        raise MeshError("consent_required", _NOT_COVERED)
    if not consent.from_us <= now_us < consent.until_us:
        raise MeshError("consent_expired")
