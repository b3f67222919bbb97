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
6. A certificate is renewed when it is used in its last year: the same key gets one over its whole time, so that what
   was signed before stays verifiable. One that was entered by hand is left as it is, and so is what was revoked.
7. A key belongs to one node. Two exceptions, which the entries themselves name, and so the root's signature: the
   instances of a broker role share its sealing key, the addresses of one site its TLS key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from mesh import jws, merkle
from mesh.errors import MeshError
from mesh.keys import NodeKeys, SealPublicKey, VerifyKey, load_public_key, load_seal_key
from mesh.names import Zone, check_address, is_role, matches
from mesh.parsing import decode

if TYPE_CHECKING:
    from mesh.authority import Authority

TYP: Final = "registry"
NEVER_US: Final = 2**63
RENEWED_BEFORE_US: Final = 365 * 86_400_000_000
"""How long before its certificate ends an entry of the source's is made anew, when somebody asks for it.

One that lasts less than twice this is made anew when half of what was left is over.
"""
TIME_MAX_US: Final = 2**53 - 1
"""The latest time that travels, in the year 2255: an integer that every JSON reader holds exactly."""
Count = Annotated[int, Meta(ge=0, le=TIME_MAX_US)]
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
    sealing_role: Annotated[str, Meta(max_length=200)] | None = None
    """The broker role whose instances share the sealing key."""
    tls_site: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """The site whose addresses share the TLS key."""


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


class KeyHolders:
    """Who holds which key, of all entries: a key belongs to one node, unless both entries name why it is shared."""

    def __init__(self) -> None:
        self._held: dict[bytes, dict[str, tuple[str, str | None]]] = {}
        """Key → address → what it is for, and the role or site that shares it."""

    def check(self, entry: Entry) -> None:
        """`MeshError` sender_mismatch for a key of another node, key_weak for one with two purposes."""
        role = entry.sealing_role
        if role is not None and not (is_role(role) and matches(role, entry.address)):
            raise MeshError("sender_mismatch", "a node shares the sealing key of a role that it has")
        own: dict[bytes, str] = {}
        for key, use in _uses(entry):
            if own.setdefault(key, use[0]) != use[0]:
                raise MeshError("key_weak", "a node has three different keys")
            for address, other in self._held.get(key, {}).items():
                if address != entry.address and (other != use or use[1] is None):
                    raise MeshError("sender_mismatch", "a key belongs to one node")

    def enter(self, entry: Entry) -> None:
        """Take an entry in that was checked, also in place of an earlier one."""
        for key, use in _uses(entry):
            self._held.setdefault(key, {})[entry.address] = use


def _uses(entry: Entry) -> Iterator[tuple[bytes, tuple[str, str | None]]]:
    """Every key of an entry, what it is for, and the role or site that shares it."""
    for record in entry.keys:
        yield record.sign, ("signing", None)
        yield record.seal, ("sealing", entry.sealing_role)
        yield record.tls, ("tls", entry.tls_site)


class Registry:
    """The authority's side. Addresses keep their positions, so that a change costs O(log n).

    `now` gives mesh time in µs since 1970; `source` makes the entry of an address that nobody has asked
    for yet, and makes it anew when its certificate is about to end; None where there is none. A node that makes its keys itself looks itself up before it first signs:
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
        self._holders = KeyHolders()
        self._renewed_at_us: dict[str, int] = {}
        """When the source is asked again for an entry that it made."""
        self._version = 0
        self._head = b""
        self._renew_us = 0
        self._unkept: dict[str, None] = {}
        self.current = b""
        """The head while it stands; empty when the next `head` signs another."""

    def put(self, entry: Entry) -> None:
        """Enter a node, or replace its entry.

        `MeshError` schema_invalid or recipient_unknown for an entry that is none; key_weak and
        message_malformed for its keys; sender_mismatch for a key of another node that is not shared by a role or site
        which both name; key_unknown and certificate_revoked if an earlier key is left out, or its revocation.
        """
        data = _encode(entry)
        entry = decode(data, _entry_decoder)
        address = check_address(entry.address)
        kids = [load_keys(record)[0].kid for record in entry.keys]
        self._holders.check(entry)
        leaf = merkle.leaf_hash(data)
        if (stored := self._stored.get(address)) is None:
            index = self._tree.append(leaf)
        else:
            index = stored[0]
            _check_history(decode(stored[1], _entry_decoder), entry)
            self._tree.replace(index, leaf)
        self._stored[address] = (index, data)
        self._holders.enter(entry)
        self._renewed_at_us.pop(address, None)
        for kid in kids:
            self._address_of[kid] = address
        self._unkept[address] = None
        self._renew_us = 0
        self.current = b""

    def revoke(self, address: str, at_us: int) -> None:
        """Let none of the node's keys count from that time on; `MeshError` recipient_unknown."""
        if (stored := self._stored.get(address)) is None:
            raise MeshError("recipient_unknown")
        entry = decode(stored[1], _entry_decoder)
        self.put(msgspec.structs.replace(entry, keys=tuple(_revoked(key, at_us) for key in entry.keys)))

    def change_keys(self, address: str, *, revoked_us: int | None = None) -> None:
        """Take over the keys that the source has for a node now; `MeshError` recipient_unknown.

        The former ones stay listed until they expire, or are revoked from a time on.
        """
        self.entry(address)
        made = None if self._source is None else self._source(address)
        if made is None:
            raise MeshError("recipient_unknown")
        self._put_made(made, revoked_us)

    def _put_made(self, made: Entry, revoked_us: int | None = None) -> None:
        """Enter what the source made, behind the earlier keys of the node: it is made anew before its certificate ends."""
        address, newest = made.address, made.keys[-1]
        if (stored := self._stored.get(address)) is not None:
            listed = decode(stored[1], _entry_decoder).keys
            former = [key for key in listed if _same(key) != _same(newest)]
            if revoked_us is not None:
                former = [_revoked(key, revoked_us) for key in former]
            made = msgspec.structs.replace(made, keys=(*former, newest))
        self.put(made)
        left_us = newest.until_us - self._now()
        self._renewed_at_us[address] = self._now() + max(left_us - RENEWED_BEFORE_US, left_us // 2)

    def head(self) -> bytes:
        """The current head, a compact JWS. A new one is signed after a change and at half its life."""
        now_us = self._now()
        if now_us >= self._renew_us:
            self._version += 1
            self._head = self._sign(now_us)
            self._renew_us = now_us + self._lifetime_us // 2
            self.current = self._head
        return self._head

    def _sign(self, now_us: int) -> bytes:
        root, size = self._tree.root().hex(), self._tree.size
        head = Head(self._version, root, size, now_us, now_us + self._lifetime_us)
        return jws.sign(_encode(head), self._authority.signing, typ=TYP)

    def entry(self, address: str) -> Proven | None:
        """An entry with its proof under the head that is current after this call; None if there is none."""
        if self._source is not None and (
            address not in self._stored or self._now() >= self._renewed_at_us.get(address, NEVER_US)
        ):
            made = self._source(address)
            if made is not None:
                self._put_made(made)
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

    def unkept(self) -> tuple[list[tuple[int, str, bytes]], bytes]:
        """The rows of entries made or changed since the last call, and a head over all, for a recording under way.

        Nobody else hears of that head: a run that is recorded goes as one that is not.
        """
        rows = [(self._stored[address][0], address, self._stored[address][1]) for address in self._unkept]
        self._unkept.clear()
        return rows, self.current or self._sign(self._now())


def load_keys(record: KeyRecord) -> tuple[VerifyKey, SealPublicKey, VerifyKey]:
    """The signing, sealing and TLS key of a record; key_weak or message_malformed."""
    if len({record.sign, record.seal, record.tls}) != 3:
        raise MeshError("key_weak", "a node has three different keys")
    return load_public_key(record.sign), load_seal_key(record.seal), load_public_key(record.tls)


def _same(record: KeyRecord) -> tuple[bytes, bytes, bytes]:
    """Two records are of one generation if they have the same keys."""
    return record.sign, record.seal, record.tls


def _revoked(record: KeyRecord, at_us: int) -> KeyRecord:
    """The record, revoked from that time on at the latest."""
    earlier_us = at_us if record.revoked_us is None else min(record.revoked_us, at_us)
    return msgspec.structs.replace(record, revoked_us=earlier_us)


def _check_history(old: Entry, new: Entry) -> None:
    listed = {_same(record): record for record in new.keys}
    for record in old.keys:
        if _same(record) not in listed:
            raise MeshError("key_unknown", "a node's earlier keys stay listed")
        revoked_us = listed[_same(record)].revoked_us
        if record.revoked_us is not None and (revoked_us is None or revoked_us > record.revoked_us):
            raise MeshError("certificate_revoked", "a revocation is not taken back")
