"""What goes under a seal, checked by its writer as its reader will check it.

A query, a reply and the body of a notice are declared; a struct of Python does not check its fields when it is made, so
what does not fit its declaration would be found by its recipient only, after it was recorded here and sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from mesh.errors import MeshError, Unsendable
from mesh.message import decode, encode
from mesh.misfit import field_with, largest_field
from mesh.padding import LIMIT
from mesh.parsing import parse_json
from mesh.personal_number import personal_numbers_in


class Content(bytes):
    """Checked content, as JSON; `content_of` makes it from `value`, a declared struct."""

    value: object = None

    def largest(self) -> str:
        """Which field takes most of it, for whom it is too large."""
        return largest(self.value, len(self))


def content_of(value: object, decoder: msgspec.json.Decoder[Any]) -> Content:
    """The value as content for whoever reads it with the decoder.

    Raises `Unsendable` with the code that its reader's gate would give: message_too_large, message_malformed,
    schema_invalid or personal_number_exposed.
    """
    data = _encode(value)
    try:
        read = decode(data, decoder)
    except MeshError as error:
        detail = error.detail
        if error.code == "message_malformed":
            detail = _named(field_with(value, lambda part: _fails(part, parse_json)), error.text)
        elif error.code == "message_too_large":
            detail = f"{largest(value, len(data))}; {LIMIT}"
        raise Unsendable(error.code, detail) from None
    if encode(read) != data and _shape(parse_json(data)) != _shape(parse_json(encode(read))):
        raise Unsendable("schema_invalid", "holds a field that is not declared")
    if personal_numbers_in(data):
        name = field_with(value, lambda part: _fails(part, _refuse_personal_number))
        raise Unsendable("personal_number_exposed", name and f"in {name}")
    content = Content(data)
    content.value = value
    return content


def largest(value: object, size: int) -> str:
    """Which field of a struct takes most of its bytes, as `scan takes 600,002 of 600,013 bytes`."""
    found = largest_field(value, lambda part: 0 if part is UNSET else len(encode(part)))
    return (
        f"the content has {size:,} bytes"
        if found is None
        else f"{found[0]} takes {found[1]:,} of {size:,} bytes"
    )


def _encode(value: object) -> bytes:
    try:
        return encode(value)
    except UnicodeEncodeError:
        name = field_with(value, lambda part: _fails(part, len))
        raise Unsendable("message_malformed", _named(name, "a lone surrogate has no UTF-8")) from None
    except (TypeError, ValueError, OverflowError, RecursionError):
        name = field_with(value, lambda part: _fails(part, len))
        raise Unsendable("schema_invalid", _named(name, "cannot be written as JSON")) from None


def _fails(part: object, check: Callable[[bytes], object]) -> bool:
    if part is UNSET:
        return False
    try:
        check(encode(part))
    except Exception:
        return True
    return False


def _refuse_personal_number(data: bytes) -> None:
    if personal_numbers_in(data):
        raise MeshError("personal_number_exposed")


def _named(name: str | None, said: str) -> str:
    return said if name is None else f"{name}: {said}"


def _shape(document: object) -> object:
    """The keys of a document at every depth, without its values; the order of a list does not count."""
    if isinstance(document, dict):
        return sorted((key, repr(_shape(part))) for key, part in document.items())
    if isinstance(document, list):
        return sorted(repr(_shape(part)) for part in document)
    return ""
