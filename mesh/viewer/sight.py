"""Who sees what of one exchange: each party that could have a part in it, against each thing there is to know of it.

Rules kept here:
1. What somebody sees is what their perspective says (`mesh.trace.perspective`), and what stands in their own ledger.
2. Whoever looks at the page learns nothing by it: of a party's page the rows are its own, and of a resident's theirs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from mesh.message import Kind
from mesh.names import BROKER
from mesh.trace.perspective import EVERYTHING, WIRE, OfParties, OfResident, Perspective, Seen
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.rows import Transmission
from mesh.trace.show import attributes_of
from mesh.viewer.opened import Opened, member

PARTIES_MAX: Final = 12
"""Parties that are shown one by one; a push to a nation has thousands."""
CODES_MAX: Final = 4
PARTS: Final = ("was", "ends", "items", "question", "answer")
"""That it was; who asked whom; procedure and items; what was under the seals of question and answer."""

READ, PARTLY, SEALED, ABSENT, NONE = "read", "partly", "sealed", "absent", "none"
"""`partly` is an outsider's: lines between neighbours. `none` is for what the exchange does not have."""


class Code(NamedTuple):
    """One body's code of the person; `text` is None for whom it is sealed."""

    member: str
    text: str | None


class Exchange(NamedTuple):
    """What of an exchange is there for who looks at the page."""

    seen: list[Seen]
    records: list[dict[str, Any]]
    """Ledger rows, as `mesh.viewer.records` gives them."""
    person: str | None


def sight(opened: Opened, view: Perspective, exchange: Exchange) -> dict[str, Any]:
    """The table for one exchange: its rows, its parts, and the codes of its person."""
    # The portal shows a resident no code of anybody.
    codes = [] if isinstance(view, OfResident) else _codes(exchange)
    parties = _parties(opened, exchange.seen)
    whole = view.name == EVERYTHING
    if not whole:
        own = view.parties if isinstance(view, OfParties) else frozenset[str]()
        parties = {one: role for one, role in parties.items() if one in own}
    rows = [
        _row(name, role, opened.perspective(name), exchange, codes)
        for name, role in list(parties.items())[:PARTIES_MAX]
    ]
    if exchange.person is not None:
        # Whether it is hidden from them is for the whole view to know; to themselves it is then not there at all.
        rows.append(_row(exchange.person, "resident", opened.perspective(exchange.person), exchange, codes))
    if whole:
        others = frozenset(opened.trace.parties.values()) - parties.keys()
        rows.append(_row(WIRE, "wire", opened.perspective(WIRE), exchange, codes))
        if others:
            apart = _row("", "others", OfParties(opened.trace, "others", others), exchange, codes)
            rows.append(apart | {"count": len(others)})
    return {
        "parts": list(PARTS),
        "codes": [{"member": one.member, "code": one.text} for one in codes],
        "rows": rows,
        "more": max(0, len(parties) - PARTIES_MAX),
    }


def _parties(opened: Opened, seen: Iterable[Seen]) -> dict[str, str]:
    """Who sent, passed on, received, or should have: who asked first, the broker next."""
    found = dict[str, str]()
    for one in seen:
        stated = attributes_of(one.sent.message)
        answers = one.sent.message.kind in ANSWERS
        asker, answerer = (stated.get("recipient"), stated.get("source"))
        if not answers:
            asker, answerer = answerer, asker
        for address, role in ((asker, "asker"), (answerer, "answerer")):
            if isinstance(address, str):
                found.setdefault(address, role)
        # Of an event those who are told are known by where it went.
        pushed = not answers and one.sent.sender == BROKER
        found.setdefault(one.sent.recipient, "answerer" if pushed else "other")
        found.setdefault(one.sent.sender, "other")
    if BROKER in found:
        found[BROKER] = "broker"
    known = frozenset(opened.trace.parties.values())
    order = ("asker", "broker", "answerer", "other")
    return {
        address: role
        for address, role in sorted(found.items(), key=lambda one: order.index(one[1]))
        if address in known
    }


# Codes.


def _codes(exchange: Exchange) -> list[Code]:
    """Every code of the person that stands in the exchange, in the order in which it came into it."""
    found = dict[Code, None]()
    for one in exchange.seen:
        stated = attributes_of(one.sent.message)
        if isinstance(stated.get("subject"), str):
            found[Code(member(str(stated.get("source"))), one.subject)] = None
        found.update(dict.fromkeys(_of_permit(one)))
    found.update(dict.fromkeys(_of_records(exchange.records)))
    return list(found)[:CODES_MAX]


def _of_permit(one: Seen) -> Iterator[Code]:
    if one.readable and one.sent.permit is not None:
        text = attributes_of(one.sent.permit).get("subject")
        if isinstance(text, str):
            yield Code(_owner(text), text)


def _of_records(records: Iterable[dict[str, Any]]) -> Iterator[Code]:
    for one in records:
        text = (one["row"] or {}).get("subject")
        if isinstance(text, str):
            yield Code(_owner(text), text)


def _owner(code: str) -> str:
    """Whose code it is: a code begins with its member."""
    return code.partition(":")[0]


# One row.


def _row(name: str, role: str, view: Perspective, exchange: Exchange, codes: list[Code]) -> dict[str, Any]:
    seen = [one for one in (view.see(of.sent) for of in exchange.seen) if one is not None]
    parts = {part: _part(part, seen, exchange.seen) for part in PARTS}
    states = [_code(one, name, seen, exchange) for one in codes]
    if isinstance(view, OfResident):
        # The portal shows no bytes: what a resident cannot read is not there.
        parts = {part: ABSENT if state == SEALED else state for part, state in parts.items()}
        states = [ABSENT for _ in codes]
    return {
        "who": name,
        "role": role,
        "index": _index(view, seen[0]) if seen else None,
        "parts": parts,
        "codes": states,
    }


def _index(view: Perspective, first: Seen) -> int:
    """Under which number somebody finds a transmission: a resident's are their own."""
    number = first.sent.number
    return bisect_left(view.numbers, number) if isinstance(view, OfResident) else number


def _part(part: str, seen: list[Seen], whole: list[Seen]) -> str:
    if part == "was":
        return READ if seen else ABSENT
    if part in ("ends", "items"):
        if any(one.readable for one in seen):
            return READ
        return ABSENT if not seen else PARTLY if part == "ends" else SEALED
    kinds = ASKS if part == "question" else ANSWERS
    whole = [one for one in whole if _has_data(one.sent, kinds)]
    if not whole:
        return NONE
    own = [one for one in seen if _has_data(one.sent, kinds)]
    if any(one.readable and _sealed_part(one.sent) not in one.sealed for one in own):
        return READ
    return SEALED if own else ABSENT


def _has_data(sent: Transmission, kinds: Iterable[str]) -> bool:
    stated = attributes_of(sent.message)
    return sent.message.kind in kinds and isinstance(stated.get(_sealed_part(sent)), str)


def _sealed_part(sent: Transmission) -> str:
    """Which part of a message holds its content: of a refusal that says no more to others, why."""
    return "reason" if sent.message.kind == Kind.REFUSAL else "data"


def _code(code: Code, name: str, seen: list[Seen], exchange: Exchange) -> str:
    own = [one for one in exchange.records if one["party"] == name]
    if code.text is not None and (
        code in _of_records(own) or any(one.subject == code.text or code in _of_permit(one) for one in seen)
    ):
        return READ
    named = {of.sent.number for of in exchange.seen if _names(of, code)}
    # On the wire the whole line is closed; the code is in it.
    return SEALED if any(one.sent.number in named for one in seen) else ABSENT


def _names(of: Seen, code: Code) -> bool:
    """Whether a transmission holds the code, open or sealed."""
    stated = attributes_of(of.sent.message)
    sent = of.subject == code.text and isinstance(stated.get("subject"), str)
    return (sent and member(str(stated.get("source"))) == code.member) or code in _of_permit(of)
