"""Lists what a trace recorded, as plain data: one row for each transmission, or one message in full.

Everything comes as it is read, so that a listing of a large trace begins at once. Rendering is
`mesh.trace.text`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from mesh import base64url, gates
from mesh.errors import CODES, MeshError, UsageError
from mesh.names import is_role, matches
from mesh.parsing import parse_json
from mesh.recorder import Fate
from mesh.trace.people import PersonFilter
from mesh.trace.perspective import Perspective
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.rows import Message, Transmission
from mesh.trace.tied import tied

_KINDS: Final = (*ASKS, *ANSWERS)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which transmissions are listed; what is None lets all pass."""

    node: str | None = None
    """An address or a role: who sent or got a line, made its message, or is whom that is for."""
    person: str | None = None
    """A resident's handle."""
    service: str | None = None
    code: str | None = None
    """A refusal's own code, or the one with which a gate refused."""
    kind: str | None = None


def rows(trace: Trace, wanted: Filter | None = None, *, start: int = 0) -> Iterator[dict[str, Any]]:
    """The transmissions that pass the filter, in the order of sending, as `trace show --json` has them.

    Raises `UsageError` for an unknown person, code, kind or a node that is neither address nor role.
    """
    return map(row_of, selected(trace, wanted, start=start))


def selected(
    trace: Trace, wanted: Filter | None = None, view: Perspective | None = None, *, start: int = 0
) -> Iterator[Transmission]:
    """The transmissions that pass the filter and that somebody may see, in the order of sending; raises as `rows`."""
    wanted = wanted or Filter()
    _check(wanted)
    person = None if wanted.person is None else PersonFilter(trace, wanted.person)
    where, values = _condition(wanted)
    if view is not None:
        seen, more = view.condition()
        where, values = f"({where}) AND ({seen})", (*values, *more)
    if person is None:
        found = trace.transmissions(start, where=where, values=values)
    else:
        # Answers are found by the request that they name, so every transmission has to be looked at.
        numbers = trace.rows(_NUMBERS.format(where=where), start, *values)
        found = _among(numbers, filter(person.concerns, trace.transmissions()))
    node = wanted.node
    return found if node is None else (sent for sent in found if _touches(sent, node))


def _touches(sent: Transmission, role: str) -> bool:
    """Whether a party of the role has to do with a line: the broker carries what others mean for each other."""
    if matches(role, sent.sender) or matches(role, sent.recipient):
        return True
    said = tied(sent.message.line)
    return matches(role, said.source or "") or matches(role, said.recipient or "")


_NUMBERS: Final = """
SELECT t.number FROM transmission t LEFT JOIN message m ON m.number = t.message
WHERE t.number >= ? AND ({where}) ORDER BY t.number"""


def _among(
    numbers: Generator[tuple[Any, ...], None, None], transmissions: Iterator[Transmission]
) -> Iterator[Transmission]:
    """The transmissions whose index is among the numbers; both rise, so neither is held."""
    with closing(numbers):  # Damage ends one of them, and the other must not outlive the file.
        (following,) = next(numbers, (None,))
        for sent in transmissions:
            while following is not None and following < sent.number:
                (following,) = next(numbers, (None,))
            if following == sent.number:
                yield sent


def _check(wanted: Filter) -> None:
    if wanted.node is not None and not is_role(wanted.node):
        raise UsageError(
            f"{wanted.node!r} is no node; name an address or a role, as muni/01208/tax or muni/*/tax"
        )
    if wanted.code is not None and wanted.code not in CODES:
        raise UsageError(f"there is no code {wanted.code!r}; see the codes with `trace show --help`")
    if wanted.kind is not None and wanted.kind not in _KINDS:
        raise UsageError(f"there is no kind {wanted.kind!r}; it is one of {', '.join(_KINDS)}")


def _condition(wanted: Filter) -> tuple[str, tuple[Any, ...]]:
    """The filter as SQL over t (transmission) and m (message)."""
    parts, values = ["1"], []
    if wanted.code is not None:
        parts.append("(t.code = ? OR m.code = ?)")
        values += [wanted.code] * 2
    for column, value in (("service", wanted.service), ("kind", wanted.kind)):
        if value is not None:
            parts.append(f"m.{column} = ?")
            values.append(value)
    return " AND ".join(parts), tuple(values)


def row_of(sent: Transmission) -> dict[str, Any]:
    """One transmission as a row; `time_us` and `arrived_us` count from the start of the run.

    `code` is the one with which the recipient's gate refused, else the one that the message itself brings, which
    `says` has in any case.
    """
    message = sent.message
    return {
        "index": sent.number,
        "time_us": sent.sent_us,
        "arrived_us": sent.arrived_us,
        "id": message.id,
        "kind": message.kind,
        "from": sent.sender,
        "to": sent.recipient,
        "service": message.service,
        "code": sent.code or message.code,
        "says": message.code,
        "refused": sent.code is not None,
        "fate": sent.fate,
        "jws": text(message.line),
        "permit": None if sent.permit is None else text(sent.permit.line),
    }


def full(trace: Trace, which: str) -> list[dict[str, Any]]:
    """One transmission by its index, or every transmission of the message with that id, in full.

    A row of `rows` with `header`, `attributes`, `permit_attributes`, `checks` and `expectations` besides.
    Raises `UsageError` if the trace has no such message.
    """
    return [row_of(sent) | details(trace, sent) for sent in named(trace, which)]


def named(trace: Trace, which: str) -> list[Transmission]:
    """The transmission with an index, or all of the message with an id; `UsageError` if there is none."""
    if which.isascii() and which.isdigit() and len(which) < 19:
        sent = list(trace.transmissions(int(which), 1, "t.number = ?", (int(which),)))
    else:
        sent = list(trace.transmissions(where="m.id = ?", values=(which,)))
    if not sent:
        last = trace.count("transmission") - 1
        raise UsageError(f"the trace has no message {which!r}; name an index from 0 to {last}, or an id")
    return sent


def details(trace: Trace, sent: Transmission) -> dict[str, Any]:
    """What `full` has of a transmission besides its row."""
    header, attributes = parts(sent.message.line)
    about = [
        one for one in trace.expectations() if one.message is not None and one.message == sent.message.id
    ]
    return {
        "header": header,
        "attributes": attributes,
        "permit_attributes": None if sent.permit is None else parts(sent.permit.line)[1],
        "checks": checks(sent),
        "expectations": [one.as_json() for one in about],
    }


def checks(sent: Transmission) -> list[dict[str, Any]]:
    """The steps of the recipient's gate in their order: each passed, failed or not reached, as the gate recorded it.

    `of` is `permit` for the steps of the permit that came with the message. Empty where it was not recorded: in a trace
    of the first format, or of a table of steps that is not known here.
    """
    delivered = sent.fate == Fate.DELIVERED
    if delivered and sent.gate is None:
        return []
    try:
        version, count = (gates.VERSION, 0) if sent.gate is None else gates.passed(sent.gate)
    except KeyError:
        return []
    gate = gates.gate_of(sent.recipient, sent.message.kind, permitted=sent.permit is not None)
    result = []
    for number, check in enumerate(gates.row_of(gate, sent.message.kind, version)):
        failed = delivered and number == count and sent.code is not None
        result.append(
            {
                "step": check.step.title,
                "step_ja": check.step.title_ja,
                "of": "permit" if check.of_permit else "message",
                "result": "passed" if number < count else "failed" if failed else "not reached",
            }
        )
    return result


def attributes_of(message: Message) -> dict[str, Any]:
    """What a message says beside its seal, as JSON values; nothing for bytes that are no message."""
    attributes = parts(message.line)[1]
    return attributes if isinstance(attributes, dict) else {}


def parts(line: bytes) -> tuple[Any, Any]:
    """Header and payload of a JWS as JSON values; None for what is none."""
    found = line.split(b".")
    return (_json(found[0]), _json(found[1])) if len(found) == 3 else (None, None)


def _json(part: bytes) -> Any:
    try:
        return parse_json(base64url.decode(part))
    except MeshError:
        return None


def text(line: bytes) -> str:
    """A line as text: a JWS is ASCII, and other bytes are escaped."""
    return line.decode("ascii", "backslashreplace")
