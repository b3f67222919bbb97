"""Keys: loading foreign public keys, holding one's own, naming them, and deriving those of a simulation.

Rules kept here:
1. A public key from outside comes in through `load_public_key` or `load_seal_key`, which refuse every weak
   or ambiguous encoding; no other function makes a key object of foreign bytes.
2. A key's name (`kid`) is its RFC 7638 thumbprint, so that a name cannot be given to another key.
3. Every Ed25519 signature of a JWS is made by `SigningKey.sign` and checked by `VerifyKey.verify`, which
   count in `COUNTS`: the bench proves by it that no exchange skips one. Certificates are not counted.
4. A node's three keys are independent: each is derived from the seed of the simulation by its own label.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh import base64url
from mesh.errors import MeshError

P: Final = 2**255 - 19
"""The field of both curves (RFC 7748, section 4.1)."""
D: Final = -121665 * pow(121666, -1, P) % P
"""The constant of edwards25519: -x² + y² = 1 + D·x²·y² (RFC 8032, section 5.1)."""

_Y8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER_Y: Final = frozenset({0, 1, P - 1, _Y8, P - _Y8})
"""y of the eight points of edwards25519 whose order divides 8; a test derives it."""

SMALL_ORDER_U: Final = frozenset(
    {
        0,
        1,
        P - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
"""u of the points of curve25519 and of its twist whose order divides 8; a test derives it."""


KINDS: Final = ("signing", "sealing", "tls")
"""What a node's three keys are for; each may change alone."""


class Counts:
    """How many JWS signatures this process has made (`sign`) and checked (`verify`)."""

    __slots__ = ("sign", "verify")

    def __init__(self) -> None:
        self.sign = 0
        self.verify = 0


COUNTS: Final = Counts()


def thumbprint(crv: str, raw: bytes) -> str:
    """The RFC 7638 thumbprint of an octet key pair (RFC 8037): base64url of SHA-256, 43 characters.

    `crv` is `Ed25519` or `X25519`, `raw` the public key's 32 bytes.
    """
    canonical = f'{{"crv":"{crv}","kty":"OKP","x":"{base64url.encode_text(raw)}"}}'
    return base64url.encode_text(sha256(canonical.encode("ascii")).digest())


class VerifyKey:
    """An Ed25519 public key: `raw` (32 bytes), `kid`, and `key`, the object that X.509 wants.

    Made by `load_public_key` from foreign bytes; the constructor itself trusts its caller.
    """

    __slots__ = ("_verify", "key", "kid", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.kid = thumbprint("Ed25519", raw)
        self.key = Ed25519PublicKey.from_public_bytes(raw)
        self._verify = self.key.verify

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check an RFC 8032 signature over the data and count it; `MeshError` signature_invalid."""
        COUNTS.verify += 1
        try:
            self._verify(signature, data)
        except InvalidSignature:
            raise MeshError("signature_invalid") from None


def load_public_key(raw: bytes) -> VerifyKey:
    """A foreign Ed25519 public key of 32 bytes, checked as RFC 8032, section 5.1.3 asks and for its order.

    `MeshError` message_malformed for another length or a point off the curve; key_weak for a point of
    small order, with which one signature verifies many messages, and for a y that is not reduced, with
    which one key would have two names. What is no bytes at all is message_malformed too.
    """
    return _load_public_key(_of_32_bytes(raw, "an Ed25519 public key has 32 bytes"))


# The curve equation costs 100 µs, and a node's key is loaded several times around its enrolment.
@lru_cache(maxsize=4096)
def _load_public_key(raw: bytes) -> VerifyKey:
    # The top bit is the sign of x: both signs of a weak y are weak.
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= P or y in SMALL_ORDER_Y:
        raise MeshError("key_weak")
    # x² = (y² - 1) / (D·y² + 1) has a root exactly if the product of the two is a square (Euler).
    if pow((y * y - 1) * (D * y * y + 1), (P - 1) // 2, P) != 1:
        raise MeshError("message_malformed", "the Ed25519 public key is no point of the curve")
    return VerifyKey(raw)


class SigningKey:
    """An Ed25519 private key: `public`, `kid`, and `key`, the object that X.509 and TLS want."""

    __slots__ = ("_sign", "key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.key = key
        self._sign = key.sign
        self.public = VerifyKey(key.public_key().public_bytes_raw())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of an RFC 8032 seed of 32 bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def kid(self) -> str:
        """The thumbprint of the public half."""
        return self.public.kid

    def sign(self, data: bytes) -> bytes:
        """The RFC 8032 signature of the data, 64 bytes; counted."""
        COUNTS.sign += 1
        return self._sign(data)


class SealPublicKey:
    """An X25519 public key: `raw` (32 bytes), `kid` and `key`.

    Made by `load_seal_key` from foreign bytes; the constructor itself trusts its caller.
    """

    __slots__ = ("key", "kid", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.kid = thumbprint("X25519", raw)
        self.key = X25519PublicKey.from_public_bytes(raw)


def load_seal_key(raw: bytes) -> SealPublicKey:
    """A foreign X25519 public key of 32 bytes.

    `MeshError` message_malformed for another length; key_weak for a point of small order, whatever its
    ignored top bit, and for a u that is not reduced. RFC 7748 computes with the latter, but one key would
    then have several names. What is no bytes at all is message_malformed too.
    """
    raw = _of_32_bytes(raw, "an X25519 public key has 32 bytes")
    u = int.from_bytes(raw, "little")
    # A small u with the top bit set is refused here too: as a number it is above P.
    if u >= P or u in SMALL_ORDER_U:
        raise MeshError("key_weak")
    return SealPublicKey(raw)


def _of_32_bytes(raw: object, text: str) -> bytes:
    """A copy of bytes, bytearray or memoryview if it has 32; anything else is message_malformed."""
    # `bytes` would make a number into so many zeros and ask an object what it is; a view reads the buffer itself.
    if issubclass(type(raw), bytes | bytearray | memoryview):
        try:
            data = bytes(memoryview(raw))  # type: ignore[arg-type]
        except ValueError:  # A view that was released.
            data = b""
        if len(data) == 32:
            return data
    raise MeshError("message_malformed", text)


class SealingKey:
    """An X25519 private key: `public`, `kid`, and `key`."""

    __slots__ = ("key", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        self.key = key
        self.public = SealPublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def from_seed(cls, seed: bytes) -> SealingKey:
        """The key of an RFC 7748 scalar of 32 bytes."""
        return cls(X25519PrivateKey.from_private_bytes(seed))

    @property
    def kid(self) -> str:
        """The thumbprint of the public half."""
        return self.public.kid

    def exchange(self, peer: SealPublicKey) -> bytes:
        """The X25519 shared secret, 32 bytes; `MeshError` key_weak if it is all zero (RFC 7748, 6.1)."""
        try:
            return self.key.exchange(peer.key)
        except ValueError:
            raise MeshError("key_weak") from None


def derive(seed: bytes, *labels: str) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869) over the seed, different for every sequence of labels.

    Each label goes in with its length, so that ("a", "bc") and ("ab", "c") differ.
    """
    encoded = [label.encode("utf-8") for label in labels]
    info = b"".join(len(label).to_bytes(4, "big") + label for label in encoded)
    return HKDF(algorithm=SHA256(), length=32, salt=b"mesh.keys.derive.v1", info=info).derive(seed)


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The three private keys of one node; the registry binds their public halves to its address."""

    address: str
    signing: SigningKey
    sealing: SealingKey
    tls: SigningKey
    former: tuple[SealingKey, ...] = ()
    """Sealing keys of before that still open what was sealed for them, the newest last."""

    @classmethod
    def derived(cls, seed: bytes, address: str, generation: int = 0) -> NodeKeys:
        """The keys of a simulated node; a new generation has new keys. Live nodes never use this."""
        own = ("node", address, str(generation))
        return cls(
            address,
            SigningKey.from_seed(derive(seed, *own, "signing")),
            SealingKey.from_seed(derive(seed, *own, "sealing")),
            SigningKey.from_seed(derive(seed, *own, "tls")),
        )

    def changed(self, new: NodeKeys, kinds: Collection[str], *, revoked: bool = False) -> NodeKeys:
        """These keys with new ones of some kinds (`KINDS`) in their place.

        Former sealing keys go on opening what was sealed for them, unless they are revoked.
        """
        signing, sealing, tls = (getattr(new if kind in kinds else self, kind) for kind in KINDS)
        former = () if revoked else self.former
        if sealing is not self.sealing and not revoked:
            former = (*former, self.sealing)
        return NodeKeys(self.address, signing, sealing, tls, former)
