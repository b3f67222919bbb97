"""Family registers as they travel, and who is related to whom by the ties that they record.

A tie is `parent` (the first is a parent of the second, by birth or adoption) or `spouse`. Persons are named
by whatever code their keeper has for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import FromCopy
from mesh.service import Date, Name
from nodes.agency.code_issuer import AcquisitionNumber

Kind = Literal["parent", "spouse"]
Closeness = Literal["self", "spouse", "lineal"]
RecordKey = Annotated[str, Meta(pattern="^kr-[0-9]{5}-[0-9]{6}$")]
"""A register by its home municipality and number, in place of 本籍 and 筆頭者."""
RecordKind = Literal["current", "closed"]
"""戸籍; 除籍 and 改製原戸籍."""


class Tie(NamedTuple):
    """One tie between two persons; `until` is the day on which a marriage ended."""

    kind: Kind
    first: str
    second: str
    until: str | None = None


class Recorded(Struct, frozen=True):
    """A person as a certificate names them."""

    name: Name
    born: Date
    removed: bool
    """Left the register: by marriage, death or another reason."""


class Certificate(FromCopy, frozen=True):
    """What 全部事項証明書 says here: a register's persons, in its order. The home municipality's own is as of its day."""

    record: RecordKey
    kind: RecordKind
    persons: tuple[Recorded, ...]


class Entry(Struct, frozen=True):
    """A person of a register that is copied, with a number by which the link acquires its own code."""

    number: AcquisitionNumber
    name: Name
    born: Date
    removed: bool


class EntryTie(Struct, frozen=True):
    """A tie between two entries, by their places."""

    kind: Kind
    first: Annotated[int, Meta(ge=0)]
    second: Annotated[int, Meta(ge=0)]
    until: Date | None = None


class CopyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The copy of one register as it stands."""

    record: RecordKey
    kind: RecordKind
    protected: bool
    entries: tuple[Entry, ...]
    ties: tuple[EntryTie, ...]


Symbol = Annotated[str, Meta(pattern="^fr-[0-9a-f]{24}$")]
AccessCode = Annotated[str, Meta(pattern="^[0-9]{16}$")]
"""戸籍電子証明書提供用識別符号: sixteen digits, where a personal number has twelve."""


class Copied(Struct, frozen=True):
    """How many persons the copy names."""

    persons: int


class Relations(FromCopy, frozen=True):
    """戸籍関係情報: two persons are tied if their answers hold the same symbol. As of the oldest register of the person."""

    spouse: Symbol | UnsetType | None = UNSET
    """The symbol of the marriage that stands."""
    parents: tuple[Symbol, ...] | UnsetType = UNSET
    """A symbol for each tie to a parent."""
    children: tuple[Symbol, ...] | UnsetType = UNSET
    divorced: bool | UnsetType = UNSET
    """離婚歴."""


class IssuedCode(Struct, frozen=True):
    """A code for the register in which the person stands now, and the last day on which it is good."""

    code: AccessCode
    until: Date


class CertificateQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The code that an applicant handed in."""

    code: AccessCode


class WideAreaQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which register is wanted, and who stands at the counter, as their identity card says."""

    record: RecordKey
    name: Name
    born: Date


def closest(ties: Iterable[Tie], applicant: str, recorded: Iterable[str]) -> Closeness | None:
    """By what right somebody may have a copy (戸籍法10条1項), as nearest to whom it records; None if by none."""
    ties = list(ties)
    recorded = list(recorded)
    if applicant in recorded:
        return "self"
    if any(_are_spouses(ties, applicant, one) for one in recorded):
        return "spouse"
    lineal = [*_line(ties, applicant, up=True), *_line(ties, applicant, up=False)]
    return "lineal" if any(one in lineal for one in recorded) else None


def _are_spouses(ties: list[Tie], one: str, other: str) -> bool:
    return any(
        tie.kind == "spouse"
        and tie.until is None
        and one != other
        and {one, other} == {tie.first, tie.second}
        for tie in ties
    )


def _line(ties: list[Tie], person: str, *, up: bool) -> list[str]:
    """All ancestors, or all descendants, of a person: the nearest first."""
    found: list[str] = []
    pending = [person]
    while pending:
        one = pending.pop(0)
        for tie in ties:
            start, end = (tie.second, tie.first) if up else (tie.first, tie.second)
            if tie.kind == "parent" and start == one and end not in found:
                found.append(end)
                pending.append(end)
    return found
