"""Rows of a trace as somebody sees them: what is absent is absent, what is sealed says so.

Rules kept here:
1. Who sent a line does not see what became of it at the other end: only an answer tells, or that nobody was there.
2. On the wire, and for a resident who reads a history, there are no bytes to look at.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from mesh.errors import UsageError
from mesh.message import Kind
from mesh.recorder import Fate
from mesh.trace.perspective import WIRE, OfParties, OfResident, Perspective, Seen, perspective
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.show import Filter, attributes_of, details, named, row_of, selected

SENT: Final = "sent"
"""The fate of a line for him who sent it, while no answer tells more."""
_UNREAD: Final = dict.fromkeys(
    ("id", "kind", "service", "code", "procedure", "items", "source", "digest", "asked", "jws", "permit")
)


def see(
    trace: Trace, wanted: Filter | None = None, name: str | None = None, *, start: int = 0, full: bool = False
) -> Generator[dict[str, Any], None, None]:
    """The rows that pass the filter, as somebody sees them; as they stand if nobody is named.

    A row is one of `show.rows`, with `procedure`, `items`, `source`, `digest`, `asked`, `readable`, `sealed`,
    `subject`, `content` and `bytes` besides; docs/JSONL.md says what each is. With `full` it has what `show.full` has,
    too. Raises `UsageError` for who is not in the trace, and as `show.rows` does.
    """
    view = None if name is None else perspective(trace, name)
    if name == WIRE and wanted not in (None, Filter()):
        raise UsageError(
            f"on the {WIRE} nothing can be read, so nothing can be filtered by; leave the filters out"
        )
    return _rows(trace, wanted, view, start, full=full)


def _rows(
    trace: Trace, wanted: Filter | None, view: Perspective | None, start: int, *, full: bool
) -> Generator[dict[str, Any], None, None]:
    for sent in selected(trace, wanted, view, start=start):
        one = Seen(sent) if view is None else view.see(sent)
        if one is not None:
            yield row_seen(one, view) | (_details_seen(trace, one, view) if full else {})


def row_seen(one: Seen, view: Perspective | None = None) -> dict[str, Any]:
    """One transmission as a row, without what cannot be seen of it."""
    sent = one.sent
    row = row_of(sent) | {
        "readable": one.readable, "sealed": list(one.sealed), "subject": one.subject, "content": one.content,
        "bytes": len(sent.message.line),
    }  # fmt: skip
    if not one.readable:
        return row | _UNREAD | {"refused": False}
    attributes, kind = attributes_of(sent.message), sent.message.kind
    digest = sent.message.digest.hex()
    row |= {
        "procedure": _text(attributes, "procedure"),
        "items": (_text(attributes, "items") or "").split(),
        "source": _text(attributes, "source"),
        "digest": digest,
        "asked": digest if kind in ASKS else _text(attributes, "requestdigest") if kind in ANSWERS else None,
    }
    if view is None:
        # Nobody looks, so nothing is opened.
        row["sealed"] = [part for part in ("data", "subject") if _text(attributes, part) is not None]
    if isinstance(view, OfResident):
        row |= {"jws": None, "permit": None}
    if isinstance(view, OfParties) and sent.recipient not in view.parties:
        fate = sent.fate if sent.fate == Fate.UNREACHABLE else SENT
        row |= {"fate": fate, "refused": False, "code": sent.message.code, "arrived_us": None}
    return row


def full_seen(trace: Trace, which: str, name: str) -> list[dict[str, Any]]:
    """Messages in full, as `show.full` has them, as somebody sees them.

    Raises `UsageError` if the trace has no such message, or that somebody does not have it.
    """
    view = perspective(trace, name)
    seen = [one for one in map(view.see, named(trace, which)) if one is not None]
    if not seen:
        raise UsageError(
            f"{name} does not have message {which}; see what they have with `trace show --as {name}`"
        )
    return [row_seen(one, view) | _details_seen(trace, one, view) for one in seen]


def _details_seen(trace: Trace, one: Seen, view: Perspective | None) -> dict[str, Any]:
    made = details(trace, one.sent)
    if not one.readable or (isinstance(view, OfResident) and one.sent.message.kind != Kind.NOTICE):
        # Of an exchange in their history residents know what the row has, and no more.
        return made | {"header": {}, "attributes": {}, "permit_attributes": None, "checks": []}
    if isinstance(view, OfResident):
        return made | {"permit_attributes": None, "checks": []}
    if isinstance(view, OfParties) and one.sent.recipient not in view.parties:
        return made | {"checks": []}
    return made


def _text(attributes: dict[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) else None
