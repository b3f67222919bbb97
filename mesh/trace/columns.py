"""The columns by which a trace lists messages: read of the bytes that they stand beside."""

from __future__ import annotations

import msgspec

from mesh.errors import MeshError
from mesh.jws import parse as parse_token


class _Index(msgspec.Struct, gc=False):
    """The attributes that a trace lists messages by; a permit has `service` where others have `type`."""

    id: str | None = None
    type: str | None = None
    service: str | None = None
    code: str | None = None


_index_decoder = msgspec.json.Decoder(_Index)


Index = tuple[str, str | None, str | None, str | None]
"""Kind, id, service and code of a line."""


def index_of(line: bytes) -> Index:
    """Kind, id, service and code of a line as a trace lists it; kind is empty for bytes that are no message."""
    try:
        token = parse_token(line)
        index = _index_decoder.decode(token.payload)
    except (MeshError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", None, None, None
    return token.typ, index.id, index.type or index.service, index.code
