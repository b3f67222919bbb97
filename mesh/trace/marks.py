"""Rows that hide an exchange from its person (番号法23条2項): in all three ledgers, or in none.

Who hides an exchange marks its own ledger and asks the others to mark theirs (`ledger.mark.v1`), which they do before they
answer. So a mark belongs to a question: one that nobody asked for hides what nobody wants hidden.
"""

from __future__ import annotations

from collections import Counter

from mesh.builtin import LEDGER_MARK
from mesh.ledger import TIMES_WITHIN_US, Row
from mesh.trace.clocks import Exchange


class Marks:
    """All marks of a trace, in the order of commits. What is wrong with one comes back as text."""

    def __init__(self) -> None:
        self._own: dict[Exchange, int] = {}
        """Exchanges that their requester marked, and how often."""
        self._others: dict[tuple[str, Exchange], int] = {}
        """The same of other parties, by party."""
        self._begun: dict[str, list[tuple[Exchange, int]]] = {}
        """Of each requester: its marks for which it has asked nobody yet, with their times."""
        self._unanswered: dict[tuple[str, str], list[tuple[Exchange, int]]] = {}
        """By party and requester: marks whose question is not answered yet."""
        self._failed: Counter[str] = Counter()
        """By requester: questions that did not end with a mark."""

    def mark(self, party: str, row: Row) -> str | None:
        """Take in a mark."""
        exchange = (row.requester, row.id)
        if party == row.requester:
            self._own[exchange] = self._own.get(exchange, 0) + 1
            if any(begun == exchange for begun, _ in self._begun.get(party, ())):
                return "a mark is there twice"
            self._begun.setdefault(party, []).append((exchange, row.time_us))
            return None
        times = self._others[party, exchange] = self._others.get((party, exchange), 0) + 1
        self._unanswered.setdefault((party, row.requester), []).append((exchange, row.time_us))
        return (
            None if times <= self._own.get(exchange, 0) else "a mark hides what its requester does not hide"
        )

    def asked(self, row: Row) -> str | None:
        """Take in that a requester opened a question for a mark."""
        if row.service != LEDGER_MARK.name:
            return None
        self._failed[row.requester] += 1
        for _, time_us in self._begun.pop(row.requester, ()):
            if abs(row.time_us - time_us) > TIMES_WITHIN_US:
                return "it hid an exchange at another time than it says"
        return None

    def answered(self, party: str, row: Row) -> str | None:
        """Take in that a party answered a question for a mark."""
        if row.service != LEDGER_MARK.name or row.code is not None:
            return None
        self._failed[row.requester] -= 1
        waiting = self._unanswered.get((party, row.requester))
        if not waiting:
            return "it says that it hid an exchange, and has no mark"
        _, time_us = waiting.pop(0)
        return (
            None
            if abs(row.time_us - time_us) <= TIMES_WITHIN_US
            else "it hid an exchange at another time than it says"
        )

    def finish(self, parties: dict[Exchange, list[str]]) -> list[tuple[str, Exchange, str]]:
        """At the end: party, exchange and text of what is wrong. `parties` are the others of each exchange that was marked."""
        found = [
            (party, exchange, "a mark hides an exchange, and nobody asked for it")
            for (party, _), waiting in self._unanswered.items()
            for exchange, _ in waiting
        ]
        found += [
            (party, exchange, "it hid an exchange in its own ledger only")
            for party, begun in self._begun.items()
            for exchange, _ in begun
        ]
        for exchange in self._own:
            missing = [one for one in parties.get(exchange, ()) if (one, exchange) not in self._others]
            if missing and self._failed[exchange[0]] > 0:
                # Who was asked and did not answer ends the asking: that is unfinished, for one exchange each.
                self._failed[exchange[0]] -= 1
                continue
            found += [(party, exchange, "it shows an exchange that its requester hides") for party in missing]
        return found

    @property
    def marked(self) -> list[Exchange]:
        """The exchanges that their requester hides."""
        return list(self._own)
