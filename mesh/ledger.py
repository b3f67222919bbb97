"""What a party records for itself of each exchange (情報提供等の記録, 番号法23条).

Rules kept here:
1. Rows are appended, never changed; a later flag is a row of its own, a `mark`.
2. A leaf of the RFC 6962 tree hashes the stored row bytes; every other column is derived from them.
3. A head is signed hourly, at the end and on request, never per exchange. Whoever keeps heads finds a
   rewritten past through a consistency proof.
4. `answered` needs `permitted`, which needs `opened`; digests that are present must be equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import Struct

from mesh import jws
from mesh.errors import MeshError
from mesh.keys import SigningKey, VerifyKey
from mesh.merkle import Tree, leaf_hash, root_of, verify_consistency, verify_inclusion
from mesh.message import Kind, decode, encode

__all__ = [
    "TIMES_WITHIN_US",
    "Head",
    "Ledger",
    "Row",
    "check_tail",
    "misfilled",
    "read_head",
    "read_row",
    "row_bytes",
    "verify_consistency",
    "verify_inclusion",
]

HEAD_EVERY_US = 3_600_000_000
UNHASHED_MAX = 256

Entry = Literal["opened", "permitted", "answered", "closed", "refused", "mark"]


class Row(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One record. Who, when, for which procedure and items; never values."""

    entry: Entry
    time_us: int
    id: str
    """The id of the request or push."""
    requester: str
    """Its source: (requester, id) names the exchange."""
    provider: str | None = None
    service: str | None = None
    procedure: str | None = None
    items: str | None = None
    subject: str | None = None
    """The recording party's own linkage code of the person."""
    requestdigest: str | None = None
    permitdigest: str | None = None
    replydigest: str | None = None
    code: str | None = None
    """Why it was refused; absent when it was not."""
    undisclosed: bool = False
    """Not shown to the person (番号法23条2項)."""


class Head(Struct, frozen=True, forbid_unknown_fields=True):
    """What a party signs about its ledger: this many rows, with this root, at this time."""

    party: str
    size: int
    root: str
    time_us: int


_TASK: Final = ("service", "procedure", "items", "subject")
_EMPTY: Final[dict[str, tuple[str, ...]]] = {
    "opened": ("permitdigest", "replydigest", "code"),
    "permitted": ("replydigest", "code"),
    "answered": (),
    "closed": (*_TASK, "undisclosed"),
    "refused": ("procedure", "items", "subject", "permitdigest", "undisclosed"),
    "mark": ("provider", *_TASK, "requestdigest", "permitdigest", "replydigest", "code"),
}
"""The columns that a row of each kind leaves empty."""
TIMES_WITHIN_US: Final = 1_000_000
"""How much a ledger's times may run backwards, and a `closed` or a mark may be off what it is compared with."""


def misfilled(row: Row) -> str | None:
    """The first column that is filled in a row of a kind that leaves it empty, or the other way round; None if none is."""
    for name in _EMPTY[row.entry]:
        if getattr(row, name):
            return name
    return "undisclosed" if row.entry == "mark" and not row.undisclosed else None


_row_decoder = msgspec.json.Decoder(Row)
_head_decoder = msgspec.json.Decoder(Head)


class Ledger:
    """The growing end of a party's ledger: its size and its tree; the rows are in the party's database."""

    def __init__(self, party: str, rows: Iterable[bytes] = (), grown: tuple[int, bytes] = (0, b"")) -> None:
        """`grown` is what the tree was (its size and peaks), `rows` are those that came since."""
        self.party = party
        self._tree = Tree.grown(*grown)
        self._tree.extend(rows)
        self.unkept: tuple[int, bytes] | None = None
        """Size and peaks of the tree, to be stored with the next commit: so a start reads only what came since."""
        self._unhashed: list[bytearray] = []
        self.size = self._tree.size
        """How many rows there are."""
        self.signed_size = -1
        self._signed_us = -HEAD_EVERY_US
        """When the last head was signed."""

    def extend(self, rows: Sequence[bytearray]) -> None:
        """Take up rows that the database holds now, behind those before."""
        self.size += len(rows)
        self._unhashed += rows
        if len(self._unhashed) >= UNHASHED_MAX:
            self._hash()

    def _hash(self) -> None:
        """Take the rows into the tree that came since; in one go that costs less than one by one."""
        if self._unhashed:
            self._tree.extend(self._unhashed)
            self._unhashed.clear()
            self.unkept = (self._tree.size, self._tree.peaks)

    def head_due(self, monotonic_us: int) -> bool:
        """Whether an hour has passed since the last head, and rows have come since."""
        return monotonic_us - self._signed_us >= HEAD_EVERY_US and self.size != self.signed_size

    def sign_head(self, key: SigningKey, now_us: int, monotonic_us: int | None = None) -> bytes:
        """A signed tree head as a JWS; the next is due an hour later, by the monotonic clock if that is given."""
        self._hash()
        self.signed_size, self._signed_us = self.size, now_us if monotonic_us is None else monotonic_us
        head = Head(self.party, self.size, self._tree.root().hex(), now_us)
        return jws.sign(encode(head), key, typ=Kind.TREE_HEAD)


def row_bytes(row: Row) -> bytearray:
    """The bytes of a row as its party stores them."""
    # sqlite3 binds a bytearray as it is, but looks for an adapter for every bytes object.
    return bytearray(encode(row))


def keys_of(row: Row) -> tuple[int, ...]:
    """By what a broker finds a row again: the id of what it permitted, and the request that it permitted or closed."""
    if row.requestdigest is None or row.entry not in ("permitted", "closed"):
        return ()
    request = key_of(row.requestdigest)
    return (request,) if row.entry == "closed" else (request, id_key(row.id))


def key_of(digest: str) -> int:
    """60 bits of a SHA-256 in hex, which a database holds in 8 bytes; whoever finds a row by it compares the rest."""
    return int(digest[:15], 16)


def id_key(message_id: str) -> int:
    """The key of an id, which its sender chose: so nobody can make many rows of one key."""
    return key_of(sha256(message_id.encode()).hexdigest())


def read_row(data: bytes) -> Row:
    """A stored row; `ledger_broken` if it is none."""
    try:
        return decode(data, _row_decoder)
    except MeshError:
        raise MeshError("ledger_broken", "a row is no ledger row") from None


def read_head(token: bytes | str, key: VerifyKey) -> Head:
    """A tree head that the party signed; any `MeshError` of a token, or schema_invalid."""
    return decode(jws.verify(token, key, typ=Kind.TREE_HEAD), _head_decoder)


def check_tail(rows: Iterable[bytes], head: Head) -> None:
    """`ledger_broken` unless the first `head.size` rows have the head's root."""
    leaves = [leaf_hash(row) for row in rows][: head.size]
    if len(leaves) != head.size or root_of(leaves).hex() != head.root:
        raise MeshError("ledger_broken", f"the ledger of {head.party} does not have the root of its head")
