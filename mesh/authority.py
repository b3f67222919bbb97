"""The mesh authority: an X.509 root, one CA per member, one certificate per node's signing key.

Rules kept here:
1. Ed25519 everywhere, and one profile: a certificate has exactly the extensions that `_extensions` lists,
   when it is issued and when it is verified (RFC 5280, section 4.2). One that carries others is refused.
2. Nothing is drawn here: keys come from the seed, dates from mesh time, and a serial number from the seed
   and what is certified, so that a certificate does not depend on what was issued before it.
3. Time is not judged here: `verify_chain` returns when the chain is valid, and the gate decides.
4. There are no revocation lists. A revocation stands in the node's registry entry, whose signed head is
   younger than any list would be.

The root's key also signs the registry's heads, so that a party needs one anchor for both.
`cryptography.x509` takes 50 ms to import: other rooms import this one where they first need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey, derive, load_public_key
from mesh.names import check_address, member_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000
# It reaches back as well: a scenario may need a node whose certificate has long expired.
_CA_BEFORE: Final = timedelta(days=20 * 365)
NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""What a certificate says that has no well-defined end (RFC 5280, section 4.1.2.5): the authority outlives every run."""
_ROOT_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Public Service Mesh Simulator")])


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a verified chain says; the times, µs since 1970, are those at which all of it is valid."""

    address: str
    public: VerifyKey
    not_before_us: int
    not_after_us: int
    serial: int


@dataclass(frozen=True, slots=True)
class _Issuer:
    name: x509.Name
    key: SigningKey


class Authority:
    """The root of a simulation, and the CAs of its members, each made at first use.

    `seed` is the simulation's, `now_us` mesh time in µs since 1970.
    """

    def __init__(self, seed: bytes, now_us: int) -> None:
        self._seed = seed
        self._lifetime = (_time(now_us // _SECOND_US) - _CA_BEFORE, NO_END)
        self.signing = SigningKey.from_seed(derive(seed, "authority", "root"))
        """The root's key, with which registry heads are signed."""
        self._root = _Issuer(_ROOT_NAME, self.signing)
        self.root_der = self._certify(self._root, _ROOT_NAME, self.signing.public, path_length=1)
        """The root certificate, DER."""
        self._members: dict[str, tuple[_Issuer, bytes]] = {}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root certificate, 64 hex digits: what a person compares."""
        return sha256(self.root_der).hexdigest()

    def issue(
        self, address: str, public: VerifyKey, *, not_before_us: int, not_after_us: int
    ) -> tuple[bytes, ...]:
        """Certify a node's signing key; returns the chain (node, member) as DER, without the root.

        X.509 counts whole seconds, so the times are rounded outwards. `MeshError` recipient_unknown if
        the address is none.
        """
        issuer, der = self._member(member_of(check_address(address)))
        lifetime = (_time(not_before_us // _SECOND_US), _time(-(-not_after_us // _SECOND_US)))
        leaf = self._certify(issuer, _node_name(address), public, address=address, lifetime=lifetime)
        return leaf, der

    def _member(self, member: str) -> tuple[_Issuer, bytes]:
        if member not in self._members:
            key = SigningKey.from_seed(derive(self._seed, "authority", "member", member))
            der = self._certify(self._root, _member_name(member), key.public, path_length=0)
            self._members[member] = (_Issuer(_member_name(member), key), der)
        return self._members[member]

    def _certify(
        self,
        issuer: _Issuer,
        subject: x509.Name,
        public: VerifyKey,
        *,
        path_length: int | None = None,
        address: str = "",
        lifetime: tuple[datetime, datetime] | None = None,
    ) -> bytes:
        not_before, not_after = lifetime or self._lifetime
        dates = (not_before.isoformat(), not_after.isoformat())
        drawn = derive(self._seed, "serial", subject.rfc4514_string(), public.raw.hex(), *dates)
        # A serial number is positive and at most 20 octets long (RFC 5280, section 4.1.2.2).
        serial = (int.from_bytes(drawn[:16], "big") >> 1) + 1
        builder = x509.CertificateBuilder(issuer.name, subject, public.key, serial, not_before, not_after)
        for extension in _extensions(public.raw, issuer.key.public.raw, path_length, address):
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(issuer.key.key, None).public_bytes(Encoding.DER)


def verify_chain(chain: Sequence[bytes], root_der: bytes, *, address: str) -> Certificate:
    """Check that the chain (node, member) leads from this address to the root, as `issue` makes it.

    `MeshError` message_malformed for bytes that are no certificate, key_weak for a certified weak key,
    key_unknown for any other defect, recipient_unknown if `address` is none. Whether the chain is valid
    at some time is left to the caller. The member's part is verified once per process.
    """
    # cryptography.x509.verification knows the algorithms of the WebPKI only: it refuses Ed25519 and
    # offers no way to allow it (pyca/cryptography issue 13391). So the path is walked here; it has one
    # shape, and one comparison of all extensions covers what a general validator decides piece by piece.
    member = member_of(check_address(address))
    if len(chain) != 2:
        raise MeshError("key_unknown", "a chain is a node's and its member's certificate")
    root = _verified_root(bytes(root_der))
    issuer = _verified_member(bytes(chain[1]), bytes(root_der), member)
    leaf = _parse(chain[0])
    public = _check(leaf, issuer, _node_name(address), None, address)
    path = (leaf, issuer, root)
    return Certificate(
        address,
        public,
        max((part.not_valid_before_utc - _EPOCH) // _MICROSECOND for part in path),
        min((part.not_valid_after_utc - _EPOCH) // _MICROSECOND for part in path),
        leaf.serial_number,
    )


def root_key(root_der: bytes) -> VerifyKey:
    """The key of a root certificate, for registry heads; fails as `verify_chain` does."""
    root = _verified_root(bytes(root_der))
    return _public_of(root)


@lru_cache(maxsize=8)
def _verified_root(root_der: bytes) -> x509.Certificate:
    root = _parse(root_der)
    _check(root, root, _ROOT_NAME, 1, "")
    return root


@lru_cache(maxsize=4096)
def _verified_member(der: bytes, root_der: bytes, member: str) -> x509.Certificate:
    certificate = _parse(der)
    _check(certificate, _verified_root(root_der), _member_name(member), 0, "")
    return certificate


def _parse(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(bytes(der))
    except Exception:  # A parser of foreign bytes promises no list of what it raises.
        raise MeshError("message_malformed", "not an X.509 certificate") from None


def _check(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    subject: x509.Name,
    path_length: int | None,
    address: str,
) -> VerifyKey:
    """The certified key, once signature, names and extensions are what the profile says."""
    public, issuer_raw = _public_of(certificate), _public_of(issuer).raw
    try:
        # This compares issuer and subject, and the two places that name the algorithm. It comes first:
        # what is decoded after it was at least signed by somebody we trust.
        certificate.verify_directly_issued_by(issuer)
        wanted = {part.oid: part for part in _extensions(public.raw, issuer_raw, path_length, address)}
        held = (
            certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
            and certificate.subject == subject
            and {part.oid: part for part in certificate.extensions} == wanted
        )
    except Exception:  # InvalidSignature, TypeError, ValueError and the decoders' own.
        held = False
    if not held:
        raise MeshError("key_unknown", "the certificate chain does not lead from the node to the mesh's root")
    return public


def _public_of(certificate: x509.Certificate) -> VerifyKey:
    try:
        key = certificate.public_key()
    except Exception:  # ValueError, UnsupportedAlgorithm and the decoders' own.
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise MeshError("key_unknown", "a certificate of the mesh holds an Ed25519 key")
    return load_public_key(key.public_bytes_raw())


def _extensions(
    raw: bytes, issuer_raw: bytes, path_length: int | None, address: str
) -> Iterator[x509.Extension[x509.ExtensionType]]:
    """The whole profile. `path_length` is None for a node's certificate, which alone has an address."""
    is_ca, is_root = path_length is not None, raw == issuer_raw
    usage = x509.KeyUsage(
        # A node signs messages, the root signs registry heads, a member's CA signs certificates alone.
        digital_signature=not is_ca or is_root,
        key_cert_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    yield _extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
    yield _extension(usage, critical=True)
    yield _extension(x509.SubjectKeyIdentifier(_key_identifier(raw)))
    yield _extension(x509.AuthorityKeyIdentifier(_key_identifier(issuer_raw), None, None))
    if address:
        yield _extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:mesh:{address}")]))


def _extension(value: x509.ExtensionType, *, critical: bool = False) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


def _key_identifier(raw: bytes) -> bytes:
    """RFC 7093, section 2, method 1: 160 bits of SHA-256, where RFC 5280 has SHA-1."""
    return sha256(raw).digest()[:20]


def _node_name(address: str) -> x509.Name:
    # An address may be longer than the 64 characters of a common name; its two halves never are.
    member = member_of(address)
    return _name(member, address[len(member) + 1 :])


def _member_name(member: str) -> x509.Name:
    return _name(member, "CA of the member")


def _name(organization: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _time(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
