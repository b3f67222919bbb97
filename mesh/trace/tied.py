"""What ties a message or permit to others, read from its line alone: fast, for who goes through a whole trace."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from mesh import base64url
from mesh.errors import MeshError

UNREADABLE: Final = (
    MeshError, msgspec.MsgspecError, ValueError, TypeError, AttributeError, IndexError, RecursionError,
)  # fmt: skip
"""What reading bytes that anybody may have sent can raise."""


class Tied(Struct, gc=False):
    """The attributes of a message or permit by which others are found; those of other bytes are all absent."""

    requestdigest: str | None = None
    subject: str | None = None
    """A permit's is a linkage code; what else has one has it sealed."""
    procedure: str | None = None
    source: str | None = None
    recipient: str | None = None


_decode: Final = msgspec.json.Decoder(Tied).decode
_NOTHING: Final = Tied()


def tied(line: Any) -> Tied:
    """What a line says that ties it to others; nothing for bytes that are no message."""
    try:
        return _decode(base64url.decode(line.split(b".", 2)[1]))
    except UNREADABLE:
        return _NOTHING


def hex_bytes(text: str | None) -> bytes:
    """The bytes of hexadecimal text; none of what is no such text."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b""
