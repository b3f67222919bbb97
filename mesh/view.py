"""One party's knowledge of the registry: what it has verified, and what it may go by.

Rules kept here:
1. Nobody is believed but the root: a head is a JWS of its key, an entry counts with a proof of inclusion
   in a head, and its signing keys with a certificate chain. What a registry answers is a hint until then.
2. A view never goes back: it refuses a head of a lower version, and another one of its own version.
3. What was verified is shared by all views of a process, by digest, and never changes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from mesh import jws, merkle
from mesh.errors import MeshError
from mesh.keys import SealPublicKey, VerifyKey
from mesh.names import Zone, member_of
from mesh.parsing import decode
from mesh.registry import TYP, Entry, Head, Proven, load_keys

HEADS_KEPT: Final = 64
"""How many verified heads a process keeps ready for views that catch up."""

_head_decoder = msgspec.json.Decoder(Head)
_entry_decoder = msgspec.json.Decoder(Entry)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One generation of a node's verified keys, and when it counts, in µs since 1970."""

    address: str
    zone: Zone
    verify_key: VerifyKey
    seal_key: SealPublicKey
    valid_from_us: int
    valid_until_us: int
    revoked_us: int | None

    def check(self, at_us: int) -> None:
        """`MeshError` certificate_expired, _not_yet_valid or _revoked if it does not count at that time."""
        if at_us > self.valid_until_us:
            raise MeshError("certificate_expired")
        if at_us < self.valid_from_us:
            raise MeshError("certificate_not_yet_valid")
        if self.is_revoked(at_us):
            raise MeshError("certificate_revoked")

    def check_since(self, signed_us: int, now_us: int) -> None:
        """As `check` for what was signed then and still stands: `certificate_revoked` if the key was revoked by now."""
        self.check(signed_us)
        if self.is_revoked(now_us):
            raise MeshError("certificate_revoked")

    def is_revoked(self, at_us: int) -> bool:
        """Whether it is revoked at that time."""
        return self.revoked_us is not None and at_us >= self.revoked_us

    def counts(self, at_us: int) -> bool:
        """Whether it is neither expired nor revoked at that time."""
        return at_us <= self.valid_until_us and not self.is_revoked(at_us)


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A verified entry. `keys` are all its generations, the newest last, which `verify_key` and the others are of."""

    address: str
    member: str
    zone: Zone
    services: tuple[str, ...]
    events: tuple[str, ...]
    verify_key: VerifyKey
    seal_key: SealPublicKey
    tls_key: VerifyKey
    keys: tuple[KnownKey, ...]

    def check_seal_key(self, kid: str, at_us: int) -> None:
        """`MeshError` unless a sealing key of the node counts at that time: seal_key_revoked, or seal_invalid."""
        same = [key for key in self.keys if key.seal_key.kid == kid]
        if any(key.counts(at_us) for key in same):
            return
        if any(key.is_revoked(at_us) for key in same):
            raise MeshError("seal_key_revoked")
        raise MeshError("seal_invalid", "it is sealed for a key that expired, or for nobody's")

    def lapsed(self, at_us: int) -> int:
        """How many generations of its keys had expired by then, or were revoked: so often it may sign an answer anew."""
        return sum(not key.counts(at_us) for key in self.keys)

    def is_revoked(self, at_us: int) -> bool:
        """Whether its newest keys are revoked at that time: then nothing may be sealed for it, nor sent to it."""
        return self.keys[-1].is_revoked(at_us)


class RegistrySource(Protocol):
    """Where a view fetches: the registry, a copy of it in a trace, a connection.

    It raises nothing but `MeshError`. `entry` proves against the head that `head` gives next. `current` is
    that head while it stands, or empty when `head` has to be asked.
    """

    current: bytes

    def head(self) -> bytes:
        """The newest head, a compact JWS."""

    def entry(self, address: str) -> Proven | None:
        """An entry with its proof."""

    def address_of(self, kid: str) -> str | None:
        """Whose signing key this may be."""


class _Snapshot:
    """A verified head, and what has been proven to be under it."""

    __slots__ = ("head", "keys", "nodes", "renew_us", "root", "token")

    def __init__(self, token: bytes, head: Head) -> None:
        self.token = token
        self.head = head
        self.root = bytes.fromhex(head.root)
        self.renew_us = (head.time_us + head.next_update_us) // 2
        """Half of the head's life is over: a younger one should be had."""
        self.nodes: dict[str, KnownNode] = {}
        self.keys: dict[str, KnownKey] = {}


# Older than every real head and expired at any time; nothing is ever proven under it.
_NOTHING: Final = _Snapshot(b"no head yet", Head(0, merkle.EMPTY_ROOT.hex(), 0, 0, -1))


class Shared:
    """What the views of one process have verified, so that it is verified once."""

    def __init__(self) -> None:
        self._by_root: dict[bytes, _Verified] = {}

    def under(self, root_der: bytes) -> _Verified:
        """The part that was verified against this root certificate."""
        if root_der not in self._by_root:
            self._by_root[root_der] = _Verified(root_der)
        return self._by_root[root_der]


class _Verified:
    """Heads by their bytes and entries by their digest, verified against one root certificate."""

    __slots__ = ("_nodes", "_root_der", "_snapshots")

    def __init__(self, root_der: bytes) -> None:
        self._root_der = root_der
        self._snapshots: dict[bytes, _Snapshot] = {}
        self._nodes: dict[bytes, KnownNode] = {}

    def snapshot(self, token: bytes) -> _Snapshot:
        """The head of these bytes; any `MeshError` of a token, or schema_invalid."""
        from mesh.authority import root_key  # cryptography.x509 takes 50 ms to import.

        if token not in self._snapshots:
            payload = jws.verify(token, root_key(self._root_der), typ=TYP)
            made = _Snapshot(token, decode(payload, _head_decoder))
            if len(self._snapshots) >= HEADS_KEPT:
                del self._snapshots[next(iter(self._snapshots))]
            self._snapshots[token] = made
        return self._snapshots[token]

    def prove(self, snapshot: _Snapshot, address: str, proven: Proven) -> KnownNode:
        """Enter a node under a head; signature_invalid unless the proof holds."""
        data, path, index, _ = proven  # The size that counts is the signed one.
        leaf = merkle.leaf_hash(data)
        try:
            merkle.verify_inclusion(leaf, index, snapshot.head.size, path, snapshot.root)
        except MeshError:
            raise MeshError("signature_invalid", "the registry entry is not under the signed head") from None
        if leaf not in self._nodes:
            self._nodes[leaf] = _known_node(data, self._root_der)
        node = self._nodes[leaf]
        if node.address != address:
            raise MeshError("recipient_unknown", "the registry answered with another node's entry")
        snapshot.nodes[address] = node
        for key in node.keys:
            known = snapshot.keys.get(key.verify_key.kid)
            snapshot.keys[key.verify_key.kid] = key if known in (None, key) else _joined(known, key)
        return node


class View:
    """One node's knowledge of the registry: a reference to the newest head that it has seen.

    Every call first takes over a newer head, so that a revocation counts at once; while the registry
    gives none that can be accepted, the view goes on with the one it has.
    """

    __slots__ = ("_registry", "_snapshot", "_verified")

    def __init__(self, registry: RegistrySource, root_der: bytes, shared: Shared) -> None:
        self._registry = registry
        self._verified = shared.under(root_der)
        self._snapshot = _NOTHING

    @property
    def version(self) -> int:
        """The version of the head in use; 0 before the first."""
        return self._snapshot.head.version

    @property
    def time_us(self) -> int:
        """When the authority signed the head in use, µs since 1970; 0 before the first."""
        return self._snapshot.head.time_us

    def key(self, kid: str) -> KnownKey:
        """The signing key of this name; `MeshError` key_unknown, or what verifying its entry raised."""
        if self._registry.current is not self._snapshot.token:
            self._follow()
        known = self._snapshot.keys.get(kid)
        return self._find_key(kid) if known is None else known

    def signer(self, token: bytes | str, address: str) -> KnownKey:
        """Which key of a node, old or new, signed a token; sender_mismatch for another's, or as `key`.

        Its signature and its time are still to be checked.
        """
        known = self.key(jws.parse(token).kid)
        if known.address != address:
            raise MeshError("sender_mismatch", "it was signed by another party")
        return known

    def lookup(self, address: str) -> KnownNode:
        """The node of this address; `MeshError` recipient_unknown, or what verifying its entry raised."""
        if self._registry.current is not self._snapshot.token:
            self._follow()
        known = self._snapshot.nodes.get(address)
        return self._find_node(address) if known is None else known

    def catch_up(self, now_us: int) -> None:
        """Take over a younger head if the one in use has had half of its life, and there is one.

        Before a key is looked up: its certificate may have been renewed since.
        """
        if now_us >= self._snapshot.renew_us:
            with suppress(MeshError):
                self.refresh()

    def check_fresh(self, now_us: int) -> None:
        """`MeshError` registry_stale when the newest head to be had is past its next update."""
        if now_us >= self._snapshot.renew_us:
            self.catch_up(now_us)
            if now_us > self._snapshot.head.next_update_us:
                raise MeshError("registry_stale")

    def refresh(self) -> None:
        """Take over the registry's head.

        `MeshError` registry_stale for one of a lower version or another one of the same version, or what
        verifying it raised.
        """
        self._adopt(self._registry.head())

    def _follow(self) -> None:
        try:
            token = self._registry.head()
            if token is not self._snapshot.token:
                self._adopt(token)
        except MeshError:
            if self._snapshot is _NOTHING:
                raise

    def _adopt(self, token: bytes) -> None:
        fetched, own = self._verified.snapshot(token), self._snapshot
        if fetched.head.version < own.head.version:
            raise MeshError("registry_stale", "the registry offers an older head than is known here")
        if fetched.head.version == own.head.version and fetched.head != own.head:
            raise MeshError("registry_stale", "there are two registry heads of one version")
        self._snapshot = fetched

    def _find_key(self, kid: str) -> KnownKey:
        address = self._registry.address_of(kid)
        if address is not None:
            try:
                self._find_node(address)
            except MeshError as error:
                if error.code != "recipient_unknown":
                    raise
        known = self._snapshot.keys.get(kid)
        if known is None:
            raise MeshError("key_unknown")
        return known

    def _find_node(self, address: str) -> KnownNode:
        proven = self._registry.entry(address)
        if proven is None:
            raise MeshError("recipient_unknown")
        # Asking may have made the entry, and with it a new head.
        self._follow()
        return self._verified.prove(self._snapshot, address, proven)


def _joined(one: KnownKey, other: KnownKey) -> KnownKey:
    """A signing key that stayed when another key of its node changed: it counts while either generation does."""
    revoked = [key.revoked_us for key in (one, other)]
    return replace(
        other,
        valid_from_us=min(one.valid_from_us, other.valid_from_us),
        valid_until_us=max(one.valid_until_us, other.valid_until_us),
        revoked_us=None if None in revoked else max(at_us for at_us in revoked if at_us is not None),
    )


def _known_node(data: bytes, root_der: bytes) -> KnownNode:
    """The verified content of an entry; key_unknown if a certificate does not cover its key and time."""
    from mesh.authority import verify_chain

    entry = decode(data, _entry_decoder)
    known = []
    for record in entry.keys:
        signing, sealing, tls = load_keys(record)
        certificate = verify_chain(record.chain, root_der, address=entry.address)
        covered = certificate.not_before_us <= record.from_us <= record.until_us <= certificate.not_after_us
        if certificate.public.raw != record.sign or not covered:
            raise MeshError("key_unknown", "the certificate is for another key or another time")
        known.append(
            KnownKey(
                entry.address,
                entry.zone,
                signing,
                sealing,
                record.from_us,
                record.until_us,
                record.revoked_us,
            )
        )
    return KnownNode(
        entry.address,
        member_of(entry.address),
        entry.zone,
        entry.services,
        entry.events,
        signing,
        sealing,
        tls,
        tuple(known),
    )
