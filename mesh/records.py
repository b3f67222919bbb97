"""What all parties' ledgers say together of one question or push: whom it was about, and how it ended.

A report's claims about papers and pushes are held against these rows, and against nothing else.

Rules kept here:
1. Given is only what its provider recorded as `answered` without a code, and its requester, if it keeps a record, as
   `closed` without one; a push is given to who recorded its receipt.
2. A person is known by the code that the recording party's member has of them; a row without one is about nobody, and
   counts only where a claim says from which row of the ledgers on.
3. How a question ended is what its provider recorded; else what its requester or the broker did.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field

from mesh.ledger import Row
from mesh.names import member_of

CodeOf = Callable[[str, str], str | None]
"""A member's code of a resident, by member and handle; None where there is none."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer, or a push that was received, as its provider or receiver recorded it."""

    number: int
    """Its place among all parties' rows, in the order of commits."""
    row: Row

    @property
    def provider(self) -> str:
        """Who answered, or received the push."""
        return self.row.provider or ""

    @property
    def items(self) -> frozenset[str]:
        """What was given."""
        return frozenset((self.row.items or "").split())


@dataclass(frozen=True, slots=True)
class Attempt:
    """A question or push as its sender recorded it, and the code with which it ended; None for an answer."""

    number: int
    row: Row
    code: str | None


@dataclass(slots=True)
class Records:
    """The rows of some services and pushes, by what they are about."""

    code_of: CodeOf
    pushes: Container[str] = ()
    _given: dict[str, dict[str, dict[str | None, list[Given]]]] = field(default_factory=dict)
    """Service → member → its code of the person → what it gave."""
    _opened: dict[str, list[tuple[int, Row]]] = field(default_factory=dict)
    _answered: dict[tuple[str, str], str | None] = field(default_factory=dict)
    """(Requester, id) → the code in the provider's record."""
    _closed: dict[tuple[str, str], str | None] = field(default_factory=dict)
    """(Requester, id) → the code in the requester's own record; `timeout` until it is closed."""

    @classmethod
    def of(
        cls,
        rows: Iterable[tuple[str, Row]],
        services: Container[str],
        code_of: CodeOf,
        pushes: Container[str] = (),
    ) -> Records:
        """The records of these services and pushes, out of all rows with their parties, in the order of commits."""
        records = cls(code_of, pushes)
        for number, (party, row) in enumerate(rows, 1):
            if row.service is None or row.service in services:  # A `closed` row says no more than the id.
                records._take(number, party, row)
        return records

    def _take(self, number: int, party: str, row: Row) -> None:
        exchange, service = (row.requester, row.id), row.service or ""
        if row.entry == "opened" and party == row.requester:
            self._opened.setdefault(service, []).append((number, row))
            self._closed.setdefault(exchange, "timeout")
        elif row.entry == "closed" and party == row.requester and exchange in self._closed:
            self._closed[exchange] = row.code
        elif row.entry == "answered" and party == row.provider:
            self._answered[exchange] = row.code
            if row.code is None:
                by_code = self._given.setdefault(service, {}).setdefault(member_of(party), {})
                by_code.setdefault(row.subject, []).append(Given(number, row))

    def given(self, service: str, person: str | None) -> list[Given]:
        """What was given by a service, or received of a push, about a person or about nobody, the earliest first."""
        found: list[Given] = []
        for member, by_code in self._given.get(service, {}).items():
            found += by_code.get(None, ())
            code = None if person is None else self.code_of(member, person)
            if code is not None:
                found += by_code.get(code, ())
        if service not in self.pushes:
            found = [one for one in found if self._closed.get((one.row.requester, one.row.id)) is None]
        return sorted(found, key=lambda one: one.number)

    def attempts(self, service: str, person: str | None) -> Iterator[Attempt]:
        """Who asked or pushed about a person or about nobody, and how that ended; unanswered is `timeout`."""
        for number, row in self._opened.get(service, ()):
            code = None if person is None else self.code_of(member_of(row.requester), person)
            if row.subject in (None, code):
                exchange = (row.requester, row.id)
                yield Attempt(number, row, self._answered.get(exchange) or self._closed[exchange])
