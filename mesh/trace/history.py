"""What a resident may see of who asked what about them, from a trace alone."""

from __future__ import annotations

from typing import Any

import msgspec

from mesh.errors import MeshError, UsageError
from mesh.history import lines_of
from mesh.ledger import Row, read_row
from mesh.names import BROKER, member_of
from mesh.trace.reader import Trace


class _Key(msgspec.Struct, gc=False):
    """What a ledger row is found by; the rest of it is not read."""

    id: str
    subject: str | None = None


class NoCode(UsageError):
    """The trace has no code of the broker for a resident: nobody ever asked about them."""


_key_decoder = msgspec.json.Decoder(_Key)


def history(
    trace: Trace, handle: str, *, hidden: bool = False, rows: dict[str, list[Row]] | None = None
) -> dict[str, Any]:
    """The person's history, the oldest first, as `mesh.history.v1` gives it and `trace history` prints it.

    Times are µs since 1970. With `hidden` it is the inspector's view: what the person may not see is there,
    and says so. `rows` are the broker's of every exchange about the person, by message id, if they are known;
    finding them reads its whole ledger. Raises `UsageError` if the trace does not know the handle, or cannot be read.
    """
    person = _code_of(trace, handle)
    rows = _rows_about(trace, person) if rows is None else rows
    lines = lines_of((row for about in rows.values() for row in about), lambda id_: rows.get(id_, []), person)
    return {
        "person": handle,
        "rows": [
            {
                "time_us": line.time_us,
                "requester": line.requester,
                "provider": line.provider,
                "service": line.service,
                "procedure": line.procedure,
                "items": line.items.split() if line.items else [],
                "outcome": line.outcome,
                "hidden": is_hidden,
            }
            for line, is_hidden in lines
            if hidden or not is_hidden
        ],
    }


def shown(
    trace: Trace, handle: str, rows: dict[str, list[Row]] | None = None
) -> dict[tuple[str, str, str], str]:
    """What a person's history shows: (requester, message id, provider) → the outcome. Arguments as for `history`."""
    person = _code_of(trace, handle)
    rows = _rows_about(trace, person) if rows is None else rows
    return {
        (line.requester, id_, line.provider): line.outcome
        for id_, about in rows.items()
        for line, hidden in lines_of(about, lambda _, about=about: about, person)  # type: ignore[misc]
        if not hidden
    }


def _code_of(trace: Trace, handle: str) -> str:
    person = trace.codes_of(handle).get(member_of(BROKER))
    if person is None:
        raise NoCode(f"the trace has no code of {member_of(BROKER)} for {handle}, so nothing is found by it")
    return person


def _rows_about(trace: Trace, person: str) -> dict[str, list[Row]]:
    """The broker's rows of every exchange about the person, by message id, in order of the first."""
    rows: dict[str, list[Row]] = {}
    try:
        for stored in trace.ledger(BROKER):
            key = _key_decoder.decode(stored.row)
            # The row that names the person comes first: what follows it has the id alone.
            if key.subject == person or key.id in rows:
                rows.setdefault(key.id, []).append(read_row(stored.row))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, MeshError):
        raise UsageError(
            "the broker's ledger in the trace is damaged; see what `trace verify` says"
        ) from None
    return rows
