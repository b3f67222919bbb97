"""The sealing keys that a trace of a simulation keeps, each made ready at first use."""

from __future__ import annotations

from typing import Any

from mesh.channels import Opener
from mesh.errors import Code, MeshError
from mesh.message import Refusal
from mesh.parsing import parse_json
from mesh.party import decode_body
from mesh.reason import read_reason
from mesh.trace.opener import HasKeys, opener_of


class Keys:
    """What opens the seals of a trace."""

    def __init__(self, trace: HasKeys) -> None:
        self._trace = trace
        self._openers: dict[str, Opener | None] = {}

    def open(self, token: str, reader: str, sender: str) -> Any:
        """The JSON value under a seal for `reader`; `MeshError` seal_invalid if it cannot be opened."""
        return parse_json(self._content(token, reader, sender))

    def reason(self, refusal: Refusal) -> Code | None:
        """The code under a refusal's seal; None of an open refusal, and where no reason can be read."""
        if refusal.reason is None:
            return None
        try:
            return read_reason(self._content(refusal.reason, refusal.recipient, refusal.source))
        except MeshError:
            return None

    def _content(self, token: str, reader: str, sender: str) -> bytes:
        opener = self._opener(reader)
        if opener is None:
            raise MeshError("seal_invalid")
        return bytes(decode_body(opener.open(token, sender=sender)).data)

    def _opener(self, reader: str) -> Opener | None:
        if reader not in self._openers:
            self._openers[reader] = opener_of(self._trace, reader)
        return self._openers[reader]
