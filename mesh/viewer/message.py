"""One transmission in full, as somebody sees it: what was signed, checked, permitted and recorded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final

from mesh.errors import CODES
from mesh.trace.perspective import OfResident, Perspective, Seen, Text
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.seen import details_seen
from mesh.trace.show import parts, text
from mesh.viewer.absent import Absent
from mesh.viewer.copying import copies
from mesh.viewer.folder import Missing
from mesh.viewer.opened import Opened
from mesh.viewer.records import key_of, record
from mesh.viewer.rows import NUMBER_MAX, Filters, row, select, text_of
from mesh.viewer.sight import Exchange, sight

RELATED_MAX: Final = 200
"""Transmissions and ledger rows of one exchange that are shown; a push to a nation has thousands."""
_NO_COPY: Final = dict[str, None].fromkeys(("jws", "json", "curl", "openssl"))


def message(opened: Opened, number: int, name: str) -> dict[str, Any]:
    """Everything about one transmission; `Missing` if there is none, `Absent` if it is not there for who looks.

    A resident names a line of their history by their own number of it.
    """
    view = opened.perspective(name)
    behind = _behind(view, number)
    found = opened.transmissions([behind])
    seen = view.see(found[0]) if found else None
    if seen is None:
        if view.shows(Text.RUN) or isinstance(view, OfResident):
            raise Missing(f"there is no message {number}")
        if not opened.index.done:
            return {}  # Which is nearest is not known yet.
        raise Absent(f"{name} has no message {number}", "message", nearest=_nearest(opened, number, view))
    listed = row(opened, seen, view)
    made: dict[str, Any] = {
        "row": listed, "sealed": listed["sealed"], "code": _code(listed["code"]), "says": _code(listed["says"]),
        "reason": _code(listed["reason"]),
    }  # fmt: skip
    made |= _readable(opened, seen, view) if seen.readable else _UNREADABLE
    if not opened.index.done:
        made |= {name: _UNREADABLE[name] for name in _TIED}
    return made | _neighbours(opened, behind, view)


def _behind(view: Perspective, number: int) -> int:
    """The transmission that somebody's number names; a number of none if it names nothing."""
    if not isinstance(view, OfResident):
        return number
    return view.numbers[number] if number < len(view.numbers) else NUMBER_MAX


def _neighbours(opened: Opened, number: int, view: Perspective) -> dict[str, int | None]:
    """What comes before and after among what the same person has, by their numbers."""
    if isinstance(view, OfResident):
        at, last = bisect_left(view.numbers, number), len(view.numbers) - 1
        return {"previous": at - 1 if at else None, "next": at + 1 if at < last else None}
    if not opened.index.listed:
        last = opened.count - 1
        if not view.shows(Text.RUN):
            return {"previous": None, "next": None}
        return {"previous": number - 1 if number else None, "next": number + 1 if number < last else None}
    places, column = select(opened, Filters(as_=view.name)), opened.index.columns["number"]
    at = bisect_left(places, opened.index.place_of(number))
    after = at + 1 if at < len(places) and column[places[at]] == number else at
    return {
        "previous": column[places[at - 1]] if at else None,
        "next": column[places[after]] if after < len(places) else None,
    }


def _nearest(opened: Opened, number: int, view: Perspective) -> int | None:
    """The message of the same exchange that somebody has, nearest to one that they do not have."""
    own = [one.sent.number for one in _exchange(opened, number, view)]
    return min(own, key=lambda one: abs(one - number), default=None)


_UNREADABLE: Final[dict[str, Any]] = {
    "header": None, "attributes": None, "permit_header": None, "permit_attributes": None, "basis": None,
    "checks": [], "content": None, "subject": None, "person": None, "jws": None,
    "permit_jws": None, "digests": {}, "exchange": [], "sight": None, "ledger": [], "expectations": [], "copy": _NO_COPY,
    "permit_copy": _NO_COPY,
}  # fmt: skip


_TIED: Final = ("person", "digests", "exchange", "sight", "ledger")
"""What ties a message to others; it is not known before the whole trace was read."""
_OF_LINE: Final = (
    "header", "attributes", "permit_header", "permit_attributes", "subject", "jws", "permit_jws", "digests",
    "copy", "permit_copy",
)  # fmt: skip
"""What a resident has of no exchange in their history: the portal shows what was, never the bytes (番号法23条)."""


def _readable(opened: Opened, seen: Seen, view: Perspective) -> dict[str, Any]:
    trace, sent = opened.trace, seen.sent
    line, permit = sent.message.line, None if sent.permit is None else sent.permit.line
    attributes = parts(line)[1]
    permit_header, permitted = (None, None) if permit is None else parts(permit)
    stated = details_seen(trace, seen, view)
    related = list(_exchange(opened, sent.number, view))
    records, person = list(_ledger(opened, sent.number, view)), _person(opened, sent.number, view)
    made = stated | {
        "permit_header": permit_header,
        "basis": _basis(trace, permitted) if view.shows(Text.BASIS, sent) else None,
        "content": seen.content,
        "subject": seen.subject,
        "person": person,
        "jws": text(line),
        "permit_jws": None if permit is None else text(permit),
        "digests": _digests(seen, attributes, permitted, related),
        "exchange": [row(opened, one, view) for one in related],
        "sight": sight(opened, view, Exchange(related, records, person)) if related else None,
        "ledger": records,
        "copy": copies(line, permit, key_of(trace, line)),
        "permit_copy": _NO_COPY if permit is None else copies(permit, None, key_of(trace, permit)),
    }
    if not view.shows(Text.LINE, sent):
        made |= {name: _UNREADABLE[name] for name in _OF_LINE}
    return made


def _basis(trace: Trace, permitted: Any) -> dict[str, Any] | None:
    """The row of the law that the permit names, as far as the trace has it."""
    if not isinstance(permitted, dict) or not isinstance(permitted.get("basis"), str):
        return None
    name = permitted["basis"]
    row = _part(trace, "law", name)
    procedure = _part(trace, "procedures", row.get("procedure"))
    return (
        {"id": name, "known": bool(row)}
        | row
        | {"procedure_title": procedure.get("title"), "procedure_title_ja": procedure.get("title_ja")}
    )


def _part(trace: Trace, key: str, name: Any) -> dict[str, Any]:
    """One of the named things that the trace says of itself; none of a trace that does not say it."""
    named = trace.meta.get(key)
    found = named.get(name) if isinstance(named, dict) and isinstance(name, str) else None
    return found if isinstance(found, dict) else {}


def _code(name: str | None) -> dict[str, Any] | None:
    """What a code means, whose fault it is, and who can mend it."""
    code = CODES.get(name or "")
    if code is None:
        return None
    return {
        "name": code.name, "text": code.text, "text_ja": code.text_ja, "fault": code.fault,
        "definite": code.definite, "fix": code.fix, "fix_ja": code.fix_ja,
        "again": code.again.title, "again_text": code.again.text, "again_text_ja": code.again.text_ja,
    }  # fmt: skip


def _person(opened: Opened, number: int, view: Perspective) -> str | None:
    """Whom it is about: a handle that only the simulation and its resident know."""
    exchange = opened.index.exchange_of(number)
    about = (person for person, some in opened.index.about.items() if exchange in some)
    return next((one for one in about if view.shows(Text.RUN) or view.shows(Text.PERSON, one)), None)


# What belongs together.


def _ledger(opened: Opened, number: int, view: Perspective) -> Iterator[dict[str, Any]]:
    """The ledger rows about the exchange: everybody's, or one's own."""
    exchange = opened.index.exchange_of(number)
    if exchange is None:
        return
    for at in opened.index.ledger_rows_of(exchange)[:RELATED_MAX]:
        stored = opened.trace.ledger_row(at)
        if view.shows(Text.RECORD, stored.party):
            yield record(opened, stored)


def _exchange(opened: Opened, number: int, view: Perspective) -> Iterator[Seen]:
    """The transmissions of the same exchange that the same person sees."""
    index = opened.index
    exchange = index.exchange_of(number)
    places = [] if exchange is None else index.places_of(exchange)
    numbers = [index.columns["number"][place] for place in places[:RELATED_MAX]]
    for sent in opened.transmissions(numbers):
        seen = view.see(sent)
        if seen is not None:
            yield seen


def _digests(seen: Seen, attributes: Any, permitted: Any, related: list[Seen]) -> dict[str, Any]:
    """SHA-256 of what is named and where that stands: `request`, `permit` and `reply`, each with its index."""
    attributes = attributes if isinstance(attributes, dict) else {}
    permitted = permitted if isinstance(permitted, dict) else {}
    sent, of_message, of_permit, answers = seen.sent, dict[str, int](), dict[str, int](), list[Seen]()
    for one in related:
        of_message.setdefault(one.sent.message.digest.hex(), one.sent.number)
        if one.sent.permit is not None:
            of_permit.setdefault(one.sent.permit.digest.hex(), one.sent.number)
        if one.sent.message.kind in ANSWERS:
            answers.append(one)
    asks = sent.message.kind in ASKS
    request = sent.message.digest.hex() if asks else text_of(attributes, "requestdigest")
    permit = sent.permit.digest.hex() if sent.permit is not None else text_of(attributes, "permitdigest")
    if permit is None and asks:
        permit = next(iter(of_permit), None)
    answer = sent.message.digest.hex() if not asks else None
    if asks and answers:
        answer = _answer(answers, permit)
    return {
        "message": sent.message.digest.hex(),
        "request": _tie(request, of_message),
        "permit": _tie(permit, of_permit),
        "reply": _tie(answer, of_message),
        "permit_names_request": text_of(permitted, "requestdigest") == request if permitted else None,
    }


def _answer(answers: list[Seen], permit: str | None) -> str:
    """The answer under the permit, or else the first."""
    named = (
        one for one in answers if text_of(parts(one.sent.message.line)[1] or {}, "permitdigest") == permit
    )
    return next(named, answers[0]).sent.message.digest.hex()


def _tie(digest: str | None, places: dict[str, int]) -> dict[str, Any] | None:
    return None if digest is None else {"digest": digest, "index": places.get(digest)}
