"""Where two runs part: the first message that differs, and what follows from it.

Rules kept here:
1. To the byte, or by meaning: then ids, times, keys and signatures are set aside, and a code is the resident it means.
2. Both traces are read once, in step, and neither is held.
3. The first difference is where both are compared index by index; what comes after is counted, not paired.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

from mesh.errors import MeshError, UsageError
from mesh.message import Permit
from mesh.party import read_line
from mesh.trace.digest import tables_of
from mesh.trace.people import PersonFilter
from mesh.trace.perspective import EVERYTHING, perspective
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS
from mesh.trace.rows import Transmission
from mesh.trace.show import attributes_of

FOLLOWING_MAX: Final = 100
"""Indexes that are listed of what follows; beyond that they are counted."""
_CHUNK: Final = 2**20
_COMPARED: Final = ("message", "transmission")
"""Tables whose rows were compared already, as they were sent."""

Fields = dict[str, Any]


def diff(a: Trace, b: Trace, *, by_meaning: bool = False) -> dict[str, Any]:
    """What `trace diff --json` prints: `same`, `first` and, where they part, `facts` and `follows`.

    Raises `UsageError` where one of the files cannot be read on.
    """
    facts = [
        {"name": name, "a": a.meta.get(name), "b": b.meta.get(name)}
        for name in ("scenario", "seed", "settings", "faults", "starts", "complete")
        if a.meta.get(name) != b.meta.get(name)
    ]
    if _same_file(a, b):
        return {"same": True, "first": None, "facts": facts, "follows": None}
    pair = _first_by_meaning(a, b) if by_meaning else _first(a, b)
    if pair is None:
        what = _outside(a, b, by_meaning=by_meaning)
        first = None if what is None else _found(None, None, what, [])
        return {"same": first is None, "first": first, "facts": facts, "follows": None}
    one, other, fields = pair
    first = _found(one, other, _what(one, other, fields), fields)
    return {"same": False, "first": first, "facts": facts, "follows": _follows(a, b, one, other)}


def _found(
    one: Transmission | None, other: Transmission | None, what: str, fields: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "index_a": None if one is None else one.number,
        "index_b": None if other is None else other.number,
        "what": what,
        "fields": fields,
    }


def _same_file(a: Trace, b: Trace) -> bool:
    """Whether both files have the same bytes; not asked of a run that still writes."""
    if a.live or b.live:
        return False
    try:
        if a.path.stat().st_size != b.path.stat().st_size:
            return False
        with a.path.open("rb") as one, b.path.open("rb") as other:
            while (chunk := one.read(_CHUNK)) == other.read(_CHUNK):
                if not chunk:
                    return True
    except OSError as error:
        raise UsageError(
            f"cannot read {error.filename}: {error.strerror}; name a readable trace file"
        ) from None
    return False


Pair = tuple[Transmission | None, Transmission | None, list[dict[str, Any]]]


def _first(a: Trace, b: Trace) -> Pair | None:
    """The first transmissions of which a byte differs."""
    for row, other in zip_longest(a.raw(), b.raw()):
        if row == other and _same_parties(a, b, row):
            continue
        one, two = (
            None if found is None else next(trace.transmissions(found[0], 1), None)
            for trace, found in ((a, row), (b, other))
        )
        return one, two, [] if one is None or two is None else _compare(_bytes_of(one), _bytes_of(two))
    return None


def _same_parties(a: Trace, b: Trace, row: tuple[Any, ...]) -> bool:
    return a.parties == b.parties or all(a.parties.get(row[at]) == b.parties.get(row[at]) for at in (3, 4))


def _first_by_meaning(a: Trace, b: Trace) -> Pair | None:
    mine, theirs = _Meaning(a), _Meaning(b)
    for one, other in zip_longest(a.transmissions(), b.transmissions()):
        if one is None or other is None:
            return one, other, []
        if fields := _compare(mine.of(one), theirs.of(other)):
            return one, other, fields
    return None


def _compare(a: Fields, b: Fields) -> list[dict[str, Any]]:
    return [
        {"field": name, "a": a.get(name), "b": b.get(name)} for name in a | b if a.get(name) != b.get(name)
    ]


def _bytes_of(sent: Transmission) -> Fields:
    """All that a trace says of a transmission; of a line that can be read, its attributes too."""
    permit = sent.permit
    fields = {
        "index": sent.number, "time_us": sent.sent_us, "arrived_us": sent.arrived_us, "from": sent.sender,
        "to": sent.recipient, "fate": sent.fate, "refused": sent.code, "kind": sent.message.kind,
    }  # fmt: skip
    fields |= attributes_of(sent.message)
    fields |= (
        {} if permit is None else {f"permit {name}": value for name, value in attributes_of(permit).items()}
    )
    return fields | {
        "jws": sent.message.line.decode("ascii", "backslashreplace"),
        "permit": None if permit is None else permit.line.decode("ascii", "backslashreplace"),
    }


def _what(one: Transmission | None, other: Transmission | None, fields: list[dict[str, Any]]) -> str:
    sent = one or other
    line = "" if sent is None else f"{sent.message.kind or 'a line'} {sent.message.service or ''}".rstrip()
    if one is None or other is None:
        return f"only {'b' if one is None else 'a'} goes on, with {line}"
    return f"{line}: {', '.join(field['field'] for field in fields)}"


# By meaning.


class _Meaning:
    """What the transmissions of a trace mean, whatever their ids, times, keys and signatures are."""

    def __init__(self, trace: Trace) -> None:
        self._see = perspective(trace, EVERYTHING).see
        self._handles = {code: f"{handle} at {member}" for handle, member, code in trace.residents()}
        self._last: tuple[int, Fields] = (-1, {})

    def of(self, sent: Transmission) -> Fields:
        """The fields that are compared."""
        return self._message(sent) | {
            "from": sent.sender,
            "to": sent.recipient,
            "fate": sent.fate,
            "refused": sent.code,
            "basis": None if sent.permit is None else attributes_of(sent.permit).get("basis"),
        }

    def _message(self, sent: Transmission) -> Fields:
        # A line is passed on as it is, mostly at once.
        if self._last[0] == sent.message.number:
            return self._last[1]
        seen, attributes = self._see(sent), attributes_of(sent.message)
        fields = {
            "kind": sent.message.kind,
            "service": sent.message.service,
            "code": sent.message.code,
            "procedure": attributes.get("procedure"),
            "items": attributes.get("items"),
            "sealed": None if seen is None else list(seen.sealed),
            "person": None if seen is None else self._plain(seen.subject),
            "content": self._plain(
                attributes.get("data") if seen is None or seen.content is None else seen.content
            ),
        }
        if fields["content"] == _SEALED:
            fields["content"] = None
        self._last = (sent.message.number, fields)
        return fields

    def _plain(self, value: Any) -> Any:
        """A value without what differs between two runs of the same story."""
        if isinstance(value, dict):
            return {name: _TIME if _is_time(name) else self._plain(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        if not isinstance(value, str):
            return value
        if value in self._handles:
            return self._handles[value]
        return next((mark for pattern, mark in _ASIDE if pattern.fullmatch(value)), value)


_TIME: Final = "(time)"
_SEALED: Final = "(sealed)"
_ASIDE: Final = tuple(
    (re.compile(pattern), mark)
    for pattern, mark in (
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(id)"),
        (r"[0-9a-f]{64}", "(digest)"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d.*", _TIME),
        (r"eyJ[\w-]+(\.[\w-]*){4}", _SEALED),
        (r"eyJ[\w-]+(\.[\w-]+){2}", "(signed)"),
        (r"[a-z]+/[a-z0-9-]+:[\w-]{43}", "(code)"),
        (r"[\w-]{43}|[\w-]{86}", "(key)"),
    )
)


def _is_time(name: str) -> bool:
    return name in ("time", "expiry", "id") or name.endswith(("_us", "_at"))


# What lies outside the messages, and what follows.


def _outside(a: Trace, b: Trace, *, by_meaning: bool) -> str | None:
    """In which tables two traces of the same messages differ; None if in none."""
    if by_meaning:
        expected = [[(one.text, one.held, one.tried) for one in trace.expectations()] for trace in (a, b)]
        return None if expected[0] == expected[1] else "the messages mean the same; what was expected differs"
    tables = [dict(tables_of(trace)) for trace in (a, b)]
    names = [name for name in tables[0] | tables[1] if name not in _COMPARED]
    differing = [name for name in names if not _same_rows(a, tables[0].get(name), b, tables[1].get(name))]
    return f"the messages are the same; the tables differ: {', '.join(differing)}" if differing else None


def _same_rows(a: Trace, sql: str | None, b: Trace, other: str | None) -> bool:
    if sql is None or other is None:
        return sql == other
    return all(row == same for row, same in zip_longest(a.rows(sql), b.rows(other)))


def _follows(a: Trace, b: Trace, one: Transmission | None, other: Transmission | None) -> dict[str, Any]:
    """What came after the first difference: in its exchange, about its person, and how much of each service."""
    sides = [_After(a, one), _After(b, other)]
    for side in sides:
        side.read()
    mine, theirs = sides
    services = [
        {"service": name, "a": mine.services[name], "b": theirs.services[name]}
        for name in sorted(mine.services | theirs.services)
        if mine.services[name] != theirs.services[name]
    ]
    person = mine.person or theirs.person
    return {
        "messages": {"a": mine.services.total(), "b": theirs.services.total()},
        "exchange": {"a": mine.exchange, "b": theirs.exchange},
        "person": None if person is None else {"handle": person, "a": mine.about, "b": theirs.about},
        "others": {"a": mine.others, "b": theirs.others},
        "services": services,
    }


class _After:
    """What one trace has from a transmission on."""

    def __init__(self, trace: Trace, first: Transmission | None) -> None:
        self._trace, self._first = trace, first
        self.exchange: list[int] = []
        self.about: list[int] = []
        self.others = 0
        """Messages that came later and have neither to do with its exchange nor with its person."""
        self.services: Counter[str] = Counter()
        self.person: str | None = None if first is None else _person(trace, first)

    def read(self) -> None:
        """Go through the rest of the trace."""
        first = self._first
        if first is None:
            return
        asked = asked_digest(first)
        concerns = None if self.person is None else PersonFilter(self._trace, self.person).concerns
        # Whom an answer is about is known by its question, so people are looked for from the start.
        for sent in self._trace.transmissions(0 if concerns else first.number):
            about = concerns is not None and concerns(sent)
            if sent.number < first.number:
                continue
            within = sent.number == first.number or (asked is not None and asked_digest(sent) == asked)
            self.services[sent.message.service or ""] += 1
            self.others += not (about or within)
            if about and len(self.about) < FOLLOWING_MAX:
                self.about.append(sent.number)
            if within and len(self.exchange) < FOLLOWING_MAX:
                self.exchange.append(sent.number)


def asked_digest(sent: Transmission) -> str | None:
    """The digest of the question or push that a transmission carries or answers, in hex; None for other bytes."""
    if sent.message.kind in ANSWERS:
        digest = attributes_of(sent.message).get("requestdigest")
        return digest if isinstance(digest, str) else None
    return sent.message.digest.hex() if sent.message.kind else None


def _person(trace: Trace, first: Transmission) -> str | None:
    """The resident whom a transmission is about, as far as the trace knows."""
    handles = {code: handle for handle, _, code in trace.residents()}
    for code in _codes(trace, first):
        if code in handles:
            return handles[code]
    return None


def _codes(trace: Trace, first: Transmission) -> Iterator[str]:
    see = perspective(trace, EVERYTHING).see
    asked = asked_digest(first)
    question = [] if asked is None else _transmissions_of(trace, asked)
    for sent in (first, *question):
        seen = see(sent)
        if seen is not None and seen.subject is not None:
            yield seen.subject
        if sent.permit is not None:
            try:
                permit = read_line(sent.permit.line)
            except MeshError:
                continue
            if isinstance(permit, Permit) and permit.subject is not None:
                yield permit.subject


def _transmissions_of(trace: Trace, digest: str) -> Iterator[Transmission]:
    try:
        return trace.transmissions(0, 2, "m.digest = ?", (bytes.fromhex(digest),))
    except ValueError:
        return iter(())
