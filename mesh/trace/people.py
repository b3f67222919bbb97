"""Finds the transmissions that are about one resident, in a trace that keeps the broker's sealing key."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from mesh.errors import MeshError
from mesh.message import Kind
from mesh.names import BROKER
from mesh.parsing import parse_json
from mesh.party import decode_body, read_line
from mesh.trace.opener import opener_of
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.rows import Message, Transmission
from mesh.trace.tied import hex_bytes, tied


class PersonFilter:
    """Looks at the transmissions of a trace in order.

    An exchange is about the residents whose codes its permits name, or else about whom its sealed subject names: the
    whole exchange, answers and all. Raises `UsageError` if the trace does not know the handle.
    """

    def __init__(self, trace: Trace, handle: str) -> None:
        self._trace = trace
        self._codes = frozenset(trace.codes_of(handle).values())
        self._opener = opener_of(trace, BROKER)
        self._about: set[bytes] = set()
        self._strangers: set[bytes] = set()
        """Requests and pushes that were looked at, and are about nobody or somebody else."""

    def concerns(self, sent: Transmission) -> bool:
        """Whether the transmission is about the person."""
        message = sent.message
        if message.kind in ANSWERS:
            body = _read(message)
            return body is not None and hex_bytes(body.requestdigest) in self._about
        if message.kind not in ASKS:
            return False
        digest = message.digest
        if digest not in self._about and digest not in self._strangers:
            (self._about if self._is_about(message) else self._strangers).add(digest)
        return digest in self._about

    def _is_about(self, message: Message) -> bool:
        named = self._permitted.get(message.digest)
        if named is not None:
            return not named.isdisjoint(self._codes)
        body = _read(message)
        subject = getattr(body, "subject", None)
        if subject is None or self._opener is None:
            return False
        try:
            opened = decode_body(self._opener.open(subject, sender=body.source))
            return parse_json(bytes(opened.data)) in self._codes
        except (MeshError, TypeError):  # Also a subject that is no text, and so in no set.
            return False

    @cached_property
    def _permitted(self) -> dict[bytes, frozenset[str]]:
        """Request or push → the codes of residents that its permits name; what no permit names is not here.

        Permits come after what they are of, and a member's code may be known by a permit alone: so all are read first.
        """
        known = frozenset(code for _, _, code in self._trace.residents())
        found: dict[bytes, frozenset[str]] = {}
        for (line,) in self._trace.rows(
            "SELECT line FROM message WHERE kind = ? ORDER BY number", Kind.PERMIT
        ):
            named = tied(line)
            if named.subject in known:
                digest = hex_bytes(named.requestdigest)
                found[digest] = found.get(digest, frozenset()) | {named.subject}
        return found


def _read(message: Message) -> Any:
    if message.kind not in (*ASKS, *ANSWERS, Kind.PERMIT):
        return None
    try:
        return read_line(message.line)
    except MeshError:
        return None
