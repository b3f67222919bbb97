"""The refusals of a run, as a person looks them up: number, service, code and text; whether a push, whether expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from mesh.errors import CODES, outer_of
from mesh.visible import one_line


@dataclass(frozen=True, slots=True)
class Refusal:
    """One signed refusal."""

    index: int
    """The transmission that carried it first."""
    service: str
    """The service or push that was refused."""
    code: str
    """What it says to its recipient: the reason under its seal, if it has one."""
    text: str
    by: str
    to: str
    push: bool = False
    """Whether a push was refused, and no question."""
    expected: bool = False
    """Whether the scenario expected it, by `sim.refused`."""
    times: int = 1
    """How many like it this stands for."""

    @property
    def text_ja(self) -> str:
        """What the code says in Japanese."""
        known = CODES.get(self.code)
        return "" if known is None else known.text_ja

    def as_json(self) -> dict[str, Any]:
        """The refusal as `run --json` gives it."""
        return {
            "index": self.index,
            "service": self.service,
            "code": outer_of(self.code),
            "text": self.text,
            "text_ja": self.text_ja,
            "by": self.by,
            "to": self.to,
            "times": self.times,
        } | ({} if outer_of(self.code) == self.code else {"reason": self.code})

    def as_line(self) -> str:
        """The refusal as one line of text, English and Japanese."""
        times = f" (× {self.times})" if self.times > 1 else ""
        line = f"#{self.index} {self.service} {self.code}, {self.by} → {self.to}: {self.text} / {self.text_ja}{times}"
        return one_line(line)


def gathered(refusals: Iterable[Refusal]) -> list[Refusal]:
    """Alike ones as one, which has the number of the first and says how many there are."""
    found: dict[tuple[str, ...], Refusal] = {}
    for one in refusals:
        alike = (one.service, one.code, one.text, one.by, one.to)
        first = found.get(alike)
        found[alike] = one if first is None else replace(first, times=first.times + 1)
    return list(found.values())


def unexpected_since(refusals: Iterable[Refusal], since: int, until: int | None) -> Iterator[Refusal]:
    """Those that nobody expected, from a transmission on and before another."""
    for one in refusals:
        if not one.expected and since <= one.index and (until is None or one.index < until):
            yield one


class Stated(Protocol):
    """An expectation, as far as it matters here."""

    @property
    def held(self) -> bool:
        """Whether it was tried and held."""

    @property
    def failed(self) -> bool:
        """Whether it was tried and did not hold."""

    @property
    def after(self) -> int:
        """How many transmissions had begun when it was stated."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What may have made an expectation fail: the unexpected refusals since the last one before it that held."""

    expectation: int | None
    """The place of the expectation among all, from 0; None for a scenario that broke off."""
    refusals: tuple[Refusal, ...]


def behind(expectations: Sequence[Stated], refused: Iterable[Refusal], place: int | None) -> Behind:
    """What stands behind an expectation that failed, or behind the end (None)."""
    before = expectations if place is None else expectations[:place]
    since = max((one.after for one in before if one.held), default=0)
    until = None if place is None else expectations[place].after
    return Behind(place, tuple(gathered(unexpected_since(refused, since, until))))


def all_behind(
    expectations: Sequence[Stated], refused: Sequence[Refusal], *, broke_off: bool
) -> list[Behind]:
    """What stands behind each expectation that failed, and behind a scenario that broke off, if there is anything."""
    places: list[int | None] = [place for place, one in enumerate(expectations) if one.failed]
    found = [behind(expectations, refused, place) for place in places + [None] * broke_off]
    return [one for one in found if one.refusals]


def read_behind(said: object) -> list[Behind]:
    """The same as a trace has kept it; nothing of what reads otherwise, or is not there."""
    try:
        return msgspec.convert(said, list[Behind])
    except msgspec.ValidationError:
        return []


@dataclass(frozen=True, slots=True)
class Expected:
    """A part of a run in which a scenario expected a code, and met it: from one transmission up to another."""

    since: int
    until: int
    code: str

    def covers(self, refusal: Refusal) -> bool:
        """Whether a refusal is the one that was expected."""
        return self.since <= refusal.index < self.until and refusal.code == self.code


def marked(refusals: Iterable[Refusal], expected: Sequence[Expected]) -> tuple[Refusal, ...]:
    """The refusals, each with whether it was expected."""
    return tuple(
        replace(one, expected=True) if any(part.covers(one) for part in expected) else one for one in refusals
    )
