"""The registry: who takes part, with which keys; signed as one head over one Merkle leaf per node.

Rules kept here:
1. Nobody is believed but the root. A head is a JWS of its key, an entry counts with a proof of inclusion
   in a head, a signing key with a certificate chain; what the registry answers is a hint until then.
2. A view never goes back: it refuses a head of a lower version, and another one of its own version. It
   goes on with the head that it has, until that expires.
3. What was verified is shared by all views of a process, by digest, and never changes.
4. Nothing is made before it is used: neither an entry, nor its keys, nor the signature of a head.
5. Old keys stay listed and a revocation stays: a push is judged at the time at which the broker accepted
   it, when its key may have been replaced since.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec
from msgspec import Meta, Struct

from mesh import jws, merkle
from mesh.errors import MeshError
from mesh.keys import NodeKeys, SealPublicKey, VerifyKey, load_public_key, load_seal_key
from mesh.names import Zone, check_address, member_of
from mesh.parsing import decode

if TYPE_CHECKING:
    from mesh.authority import Authority

TYP: Final = "registry"
HEADS_KEPT: Final = 64
"""How many verified heads a process keeps ready for views that catch up."""

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Proven = tuple[bytes, list[bytes], int, int]
"""An entry's bytes, its inclusion path, its index, and the size of the tree."""


class KeyRecord(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One generation of a node's public keys, 32 bytes each, and when they count, in µs since 1970.

    `chain` certifies `sign`: DER, without the root. In JSON, bytes are base64 (RFC 4648, section 4).
    """

    sign: bytes
    seal: bytes
    tls: bytes
    chain: tuple[bytes, ...]
    from_us: Count
    until_us: Count
    revoked_us: Count | None = None


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One node: its zone, the services it offers, the events it takes, its keys with the newest last."""

    address: str
    zone: Zone
    services: tuple[str, ...]
    keys: Annotated[tuple[KeyRecord, ...], Meta(min_length=1)]
    events: tuple[str, ...] = ()


class Head(Struct, frozen=True, forbid_unknown_fields=True):
    """What the root signs: the Merkle root (hex) over `size` entries, and until when it may be used."""

    version: Count
    root: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
    size: Count
    time_us: Count
    next_update_us: Count


_encode: Final = msgspec.json.Encoder().encode
_entry_decoder: Final = msgspec.json.Decoder(Entry)
_head_decoder: Final = msgspec.json.Decoder(Head)


def key_record(authority: Authority, keys: NodeKeys, *, from_us: int, until_us: int) -> KeyRecord:
    """The public halves of a node's keys, with a fresh certificate for that time."""
    public = keys.signing.public
    chain = authority.issue(keys.address, public, not_before_us=from_us, not_after_us=until_us)
    return KeyRecord(public.raw, keys.sealing.public.raw, keys.tls.public.raw, chain, from_us, until_us)


class Registry:
    """The authority's side. Addresses keep their positions, so that a change costs O(log n).

    `now` gives mesh time in µs since 1970; `source` makes the entry of an address that nobody has asked
    for yet, or None. A node that makes its keys itself looks itself up before it first signs:
    `address_of` knows only entries that were made.
    """

    def __init__(
        self,
        authority: Authority,
        now: Callable[[], int],
        lifetime_s: int = 86400,
        source: Callable[[str], Entry | None] | None = None,
    ) -> None:
        self._authority = authority
        self._now = now
        self._lifetime_us = lifetime_s * 1_000_000
        self._source = source
        self._tree = merkle.FixedTree()
        self._stored: dict[str, tuple[int, bytes]] = {}
        self._address_of: dict[str, str] = {}
        self._version = 0
        self._head = b""
        self._renew_us = 0
        self.current = b""
        """The head while it stands; empty when the next `head` signs another."""

    def put(self, entry: Entry) -> None:
        """Enter a node, or replace its entry.

        `MeshError` schema_invalid or recipient_unknown for an entry that is none; key_weak and
        message_malformed for its keys; sender_mismatch for a key of another node; key_unknown and
        certificate_revoked if an earlier key is left out, or its revocation.
        """
        data = _encode(entry)
        entry = decode(data, _entry_decoder)
        address = check_address(entry.address)
        kids = [_load_keys(record)[0].kid for record in entry.keys]
        if any(self._address_of.get(kid, address) != address for kid in kids):
            raise MeshError("sender_mismatch", "a key belongs to one node")
        leaf = merkle.leaf_hash(data)
        if (stored := self._stored.get(address)) is None:
            index = self._tree.append(leaf)
        else:
            index = stored[0]
            _check_history(decode(stored[1], _entry_decoder), entry)
            self._tree.replace(index, leaf)
        self._stored[address] = (index, data)
        for kid in kids:
            self._address_of[kid] = address
        self._renew_us = 0
        self.current = b""

    def revoke(self, address: str, at_us: int) -> None:
        """Let none of the node's keys count from that time on; `MeshError` recipient_unknown."""
        if (stored := self._stored.get(address)) is None:
            raise MeshError("recipient_unknown")
        entry = decode(stored[1], _entry_decoder)
        keys = tuple(
            msgspec.structs.replace(
                key, revoked_us=at_us if key.revoked_us is None else min(key.revoked_us, at_us)
            )
            for key in entry.keys
        )
        self.put(msgspec.structs.replace(entry, keys=keys))

    def head(self) -> bytes:
        """The current head, a compact JWS. A new one is signed after a change and at half its life."""
        now_us = self._now()
        if now_us >= self._renew_us:
            self._version += 1
            root, size = self._tree.root().hex(), self._tree.size
            head = Head(self._version, root, size, now_us, now_us + self._lifetime_us)
            self._head = jws.sign(_encode(head), self._authority.signing, typ=TYP)
            self._renew_us = now_us + self._lifetime_us // 2
            self.current = self._head
        return self._head

    def entry(self, address: str) -> Proven | None:
        """An entry with its proof under the head that is current after this call; None if there is none."""
        if address not in self._stored and self._source is not None:
            made = self._source(address)
            if made is not None:
                self.put(made)
        if (stored := self._stored.get(address)) is None:
            return None
        index, data = stored
        return data, self._tree.path(index), index, self._tree.size

    def address_of(self, kid: str) -> str | None:
        """Whose signing key this is, or was."""
        return self._address_of.get(kid)

    def rows(self) -> list[tuple[int, str, bytes]]:
        """Position, address and bytes of every entry; the head's root is over them in this order."""
        return [(position, address, data) for address, (position, data) in self._stored.items()]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A verified signing key of a node, and when it counts, in µs since 1970."""

    address: str
    zone: Zone
    verify_key: VerifyKey
    valid_from_us: int
    valid_until_us: int
    revoked_us: int | None

    def check(self, at_us: int) -> None:
        """`MeshError` certificate_expired, _not_yet_valid or _revoked if it does not count at that time."""
        if at_us > self.valid_until_us:
            raise MeshError("certificate_expired")
        if at_us < self.valid_from_us:
            raise MeshError("certificate_not_yet_valid")
        if self.revoked_us is not None and at_us >= self.revoked_us:
            raise MeshError("certificate_revoked")


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A verified entry. `keys` are all its signing keys, the newest last, which `verify_key` is of."""

    address: str
    member: str
    zone: Zone
    services: tuple[str, ...]
    events: tuple[str, ...]
    verify_key: VerifyKey
    seal_key: SealPublicKey
    tls_key: VerifyKey
    keys: tuple[KnownKey, ...]


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
            snapshot.keys[key.verify_key.kid] = key
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

    def key(self, kid: str) -> KnownKey:
        """The signing key of this name; `MeshError` key_unknown, or what verifying its entry raised."""
        if self._registry.current is not self._snapshot.token:
            self._follow()
        known = self._snapshot.keys.get(kid)
        return self._find_key(kid) if known is None else known

    def lookup(self, address: str) -> KnownNode:
        """The node of this address; `MeshError` recipient_unknown, or what verifying its entry raised."""
        if self._registry.current is not self._snapshot.token:
            self._follow()
        known = self._snapshot.nodes.get(address)
        return self._find_node(address) if known is None else known

    def check_fresh(self, now_us: int) -> None:
        """`MeshError` registry_stale when the newest head to be had is past its next update."""
        if now_us >= self._snapshot.renew_us:
            with suppress(MeshError):
                self.refresh()
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


def _known_node(data: bytes, root_der: bytes) -> KnownNode:
    """The verified content of an entry; key_unknown if a certificate does not cover its key and time."""
    from mesh.authority import verify_chain

    entry = decode(data, _entry_decoder)
    known = []
    for record in entry.keys:
        signing, sealing, tls = _load_keys(record)
        certificate = verify_chain(record.chain, root_der, address=entry.address)
        covered = certificate.not_before_us <= record.from_us <= record.until_us <= certificate.not_after_us
        if certificate.public.raw != record.sign or not covered:
            raise MeshError("key_unknown", "the certificate is for another key or another time")
        known.append(
            KnownKey(entry.address, entry.zone, signing, record.from_us, record.until_us, record.revoked_us)
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


def _load_keys(record: KeyRecord) -> tuple[VerifyKey, SealPublicKey, VerifyKey]:
    if len({record.sign, record.seal, record.tls}) != 3:
        raise MeshError("key_weak", "a node has three different keys")
    return load_public_key(record.sign), load_seal_key(record.seal), load_public_key(record.tls)


def _check_history(old: Entry, new: Entry) -> None:
    listed = {record.sign: record for record in new.keys}
    for record in old.keys:
        if record.sign not in listed:
            raise MeshError("key_unknown", "a node's earlier keys stay listed")
        revoked_us = listed[record.sign].revoked_us
        if record.revoked_us is not None and (revoked_us is None or revoked_us > record.revoked_us):
            raise MeshError("certificate_revoked", "a revocation is not taken back")
