"""Rows of a trace as somebody sees them: what is absent is absent, what is sealed says so.

Rules kept here:
1. Who sent a line does not see what became of it at the other end: only an answer tells, or that nobody was there.
2. On the wire, and for a resident who reads a history, there are no bytes to look at.
3. A resident's rows are the lines of their history, from who asked to who was asked, with numbers of their own.
4. What is said of a file besides its rows is a text like others: what only the run knows is not for a party.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator
from dataclasses import replace
from typing import Any, Final

from mesh.errors import CODES, UsageError
from mesh.message import Kind
from mesh.recorder import Fate
from mesh.trace.perspective import (
    WIRE,
    OfResident,
    Perspective,
    Recorded,
    Seen,
    Text,
    perspective,
    sees_run,
)  # fmt: skip
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.rows import Transmission
from mesh.trace.show import Filter, attributes_of, details, named, row_of, selected

UNFINISHED: Final = "unfinished"
"""What a history says of what nobody answered yet."""
SENT: Final = "sent"
"""The fate of a line for him who sent it, while no answer tells more."""
_UNREAD: Final = dict.fromkeys(
    (
        "id",
        "kind",
        "service",
        "code",
        "says",
        "procedure",
        "items",
        "source",
        "digest",
        "asked",
        "jws",
        "permit",
    )
)


def see(
    trace: Trace, wanted: Filter | None = None, name: str | None = None, *, start: int = 0, full: bool = False
) -> Generator[dict[str, Any], None, None]:
    """The rows that pass the filter, as somebody sees them; as they stand if nobody is named.

    A row is one of `show.rows`, with `procedure`, `items`, `source`, `digest`, `asked`, `readable`, `sealed`,
    `subject`, `content`, `reason` and `bytes` besides; docs/JSONL.md says what each is. With `full` it has what `show.full` has,
    too. Raises `UsageError` for who is not in the trace, and as `show.rows` does.
    """
    view = Recorded(trace) if name is None else perspective(trace, name)
    if name == WIRE and wanted not in (None, Filter()):
        raise UsageError(
            f"on the {WIRE} nothing can be read, so nothing can be filtered by; leave the filters out"
        )
    return _rows(trace, wanted, view, start, full=full)


def _rows(
    trace: Trace, wanted: Filter | None, view: Perspective, start: int, *, full: bool
) -> Generator[dict[str, Any], None, None]:
    code = None if wanted is None or isinstance(view, Recorded) else wanted.code
    if code is not None and wanted is not None:
        wanted = replace(
            wanted, code=None
        )  # The gate's code at the other end finds nothing for who does not see it.
    for sent in selected(trace, wanted, view, start=start):
        one = view.see(sent)
        if one is None:
            continue
        row = row_seen(one, view)
        if code is None or code in (row["code"], row["says"]):
            yield row | (details_seen(trace, one, view) if full else {})


def row_seen(one: Seen, view: Perspective) -> dict[str, Any]:
    """One transmission as a row, without what cannot be seen of it."""
    sent = one.sent
    row = row_of(sent) | {
        "readable": one.readable, "sealed": list(one.sealed), "subject": one.subject, "content": one.content,
        "reason": one.reason, "bytes": _length(sent),
    }  # fmt: skip
    if not one.readable:
        return row | _UNREAD | {"refused": False}
    attributes, kind = attributes_of(sent.message), sent.message.kind
    digest = sent.message.digest.hex()
    row |= {
        "procedure": _text(attributes, "procedure") or _permitted_procedure(sent),
        "items": (_text(attributes, "items") or "").split(),
        "source": _text(attributes, "source"),
        "digest": digest,
        "asked": digest if kind in ASKS else _text(attributes, "requestdigest") if kind in ANSWERS else None,
    }
    if isinstance(view, Recorded):
        row["sealed"] = [
            part for part in ("data", "subject", "reason") if _text(attributes, part) is not None
        ]
    if isinstance(view, OfResident):
        return row | _of_history(one, row["source"], view)
    if not view.shows(Text.ARRIVAL, sent):
        row |= {"fate": fate_sent(sent.fate), "refused": False, "code": sent.message.code, "arrived_us": None}
    return row


def fate_sent(fate: str) -> str:
    """What of the fate of a line its sender sees."""
    return fate if fate == Fate.UNREACHABLE else SENT


def _permitted_procedure(sent: Transmission) -> str | None:
    """An event has none of its own: its permit says under which its subscriber hears of it."""
    return None if sent.permit is None else _text(attributes_of(sent.permit), "procedure")


def _length(sent: Transmission) -> int:
    """What passed: the line, and on a line of its own the permit."""
    return len(sent.message.line) + (0 if sent.permit is None else 1 + len(sent.permit.line))


def _of_history(one: Seen, requester: str | None, view: OfResident) -> dict[str, Any]:
    """What the portal shows of a line of a history, instead of how it travelled."""
    outcome = view.outcomes[one.sent.number]
    return {
        "index": bisect_left(view.numbers, one.sent.number),
        "from": requester,
        "arrived_us": None,
        "code": outcome if outcome in CODES else None,
        "says": None,
        "refused": False,
        "fate": Fate.DELIVERED if outcome != UNFINISHED else SENT,
        "sealed": [] if one.sent.message.kind == Kind.NOTICE else ["data"],
    } | dict.fromkeys(("id", "digest", "asked", "jws", "permit", "bytes", "subject"))


def full_seen(trace: Trace, which: str, name: str) -> list[dict[str, Any]]:
    """Messages in full, as `show.full` has them, as somebody sees them.

    Raises `UsageError` if the trace has no such message, or that somebody does not have it.
    """
    view = perspective(trace, name)
    found = _numbered(trace, which, view) if isinstance(view, OfResident) else _named(trace, which, view)
    seen = [one for one in map(view.see, found) if one is not None]
    if not seen:
        raise UsageError(
            f"{name} does not have message {which}; see what they have with `trace show --as {name}`"
        )
    return [row_seen(one, view) | details_seen(trace, one, view) for one in seen]


def _named(trace: Trace, which: str, view: Perspective) -> list[Transmission]:
    """The transmissions of a name; which there are in all, and how many, is for who sees the run."""
    try:
        return named(trace, which)
    except UsageError:
        if view.shows(Text.RUN):
            raise
        return []


def _numbered(trace: Trace, which: str, view: OfResident) -> list[Transmission]:
    """The transmission behind a resident's own number; none for what is no number of theirs."""
    if not (which.isascii() and which.isdigit() and int(which[:18]) < len(view.numbers)):
        return []
    return named(trace, str(view.numbers[int(which[:18])]))


def details_seen(trace: Trace, one: Seen, view: Perspective) -> dict[str, Any]:
    """What `show.details` has of a transmission, as far as it is for who looks."""
    made = details(trace, one.sent)
    for text, names in _DETAILS.items():
        if not view.shows(text, one.sent):
            made |= {name: _NOTHING[name] for name in names}
    return made


_DETAILS: Final = {
    Text.LINE: ("header", "attributes", "permit_attributes"),
    Text.ARRIVAL: ("checks",),
    Text.RUN: ("expectations",),
}
_NOTHING: Final[dict[str, Any]] = {
    "header": {}, "attributes": {}, "permit_attributes": None, "checks": [], "expectations": [],
}  # fmt: skip


def notes_seen(trace: Trace, name: str | None) -> tuple[str, ...]:
    """What a person must know of the file before believing it, as far as it is for who looks."""
    return trace.notes if sees_run(name) else trace.notes_of_file


def _text(attributes: dict[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) else None
