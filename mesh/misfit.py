"""How a document differs from its declaration, said by declared field and limit.

Whoever reads this wrote the document or declares the service, so it helps him mend it. What it never says is a value or
a name that is not declared: it may stand in a log, on a screen or in a report.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Struct

_AT = r"(?P<at> - at )(?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`"
_PLACE = re.compile(_AT + "$")
_UNKNOWN_BEGINS = "Object contains unknown field "
_UNKNOWN = re.compile(f"{_UNKNOWN_BEGINS}`[^`]*`{_AT}")
_PLAIN = re.compile(r"[A-Za-z0-9 ]+")


def misfit(error: msgspec.MsgspecError) -> str:
    """What msgspec found, as `name: expected str of length <= 200`."""
    text = str(error)
    found = _UNKNOWN.fullmatch(text) if text.startswith(_UNKNOWN_BEGINS) else _PLACE.search(text)
    if found is None or text.count(" - at ") > 1:  # A name in the document looks like a place.
        return _without_values(text.partition(" - at ")[0], written_by_a_type=error.__cause__ is not None)
    said = _without_values(text[: found.start("at")], written_by_a_type=error.__cause__ is not None)
    place = f"{'a key of ' if found['key'] else ''}{found['path']}"
    return f"{place}: {said}" if place else said


def _without_values(text: str, *, written_by_a_type: bool) -> str:
    """Msgspec quotes values in a few of its texts; what a type's own check says may quote anything."""
    if written_by_a_type:
        return "not what its type allows"
    if text.startswith(("Expected ", "Object missing required field ")):
        return text[0].lower() + text[1:].replace("`", "")
    if text.startswith(_UNKNOWN_BEGINS):
        return "holds a field that is not declared"
    if text.startswith(("Invalid enum value ", "Invalid value ")):
        return "expected one of the declared values"
    return text[0].lower() + text[1:] if _PLAIN.fullmatch(text) else "not of its type"


def field_with(value: object, is_at_fault: Callable[[object], bool]) -> str | None:
    """The first declared field of a struct whose value is at fault, for what msgspec does not locate."""
    for name, part in _fields(value):
        if is_at_fault(part):
            return name
    return None


def largest_field(value: object, size_of: Callable[[object], int]) -> tuple[str, int] | None:
    """The declared field of a struct that takes most bytes, and how many."""
    sizes = [(size_of(part), name) for name, part in _fields(value)]
    if not sizes:
        return None
    size, name = max(sizes, key=lambda one: one[0])
    return name, size


def _fields(value: object) -> list[tuple[str, object]]:
    if not isinstance(value, Struct):
        return []
    return [(field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
