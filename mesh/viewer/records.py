"""What a party signed for and wrote down, proven from the trace: its keys, its ledger rows, their places."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mesh import jws
from mesh.errors import MeshError
from mesh.keys import VerifyKey, load_public_key
from mesh.ledger import read_head, read_row, verify_inclusion
from mesh.merkle import leaf_hash
from mesh.registry import Entry
from mesh.trace.reader import Trace
from mesh.trace.rows import LedgerRow
from mesh.trace.show import parts
from mesh.viewer.opened import Opened

_entry_decoder: Final = msgspec.json.Decoder(Entry)


def key_of(trace: Trace, line: bytes, address: str | None = None) -> VerifyKey | None:
    """The key with which a line says it is signed, if the registry in the trace has it for its sender."""
    try:
        kid = jws.parse(line).kid
    except MeshError:
        return None
    stated = parts(line)[1]
    if address is None and isinstance(stated, dict):
        address = stated.get("source") or stated.get("broker")
    data = trace.registry_entry(address) if isinstance(address, str) else None
    if data is None:
        return None
    try:
        keys = [load_public_key(one.sign) for one in _entry_decoder.decode(data).keys]
    except (MeshError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return next((key for key in keys if key.kid == kid), None)


def record(opened: Opened, stored: LedgerRow) -> dict[str, Any]:
    """A ledger row and its place in its party's tree, under the first signed head that covers it.

    `verdict` is `included`, `unsigned` where no head covers it, or `broken` with a text.
    """
    leaf = leaf_hash(stored.row)
    made: dict[str, Any] = {
        "party": stored.party, "position": stored.position, "row": _row(stored.row), "leaf": leaf.hex(),
        "head": None, "path": [], "verdict": "unsigned",
    }  # fmt: skip
    heads = opened.heads(stored.party)
    token = next((one for size, one in heads if size > stored.position), None)
    if token is None:
        return made
    try:
        key = key_of(opened.trace, token, stored.party)
        if key is None:
            raise MeshError("key_unknown", "the head names a key that the registry does not have")
        head = read_head(token, key)
        made["head"] = msgspec.to_builtins(head)
        path = opened.path(stored.party, stored.position, head.size)
        made["path"] = [one.hex() for one in path]
        verify_inclusion(leaf, stored.position, head.size, path, bytes.fromhex(head.root))
    except (ValueError, IndexError):
        return made | {"verdict": "broken", "text": "rows that the head covers are missing"}
    except MeshError as error:
        return made | {"verdict": "broken", "text": error.text}
    return made | {"verdict": "included"}


def _row(data: bytes) -> Any:
    try:
        return msgspec.to_builtins(read_row(data))
    except MeshError:
        return None
