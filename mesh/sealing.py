"""Sealed content: compact JWE (RFC 7516), ECDH-ES over X25519 (RFC 8037) with A256GCM, and nothing else.

Rules kept here:
1. A header has exactly `alg enc epk apu apv kid typ cty`; `apu` and `apv` name sender and recipient and
   enter the key derivation (RFC 7518 section 4.6), so a seal says for whom and by whom it was made. Order and
   blanks are free, as in a JWS.
2. A channel's 96-bit IV is a rising counter, so key and IV never repeat while its ephemeral key is fresh.
   How long a channel lives, and where fresh ephemerals come from, is in `mesh.channels`.
3. What is sealed is padded, and what opens has its one padding (`mesh.padding`).
"""

from __future__ import annotations

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from mesh import base64url
from mesh.errors import MeshError
from mesh.keys import SealingKey, SealPublicKey, load_seal_key
from mesh.padding import padded, unpadded
from mesh.parsing import decode

_NONCE_SIZE = 12
_NONCE_TEXT = 16
_TAG_SIZE = 16
_TAG_TEXT = 22


class _Epk(msgspec.Struct, forbid_unknown_fields=True):
    crv: str
    kty: str
    x: str


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    apu: str
    apv: str
    cty: str
    enc: str
    epk: _Epk
    kid: str
    typ: str


_decode_header = msgspec.json.Decoder(_Header)


class Channel:
    """One sender's ephemeral key towards one recipient; counts its messages."""

    __slots__ = ("_aad", "_cipher", "born_us", "uses")

    def __init__(
        self, ephemeral: SealingKey, to: SealPublicKey, *, apu: str, apv: str, born_us: int = 0
    ) -> None:
        header = _Header(
            alg="ECDH-ES",
            apu=base64url.encode_text(apu.encode()),
            apv=base64url.encode_text(apv.encode()),
            cty="json",
            enc="A256GCM",
            epk=_Epk("X25519", "OKP", base64url.encode_text(ephemeral.public.raw)),
            kid=to.kid,
            typ="sealed",
        )
        self._aad = base64url.encode(msgspec.json.encode(header))
        self._cipher = _derive(ephemeral.exchange(to), apu.encode(), apv.encode())
        self.born_us = born_us
        self.uses = 0

    def seal(self, document: bytes) -> str:
        """The compact JWE of a JSON object, padded; the counter rises before the cipher runs."""
        plaintext = padded(document)
        nonce = self.uses.to_bytes(_NONCE_SIZE, "big")
        self.uses += 1
        sealed = self._cipher.encrypt(nonce, plaintext, self._aad)
        # The nonce fills whole groups of characters, so that nonce and tag are encoded as one.
        ends, content = base64url.encode(nonce + sealed[-_TAG_SIZE:]), base64url.encode(sealed[:-_TAG_SIZE])
        return b".".join((self._aad, b"", ends[:_NONCE_TEXT], content, ends[_NONCE_TEXT:])).decode("ascii")


def seal(document: bytes, to: SealPublicKey, *, ephemeral: SealingKey, apu: str, apv: str) -> str:
    """Seal a JSON object once for `to`. The ephemeral key must be fresh: its counter starts at zero."""
    return Channel(ephemeral, to, apu=apu, apv=apv).seal(document)


def open_sealed(
    token: str | bytes, key: SealingKey, *, apu: str | None = None, apv: str | None = None
) -> bytes:
    """The document under one seal, opened with the recipient's private key.

    `apu` and `apv`, where given, must be the sender and recipient that the header names. Raises `MeshError`:
    seal_invalid, or key_weak for a small-order ephemeral.
    """
    parts = split(token)
    sender, recipient, cipher = read_header(parts[0], key)
    if apu not in (None, sender) or apv not in (None, recipient):
        raise MeshError("seal_invalid")
    return decrypt(cipher, parts)


def split(token: str | bytes) -> list[bytes]:
    """The five parts of a compact JWE; the second, an encrypted key, is empty with ECDH-ES."""
    try:
        parts = (token.encode("ascii") if isinstance(token, str) else bytes(memoryview(token))).split(b".")
    except (UnicodeEncodeError, TypeError, ValueError):
        raise MeshError("seal_invalid") from None
    if len(parts) != 5 or parts[1]:
        raise MeshError("seal_invalid")
    return parts


def _derive(secret: bytes, apu: bytes, apv: bytes) -> AESGCM:
    fields = (b"A256GCM", apu, apv)
    info = b"".join(len(field).to_bytes(4, "big") + field for field in fields) + (256).to_bytes(4, "big")
    return AESGCM(ConcatKDFHash(SHA256(), 32, info).derive(secret))


def key_of(segment: bytes) -> str:
    """The name (`kid`) of the key that a header was made for; `seal_invalid` if it is none."""
    try:
        return decode(base64url.decode(segment), _decode_header).kid
    except MeshError:
        raise MeshError("seal_invalid") from None


def read_header(segment: bytes, key: SealingKey) -> tuple[str, str, AESGCM]:
    """Sender, recipient and cipher of a header that was made for the key."""
    try:
        header = decode(base64url.decode(segment), _decode_header)
        apu, apv = base64url.decode_text(header.apu), base64url.decode_text(header.apv)
        fixed = (header.alg, header.enc, header.cty, header.typ, header.epk.crv, header.epk.kty)
        if fixed != ("ECDH-ES", "A256GCM", "json", "sealed", "X25519", "OKP") or header.kid != key.public.kid:
            raise MeshError("seal_invalid")
        epk = load_seal_key(base64url.decode_text(header.epk.x))
        return apu.decode(), apv.decode(), _derive(key.exchange(epk), apu, apv)
    except MeshError as error:
        raise MeshError("key_weak" if error.code == "key_weak" else "seal_invalid") from None
    except UnicodeDecodeError:
        raise MeshError("seal_invalid") from None


def decrypt(cipher: AESGCM, parts: list[bytes]) -> bytes:
    """The document under the seal; `seal_invalid` if any bit of the parts was changed, or its padding is not its own."""
    header, _, nonce, ciphertext, tag = parts
    if len(nonce) != _NONCE_TEXT or len(tag) != _TAG_TEXT:
        raise MeshError("seal_invalid")
    try:
        ends = base64url.decode(nonce + tag)
        sealed = base64url.decode(ciphertext) + ends[_NONCE_SIZE:]
        return unpadded(cipher.decrypt(ends[:_NONCE_SIZE], sealed, header))
    except (MeshError, InvalidTag):
        raise MeshError("seal_invalid") from None
