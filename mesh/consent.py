"""Consents (同意): what a person lets a private firm, or a body that needs it, ask one provider about them.

The portal signs each consent, and tells each broker what changed since the version that it goes by: a *difference*,
which a broker takes whole or not at all. The provider gets the consent with the permit. Between agencies none is
needed: there the law permits and the ledger shows. How often a consent was used is counted where it is exact, at the
provider that it names.

Whose key counts is said by the consent's own `kid`: a portal that changed its key keeps what it signed before, and a
revoked key takes with it all that it signed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from mesh import jws
from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey
from mesh.message import CLOCK_TOLERANCE_US, Count, Kind, Permit, Request, decode, items_of
from mesh.names import member_of
from mesh.outgoing import sign_line
from mesh.view import KnownKey

Id = Annotated[str, Meta(max_length=64)]


class Consent(Struct, frozen=True, forbid_unknown_fields=True):
    """One person's consent: scope, purpose, term and number of uses. Times are µs since 1970."""

    id: Id
    provider: str
    """The node that may answer, and counts the uses."""
    firm: str
    """The member that may ask."""
    subject: str
    """The firm's own linkage code of the person."""
    procedure: str
    services: tuple[str, ...]
    items: tuple[str, ...]
    from_us: int
    """When it was given: its term begins then, and by then its key is judged."""
    until_us: int
    uses: int
    """How many answers may be given under it; that there is nothing on the person (`not_found`) is one, too."""


class Difference(Struct, frozen=True, forbid_unknown_fields=True):
    """What changed of a portal's consents from version `base` to `version`, without what is over by then.

    From 0 on it is all that is in force. A broker that goes by another version than `base` does not take it.
    """

    base: Count
    version: Count
    given: tuple[str, ...]
    """Each a JWS by the portal."""
    withdrawn: tuple[Id, ...]


class Use(NamedTuple):
    """What is asked under a consent: of whom, by which member, and for what."""

    provider: str
    firm: str
    procedure: str
    service: str
    items: frozenset[str]

    @classmethod
    def of(cls, message: Request | Permit) -> Use:
        """The use that a question, or the permit for one, makes; `schema_invalid` for items that are none."""
        asks, service = (
            (message.source, message.type)
            if isinstance(message, Request)
            else (message.requester, message.service)
        )
        items = items_of(message.items or "")
        return cls(message.recipient, member_of(asks), message.procedure or "", service, items)


class Given(NamedTuple):
    """A consent and the JWS that says it."""

    consent: Consent
    token: str


_NOT_COVERED = "the consent does not cover this question"

_consent_decoder = msgspec.json.Decoder(Consent)
_difference_decoder = msgspec.json.Decoder(Difference)


def sign_consent(consent: Consent, key: SigningKey) -> str:
    """The consent as a JWS by the portal; `Unsendable` if those who read it would refuse it."""
    return sign_line(consent, _consent_decoder, key, Kind.CONSENT).decode()


def sign_difference(difference: Difference, key: SigningKey) -> str:
    """The difference as a JWS by the portal; `Unsendable` if those who read it would refuse it."""
    return sign_line(difference, _difference_decoder, key, Kind.CONSENT).decode()


def read_consent(token: str, portal: VerifyKey) -> Consent:
    """A consent that the portal signed; any `MeshError` of a token, or schema_invalid."""
    return decode(jws.verify(token, portal, typ=Kind.CONSENT), _consent_decoder)


class Signers:
    """Whose word on consents counts: that of a portal whom the law names, by the key that signed it.

    `key_of(kid)` finds a verified key of the registry, and raises what is wrong with it; `is_portal(address)` says
    whether the law lets that node publish consents.
    """

    def __init__(self, key_of: Callable[[str], KnownKey], is_portal: Callable[[str], bool]) -> None:
        self._key_of = key_of
        self._is_portal = is_portal

    def read(self, token: str, now_us: int) -> tuple[Consent, str]:
        """A consent, and the portal that signed it.

        Raises `MeshError`: any of a token or of its key, consent_required for a signer who is no portal.
        """
        known = self._key_of(jws.parse(token).kid)
        if not self._is_portal(known.address):
            raise MeshError("consent_required", "consents come from the portal that the law names")
        consent = read_consent(token, known.verify_key)
        check_key(known, consent, now_us)
        return consent, known.address

    def standing(self, token: str, now_us: int) -> Consent | None:
        """A consent that was read before; None if its key counts no more, as it may have been revoked since."""
        read = jws.parse(token)
        consent = decode(read.payload, _consent_decoder)
        try:
            check_key(self._key_of(read.kid), consent, now_us)
        except MeshError:
            return None
        return consent

    def read_difference(self, token: str, portal: str, now_us: int) -> Difference:
        """What the portal that brings it says has changed; any `MeshError` of a token or of its key."""
        known = self._key_of(jws.parse(token).kid)
        if known.address != portal:
            raise MeshError("key_unknown", "the list is not signed by the portal that brings it")
        known.check(now_us)
        return decode(jws.verify(token, known.verify_key, typ=Kind.CONSENT), _difference_decoder)

    def read_given(self, difference: Difference, portal: str, now_us: int) -> list[Given]:
        """Every consent of a difference, or the first `MeshError` of one: then nothing of it counts."""
        found: dict[str, Given] = {}
        for token in difference.given:
            consent, signer = self.read(token, now_us)
            if signer != portal:
                raise MeshError("key_unknown", "a consent is not signed by the portal that brings it")
            if consent.id in found:
                raise MeshError("schema_invalid", "a list holds each consent once")
            found[consent.id] = Given(consent, token)
        return list(found.values())


def check_key(known: KnownKey, consent: Consent, now_us: int) -> None:
    """`MeshError` certificate_* unless the key was valid when the consent was given, and is not revoked by now."""
    known.check_since(consent.from_us, now_us)


class Kept(NamedTuple):
    """What a broker's database has of one consent."""

    token: str
    withdrawn: bool


class ConsentBook:
    """What a broker decides about consents; `find(id)` looks one up in its database, where all of them are.

    Nothing of it is held in memory, so nothing is ahead of what is committed.
    """

    def __init__(self, find: Callable[[str], Kept | None], signers: Signers) -> None:
        self._find = find
        self._signers = signers

    def check(
        self,
        consent_id: str | None,
        use: Use,
        subject: str,
        now_us: int,
    ) -> str:
        """The signed consent that covers the question; consent_required, _expired or _withdrawn."""
        kept = self._find(consent_id or "")
        consent = None if kept is None else self._signers.standing(kept.token, now_us)
        if kept is None or consent is None:
            raise MeshError("consent_required")
        if consent.subject != subject:
            raise MeshError("consent_required", _NOT_COVERED)
        check_scope(consent, use, now_us)
        if kept.withdrawn:
            raise MeshError("consent_withdrawn")
        return kept.token

    def is_withdrawn(self, consent_id: str) -> bool:
        """Whether its portal says that a consent was withdrawn."""
        kept = self._find(consent_id)
        return kept is not None and kept.withdrawn


class ConsentUses:
    """Consents at a provider: read once more, and each use counted where the count is exact.

    `used(consent_id)` says how many uses are committed. An answer under way counts as a use.
    """

    def __init__(self, signers: Signers, used: Callable[[str], int]) -> None:
        self._signers = signers
        self._used = used
        self._under_way: dict[str, int] = {}

    def check(
        self,
        token: str,
        use: Use,
        now_us: int,
    ) -> str:
        """The id of a consent that covers the question and has a use left.

        Raises `MeshError`: any of a token, consent_required, or consent_expired when it is used up.
        """
        try:
            consent, _ = self._signers.read(token, now_us)
        except MeshError as error:
            if error.code == "key_unknown" or error.code.startswith("certificate_"):
                raise MeshError("consent_required", "the consent's signer does not count") from None
            raise
        check_scope(consent, use, now_us)
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


def costs_use(code: str | None) -> bool:
    """Whether an outcome with that code (None for data) is a use of the consent.

    What the provider's records say is an answer: the data, or that there are none. That an office withholds them,
    wants to look itself, or has no copy yet is none: who consented is not to lose a use by it.
    """
    return code is None or code == "not_found"


def check_scope(consent: Consent, use: Use, now_us: int) -> None:
    """`consent_required` unless the consent covers the question, `consent_expired` outside its term.

    It is in force when it is given, by whatever clock; that it ends, nobody's clock puts off.
    """
    covers = (
        consent.provider == use.provider
        and consent.firm == use.firm
        and consent.procedure == use.procedure
        and use.service in consent.services
        and use.items <= frozenset(consent.items)
    )
    if not covers:
        raise MeshError("consent_required", _NOT_COVERED)
    if not consent.from_us - CLOCK_TOLERANCE_US <= now_us < consent.until_us:
        raise MeshError("consent_expired")
