"""Compact JWS (RFC 7515) with Ed25519 (RFC 9864) and nothing else.

Rules kept here:
1. A header has exactly `alg`, `kid` and `typ`. `alg` is `Ed25519`; the polymorphic `EdDSA` is refused. Their order
   and blanks between them are free, since libraries differ in that: it is the bytes sent that are signed.
2. `kid` is the RFC 7638 thumbprint of the signing key, so a header fixes the key that it means.
3. What was signed is what is verified: the bytes on the wire, never a document encoded again.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from mesh import base64url
from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey, load_public_key
from mesh.parsing import parse_json

LINE_SIZE_MAX = 2**20
"""Bytes of a token, 1 MiB: longer ones are `message_too_large`."""
HEADER_KEPT_MAX = 256
"""Bytes of a header that is remembered: blanks between its members would fill the memory of who reads it."""

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_TYP = re.compile(r"[a-z][a-z0-9+./-]{0,63}")
_MEMBERS = frozenset({"alg", "kid", "typ"})


class Token(Struct, frozen=True, gc=False):
    """A token taken apart, its signature not verified yet."""

    kid: str
    typ: str
    signing_input: bytes
    payload: bytes
    signature: bytes


def sign(payload: bytes, key: SigningKey | Ed25519PrivateKey, *, typ: str) -> bytes:
    """Sign the payload; returns the compact JWS as ASCII bytes.

    `typ` is the kind of message: a lowercase media-type-like name, such as `request`.
    """
    if not isinstance(key, SigningKey):  # Asking for the abstract class would cost a search of its registry.
        key = SigningKey.from_seed(key.private_bytes_raw())
    signing_input = _header_of(key.public.kid, typ) + base64url.encode(payload)
    return signing_input + b"." + base64url.encode(key.sign(signing_input))


def verify(token: bytes | str, key: VerifyKey | Ed25519PublicKey, *, typ: str | None = None) -> bytes:
    """The payload of a token that the key signed.

    Raises `MeshError`: message_too_large, message_malformed (also for another `typ` than the one named),
    algorithm_unsupported, key_unknown (the header names another key), signature_invalid.
    """
    if isinstance(key, Ed25519PublicKey):
        key = load_public_key(key.public_bytes_raw())
    parsed = parse(token)
    if typ is not None and parsed.typ != typ:
        raise MeshError("message_malformed", "the token is of another kind")
    if parsed.kid != key.kid:
        raise MeshError("key_unknown", "the token names another key")
    key.verify(parsed.signature, parsed.signing_input)
    return parsed.payload


def parse(token: bytes | str) -> Token:
    """Take a token apart without verifying it; its form and algorithm are checked."""
    if type(token) is not bytes:
        token = _to_bytes(token)
    if len(token) > LINE_SIZE_MAX:
        raise MeshError("message_too_large")
    # With fewer or more than three parts, one of them is empty or holds a dot, and does not decode.
    signing_input, _, signature_text = token.rpartition(b".")
    header, _, body = signing_input.partition(b".")
    kid, typ, alg = (_read_header if len(header) <= HEADER_KEPT_MAX else _read_header.__wrapped__)(header)
    payload, signature = base64url.decode(body), base64url.decode(signature_text)
    if len(signature) != 64:
        raise MeshError("message_malformed", "a signature has 64 bytes")
    if alg != "Ed25519":
        raise MeshError("algorithm_unsupported")
    return Token(kid, typ, signing_input, payload, signature)


def _to_bytes(token: object) -> bytes:
    try:
        return token.encode("ascii") if isinstance(token, str) else bytes(memoryview(token))  # type: ignore[arg-type]
    except (UnicodeEncodeError, TypeError, ValueError):
        raise MeshError("message_malformed", "not a compact JWS") from None


@lru_cache(maxsize=65536)
def _header_of(kid: str, typ: str) -> bytes:
    if _TYP.fullmatch(typ) is None:
        raise ValueError(f"typ is a lowercase name, not {typ!r}")
    return base64url.encode(msgspec.json.encode({"alg": "Ed25519", "kid": kid, "typ": typ})) + b"."


@lru_cache(maxsize=65536)
def _read_header(segment: bytes) -> tuple[str, str, str]:
    """`kid`, `typ` and `alg` of a header: a few headers make all of the traffic, hence the cache."""
    header = parse_json(base64url.decode(segment))
    if not isinstance(header, dict) or header.keys() != _MEMBERS:
        raise MeshError("message_malformed", "a header has exactly alg, kid and typ")
    alg, kid, typ = header["alg"], header["kid"], header["typ"]
    if not (isinstance(alg, str) and isinstance(kid, str) and isinstance(typ, str)):
        raise MeshError("message_malformed", "alg, kid and typ are strings")
    if _THUMBPRINT.fullmatch(kid) is None or _TYP.fullmatch(typ) is None:
        raise MeshError("message_malformed", "kid is a thumbprint and typ a kind of message")
    return kid, typ, alg
