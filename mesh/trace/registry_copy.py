"""The registry as a trace keeps it: every entry checked against the one head, and that against the root."""

from __future__ import annotations

import msgspec

from mesh import jws
from mesh.errors import MeshError
from mesh.merkle import FixedTree, leaf_hash
from mesh.parsing import decode
from mesh.registry import TYP, Entry, Head, KeyHolders, Proven
from mesh.trace.finding import Finding
from mesh.trace.reader import Trace
from mesh.view import Shared, View

_entry_decoder = msgspec.json.Decoder(Entry)
_head_decoder = msgspec.json.Decoder(Head)


class RegistryCopy:
    """A registry that answers from a trace; a `mesh.registry.RegistrySource`."""

    def __init__(self, head: bytes, entries: list[tuple[int, str, bytes]]) -> None:
        self.current = head
        """The one head that the trace keeps."""
        self._tree = FixedTree(leaf_hash(data) for _, _, data in entries)
        self._entries = {address: (position, data) for position, address, data in entries}
        self._address_of: dict[str, str] = {}

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._tree.size

    def root(self) -> bytes:
        """The Merkle root over all entries."""
        return self._tree.root()

    def head(self) -> bytes:
        """The one head that the trace keeps."""
        return self.current

    def entry(self, address: str) -> Proven | None:
        """An entry with its proof; None if there is none."""
        found = self._entries.get(address)
        if found is None:
            return None
        position, data = found
        return data, self._tree.path(position), position, self._tree.size

    def address_of(self, kid: str) -> str | None:
        """Whose signing key this is, of the entries that were looked up."""
        return self._address_of.get(kid)

    def learn(self, view: View) -> None:
        """Look every entry up, so that its certificates are checked and its keys are known by name, and nobody else's."""
        holders = KeyHolders()
        for address, (_, data) in self._entries.items():
            entry = decode(data, _entry_decoder)
            holders.check(entry)
            holders.enter(entry)
            for key in view.lookup(address).keys:
                self._address_of[key.verify_key.kid] = address


def registry_view(trace: Trace) -> View:
    """A view of the trace's registry in which every entry was verified.

    Raises `Finding`: registry_stale if the trace has no registry, else what was wrong with it.
    """
    head, entries = trace.registry_head(), list(trace.registry_entries())
    if head is None or not trace.root_der:
        raise Finding(
            "registry_stale", "the trace has no registry: its run was killed before one was written,"
            " and without keys no signature can be checked",
        )  # fmt: skip
    for expected, (position, address, data) in enumerate(entries):
        if position != expected:
            raise Finding("registry_stale", f"registry entry {expected} is missing")
        if _address_in(data) != address:
            raise Finding(
                "registry_stale", f"registry entry {position} is not of the address it stands under"
            )
    copy = RegistryCopy(head, entries)
    view = View(copy, trace.root_der, Shared())
    try:
        known = _read_head(head, trace.root_der)
        if known.size != copy.size or known.root != copy.root().hex():
            raise MeshError("signature_invalid", "the registry's entries do not have the root of its head")
        copy.learn(view)
    except MeshError as error:
        raise Finding(error.code, f"the registry: {error.text}") from None
    return view


def _read_head(token: bytes, root_der: bytes) -> Head:
    from mesh.authority import root_key  # cryptography.x509 takes 50 ms to import.

    return decode(jws.verify(token, root_key(root_der), typ=TYP), _head_decoder)


def _address_in(data: bytes) -> str:
    try:
        return _entry_decoder.decode(data).address
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
