"""Finds the transmissions that are about one resident, in a trace that keeps the broker's sealing key."""

from __future__ import annotations

from typing import Any

from mesh.channels import Opener
from mesh.errors import MeshError
from mesh.keys import SealingKey
from mesh.message import Kind, Permit
from mesh.names import BROKER
from mesh.parsing import parse_json
from mesh.party import decode_body, read_line
from mesh.trace.reader import Message, Trace, Transmission
from mesh.trace.recheck import ANSWERS, ASKS


class PersonFilter:
    """Looks at the transmissions of a trace in order.

    A request or push is about a person whose code is its sealed subject, or stands in its permit; an answer
    is about whom its request is about. Raises `UsageError` if the trace does not know the handle.
    """

    def __init__(self, trace: Trace, handle: str) -> None:
        self._codes = frozenset(trace.codes_of(handle).values())
        key = trace.sealing_key(BROKER)
        self._opener: Opener | None = None
        if key is not None and len(key) == 32:
            self._opener = Opener(BROKER, SealingKey.from_seed(key))
        self._about: set[bytes] = set()

    def concerns(self, sent: Transmission) -> bool:
        """Whether the transmission is about the person."""
        message = sent.message
        if message.kind in ANSWERS:
            body = _read(message)
            return body is not None and bytes.fromhex(body.requestdigest) in self._about
        if message.kind not in ASKS:
            return False
        if message.digest not in self._about and self._is_about(message, sent.permit):
            self._about.add(message.digest)
        return message.digest in self._about

    def _is_about(self, message: Message, permit: Message | None) -> bool:
        if permit is not None:
            permitted = _read(permit)
            if isinstance(permitted, Permit) and permitted.subject in self._codes:
                return True
        body = _read(message)
        subject = getattr(body, "subject", None)
        if subject is None or self._opener is None:
            return False
        try:
            opened = decode_body(self._opener.open(subject, sender=body.source))
            return parse_json(bytes(opened.data)) in self._codes
        except (MeshError, TypeError):  # Also a subject that is no text, and so in no set.
            return False


def _read(message: Message) -> Any:
    if message.kind not in (*ASKS, *ANSWERS, Kind.PERMIT):
        return None
    try:
        return read_line(message.line)
    except MeshError:
        return None
