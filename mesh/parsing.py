"""Strict JSON: what RFC 8259 allows, less what two readers could understand differently.

Rules kept here:
1. Refused as `message_malformed`: bad UTF-8, a byte order mark, lone surrogates (escaped ones too),
   duplicate keys (compared after unescaping), NaN and Infinity, nesting over 64, integers beyond
   ±(2^53−1), trailing bytes. Over 1 MiB: `message_too_large`.
2. Every other document of RFC 8259 is accepted.
3. Only `MeshError` leaves, whatever the bytes; its text quotes none of them.
4. A scanner recurses only into what is known to nest at most 64 deep.
"""

from __future__ import annotations

import json
import re
from typing import TypeVar

import msgspec

from mesh.errors import MeshError
from mesh.misfit import misfit

DOCUMENT_BYTES_MAX = 2**20
DEPTH_MAX = 64
INTEGER_MAX = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 8259 section 6)."""

T = TypeVar("T")

# An unterminated string takes the rest: the scanner will not get past it either.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Every digit reads as 0 and every opening bracket as [, so that one pass serves two questions.
_OUTLINE = bytes.maketrans(b"123456789{", b"000000000[")
_LONG_DIGITS = b"0" * len(str(INTEGER_MAX))
_encode = msgspec.json.Encoder().encode


def parse_json(data: bytes) -> object:
    """The value of one strict JSON document of at most 1 MiB (bytes, bytearray or memoryview).

    Objects are dicts, arrays lists. A number with a fraction or exponent is a float: one too large for
    IEEE 754 binary64 is allowed by RFC 8259 and becomes ±inf, one too small becomes 0.0; -0 is the
    integer 0. Raises `MeshError` message_malformed or message_too_large.
    """
    document = _document(data)
    if document.count(b"[") + document.count(b"{") > DEPTH_MAX:
        _check_depth(document)
    try:
        value: object = _SCANNER.decode(document.decode())
        if _SURROGATE_ESCAPE.search(document):
            _encode(value)  # A lone surrogate has no UTF-8.
    except ValueError:  # JSONDecodeError and both Unicode errors
        raise MeshError("message_malformed", "not a JSON document in UTF-8") from None
    return value


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The value of one strict JSON document, in the decoder's type.

    Takes and refuses what `parse_json` does, and raises `MeshError` schema_invalid for a strict document
    that does not fit the type. A number beyond binary64, as 1e400, fits no type. A type's own hooks may
    raise ValueError and TypeError, which msgspec turns into a misfit.

    Two limits: a `msgspec.Raw` field encodes back verbatim, so what its bytes hide is not seen here, and
    its content is decoded with this function too; a type has no float or Decimal keys, for two NaN keys
    pass as different ones.

    A document that encodes back to the same bytes hid nothing: a duplicate key, an unknown field or an
    escape would be missing. Others are parsed a second time.
    """
    document = _document(data)
    outline = document.translate(_OUTLINE)
    if outline.find(_LONG_DIGITS) >= 0 or outline.count(b"[") > DEPTH_MAX:
        parse_json(document)
    try:
        value = decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        parse_json(document)
        detail = misfit(error) if isinstance(error, msgspec.MsgspecError) else None
        raise MeshError("schema_invalid", detail=detail) from None
    try:
        if _encode(value) == document:
            return value
    except (TypeError, ValueError, OverflowError):  # a type that only its decoder's hook knows
        pass
    parse_json(document)
    return value


def decode_bounded(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """As `decode`, for a type whose fields are all texts, bounded integers, truths and `Raw`.

    Such a type cannot hold what `decode` has to look for apart: deep nesting, or an integer too large.
    """
    try:
        value = decoder.decode(data)
        if _encode(value) == data and len(data) <= DOCUMENT_BYTES_MAX:
            return value
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return decode(data, decoder)


def _document(data: object) -> bytes:
    if type(data) is not bytes:
        data = _bytes_of(data)
    if len(data) > DOCUMENT_BYTES_MAX:
        raise MeshError("message_too_large", "a document is longer than 1 MiB")
    return data


def _bytes_of(data: object) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        try:
            return bytes(data)
        except ValueError:  # a memoryview that was released
            pass
    raise MeshError("message_malformed", "a document is bytes")


def _check_depth(document: bytes) -> None:
    depth = 0
    for bracket in _STRING.sub(b"", document).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            raise MeshError("message_malformed", "a document nests deeper than 64")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MeshError("message_malformed", "a key stands twice in one object")
    return members


def _integer(digits: str) -> int:
    # The length goes first: int() takes quadratic time, and refuses what is longer than 4300 digits.
    if len(digits) <= len("-9007199254740991"):
        value = int(digits)
        if -INTEGER_MAX <= value <= INTEGER_MAX:
            return value
    raise MeshError("message_malformed", "an integer is beyond ±(2^53−1)")


def _constant(name: str) -> object:
    raise MeshError("message_malformed", "NaN and Infinity are no JSON numbers")


_SCANNER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
