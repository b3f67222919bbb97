"""Papers of the old process, and which of them an answer or a delivered message replaced.

Rules kept here:
1. A paper is saved by what a provider recorded: an answer about that person, with the items that the paper's row names,
   or the delivery of the message it names. What a body asks of itself saves no paper that it would not ask for either.
2. One answer replaces one copy of a paper of one person. What nothing on record replaces was needed after all, and says
   what was asked and how that ended, by code.
3. A visit is one person, one counter, one day of mesh time: nobody passes its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mesh.errors import CODES
from mesh.from_copy import instant
from mesh.names import member_of
from mesh.records import Attempt, Given, Records


class Visit(StrEnum):
    """What it takes to get a paper."""

    NONE = "none"
    """One has it at hand, or gets it without going to a public counter."""
    COUNTER = "counter"
    """A visit, or a letter, to the counter that issues it."""
    FURTHER = "further"
    """A visit to each office that wants it; to the first of a day one goes all the same."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What takes a paper's place: an answer of a service with these items, or the delivery of a message."""

    service: str
    """The name of a service or push."""
    items: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper of the old process: which counter issues it, at what fee, what asks for it, and what replaces it."""

    name: str
    name_ja: str
    counter: str
    counter_ja: str
    fee_yen: int
    """0 for the many papers that are free."""
    source: str
    """Where counter and fee are stated: a citation, or "illustrative"."""
    asked_by: str = ""
    """The rule by which an office asks for it: a citation, or "illustrative"."""
    replaced_by: tuple[Replacement, ...] = ()
    """One of these is enough; a paper that nothing replaces is never saved."""
    visit: Visit = Visit.COUNTER
    own: bool = False
    """Whether a body asks for it although it could look the matter up itself."""


@dataclass(frozen=True, slots=True)
class Claim:
    """That a paper of these persons was not needed, to be held against the ledgers."""

    paper: Paper
    persons: tuple[str, ...]
    """Handles; an answer about each of them is needed. Nobody's for what is about no person."""
    by: str | None
    """Who asked, if only that one's question counts."""
    since: int
    until: int
    """The rows of all ledgers that count: from behind the first number on, up to the second."""

    def covers(self, number: int, requester: str) -> bool:
        """Whether a row lies within the claim."""
        return self.since < number <= self.until and self.by in (None, requester)


@dataclass(frozen=True, slots=True)
class Saved:
    """A paper that nobody had to attach, and the answers that it rests on."""

    paper: Paper
    persons: tuple[str, ...]
    answers: tuple[Given, ...]

    @property
    def messages(self) -> tuple[str, ...]:
        """The ids of the questions or pushes that replaced it."""
        return tuple(one.row.id for one in self.answers)

    @property
    def day(self) -> str:
        """The day of mesh time, in Japan, on which the paper would have been fetched: that of the first answer."""
        return instant(self.answers[0].row.time_us)[:10]

    def as_json(self) -> dict[str, Any]:
        """The paper as `run --json` gives it."""
        paper = self.paper
        return {
            "name": paper.name,
            "name_ja": paper.name_ja,
            "counter": paper.counter,
            "counter_ja": paper.counter_ja,
            "fee_yen": paper.fee_yen,
            "source": paper.source,
            "asked_by": paper.asked_by,
            "persons": list(self.persons),
            "day": self.day,
            "replaced_by": [{"service": one.row.service, "by": one.provider} for one in self.answers],
            "messages": list(self.messages),
        }


@dataclass(frozen=True, slots=True)
class Fallback:
    """A paper that was needed after all, and why; with the question that did not replace it, if one was put."""

    paper: str
    paper_ja: str
    why: str
    why_ja: str
    persons: tuple[str, ...] = ()
    code: str | None = None
    messages: tuple[str, ...] = ()


def settle(claims: Iterable[Claim], records: Records) -> tuple[list[Saved], list[Fallback]]:
    """Hold claims against the records, in their order: which papers were saved, and which were needed after all."""
    used: set[tuple[str, str, str, str | None]] = set()
    saved: list[Saved] = []
    needed: list[Fallback] = []
    for claim in claims:
        answers = _answers(claim, records, used)
        if answers is None:
            needed.append(_fallback(claim, records))
        else:
            saved.append(Saved(claim.paper, claim.persons, answers))
    return saved, needed


def _answers(
    claim: Claim, records: Records, used: set[tuple[str, str, str, str | None]]
) -> tuple[Given, ...] | None:
    """An answer about each person that no claim before has used; None if there is not one for each."""
    found: dict[tuple[str, str, str, str | None], Given] = {}
    for person in claim.persons or (None,):
        for one in _replacing(claim, records, person):
            key = (claim.paper.name, one.row.requester, one.row.id, person)
            if key not in used:
                found[key] = one
                break
        else:
            return None
    used.update(found)
    return tuple(found.values())


def _replacing(claim: Claim, records: Records, person: str | None) -> Iterable[Given]:
    paper = claim.paper
    for way in paper.replaced_by:
        for one in records.given(way.service, person):
            own = member_of(one.row.requester) == member_of(one.provider)
            if (
                way.items <= one.items
                and claim.covers(one.number, one.row.requester)
                and (paper.own or not own)
            ):
                yield one


def _fallback(claim: Claim, records: Records) -> Fallback:
    """The last question that should have replaced it, and how that ended."""
    paper = claim.paper
    tried: list[Attempt] = [
        one
        for way in paper.replaced_by
        for person in claim.persons or (None,)
        for one in records.attempts(way.service, person)
        if one.code is not None and claim.covers(one.number, one.row.requester)
    ]
    if not tried:
        why, why_ja = "no answer that replaces it is on record", "代わりとなる提供の記録がない"
        return Fallback(paper.name, paper.name_ja, why, why_ja, claim.persons)
    last = max(tried, key=lambda one: one.number)
    known = CODES.get(last.code or "")
    text, text_ja = (known.text, known.text_ja) if known is not None else ("", "")
    return Fallback(
        paper.name,
        paper.name_ja,
        f"{last.row.service} was asked of {last.row.provider}: {last.code}, {text}",
        f"{last.row.provider}への照会（{last.row.service}）: {last.code}、{text_ja}",
        claim.persons,
        last.code,
        (last.row.id,),
    )


def visits_of(saved: Sequence[Saved]) -> int:
    """How many visits fell away with these papers."""
    counters: dict[tuple[str, str, Visit], dict[str, None]] = {}
    for place, one in enumerate(saved):
        # Who fetches a paper about no person is not known: each such paper has a visitor of its own, as different cases do.
        visitor = one.persons[0] if one.persons else f"#{place}"
        provider = one.answers[0].provider
        at = provider if one.paper.visit is Visit.FURTHER else f"{member_of(provider)} {one.paper.counter}"
        counters.setdefault((visitor, one.day, one.paper.visit), {})[at] = None
    return sum(
        max(len(at) - (visit is Visit.FURTHER), 0)
        for (_, _, visit), at in counters.items()
        if visit is not Visit.NONE
    )
