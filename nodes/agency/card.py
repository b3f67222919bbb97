"""A resident's card (個人番号カード) with its signature certificate, and what a document signed with it is.

Rules kept here:
1. The private key stays in the card; only the holder's password makes it sign, and five wrong ones lock it.
2. A signed document is two tokens: the certificate, signed by J-LIS, and the document, signed by the card.

The real certificate also states the holder's name, address, birth date and sex; here it states serial number, key
and term, since a body knows from its own records whose serial number it is.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from mesh import base64url, jws
from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey, load_public_key
from mesh.message import decode, encode

TRIES_MAX: Final = 5
"""Wrong passwords for the signature key before the card locks it."""
CERTIFICATE: Final = "certificate"
DOCUMENT: Final = "document"
"""Kinds of token (`typ`)."""

Serial = Annotated[str, Meta(pattern="^sc-[0-9a-f]{16}$")]
Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
"""A compact JWS in a field of a service."""


class Certificate(Struct, frozen=True, forbid_unknown_fields=True):
    """A signature certificate (署名用電子証明書): whose key it is, by serial number, and its term."""

    serial: Serial
    key: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
    """The holder's Ed25519 key, base64url."""
    from_us: int
    until_us: int


class Signed(Struct, frozen=True, forbid_unknown_fields=True):
    """A document that a card signed."""

    certificate: Token
    document: Token


_decoder = msgspec.json.Decoder(Certificate)


class CardRefused(Exception):
    """The card did not sign: the password is wrong, or the key is locked."""


class Card:
    """One card in its holder's hand. `key` and `certificate` are what J-LIS and the city wrote into it."""

    def __init__(self, key: SigningKey, certificate: str, password: str) -> None:
        self._key = key
        self._password = password
        self._tries_left = TRIES_MAX
        self.certificate = certificate

    @property
    def serial(self) -> str:
        """The serial number of its certificate."""
        return decode(jws.parse(self.certificate).payload, _decoder).serial

    def sign(self, document: Struct, password: str) -> Signed:
        """Sign a document as its holder, who types the password. Raises `CardRefused`."""
        if not self._tries_left:
            raise CardRefused("the signature key is locked; the city unlocks it in person")
        if password != self._password:
            self._tries_left -= 1
            raise CardRefused("the password is wrong")
        self._tries_left = TRIES_MAX
        return Signed(self.certificate, jws.sign(encode(document), self._key, typ=DOCUMENT).decode())


def sign_certificate(certificate: Certificate, authority: SigningKey) -> str:
    """The certificate as a JWS by J-LIS."""
    return jws.sign(encode(certificate), authority, typ=CERTIFICATE).decode()


def read_certificate(token: str, authority: VerifyKey) -> Certificate:
    """A certificate that the authority signed; any `MeshError` of a token, or schema_invalid."""
    return decode(jws.verify(token, authority, typ=CERTIFICATE), _decoder)


def read_signed(signed: Signed, authority: VerifyKey) -> tuple[Certificate, bytes]:
    """The certificate and the bytes that its holder signed; whether it is in force J-LIS alone can say.

    Raises `MeshError`: signature_invalid if either signature does not hold, or as for any token.
    """
    certificate = read_certificate(signed.certificate, authority)
    key = load_public_key(base64url.decode_text(certificate.key))
    if jws.parse(signed.document).kid != key.kid:
        raise MeshError(
            "signature_invalid", "the document was signed with another key than the certificate's"
        )
    return certificate, jws.verify(signed.document, key, typ=DOCUMENT)
