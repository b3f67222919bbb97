"""Why a provider gives no answer (提供不可の理由), as a refusal tells it: to its requester alone, or openly.

Rules kept here:
1. A code that says something of whom was asked about (`Code.sealed`) stands under a seal, whatever the service is about,
   and outside stands `not_provided`. Every other code stands open.
2. All reasons have one length: not even the size of the padding may tell one from another.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from mesh.errors import CODES, NOT_PROVIDED, Code, MeshError
from mesh.message import Refusal, decode_content, encode


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under the seal of a refusal: a code, and as many blanks as make all codes equally long."""

    code: str
    fill: Annotated[str, Meta(pattern="^ *$")]


_WIDTH: Final = max(len(code.name) for code in CODES.values() if code.sealed)
_reason_decoder = msgspec.json.Decoder(Reason)


@cache
def reason_content(code: Code) -> bytes:
    """The reason as it is sealed; of each code the same bytes."""
    return encode(Reason(code.name, " " * (_WIDTH - len(code.name))))


def read_reason(data: bytes) -> Code:
    """The code under a refusal's seal; `seal_invalid` if it is no JSON, `schema_invalid` if it is no reason."""
    reason = decode_content(data, _reason_decoder)
    code = CODES.get(reason.code)
    if code is None or not code.sealed or len(reason.code) + len(reason.fill) != _WIDTH:
        raise MeshError("schema_invalid", "under the refusal's seal stands no reason")
    return code


def open_code(refusal: Refusal) -> Code:
    """The code that a refusal states openly; `schema_invalid` for none of the table, or one that must be sealed."""
    code = CODES.get(refusal.code)
    if code is None:
        raise MeshError("schema_invalid", "the refusal has no code of the table")
    if code.sealed:
        raise MeshError("schema_invalid", "the refusal says openly what is for its requester alone")
    if (code.name == NOT_PROVIDED) != (refusal.reason is not None):
        raise MeshError("schema_invalid", "a refusal has a reason under its seal, or a code that says it")
    return code
