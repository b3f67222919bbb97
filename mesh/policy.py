"""The gate of the law: who may ask whom for what, from which zone. Deny by default.

Rules kept here:
1. A request about a person needs a row: requester role × procedure × provider role × service × items
   (番号法19条8号, 令和6年デジタル庁・総務省令第9号 2条の表; formerly 別表第二). Anything not listed is refused.
2. Rows hold between dates; the date is the broker's when it decides.
3. A service about no person needs no row, unless rows exist that restrict it.
4. A permit names its row, and who gets it looks the row up in its own copy of the law: `check_permit` says whether it
   covers what was permitted, and provider, subscriber and verification of a trace ask nothing else.
5. A refusal names the rule and what would be allowed, in registered names, and the code names who can
   mend it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from mesh import names
from mesh.arguments import check_names, wrong
from mesh.errors import MeshError
from mesh.message import TEXT_LENGTH_MAX, Permit, items_of, parse_time
from mesh.names import Zone, member_of

FOREVER_US = 2**53 - 1
NO_BASIS_ID = "none"
"""What a permit names for a service that is about no person and that no row restricts."""
_PROCEDURE = re.compile(r"(?=[0-9.-]*[a-z])[a-z0-9.-]+")


class LegalBasis(Struct, frozen=True):
    """One row of the table: what makes a request, a notice or a subscription lawful.

    For an event the requester is the subscriber and the provider the publisher; for a notice the
    requester is the sender and the provider the recipient.
    """

    requester: str
    """A role: `muni/*/child-allowance`."""
    procedure: str
    provider: str
    service: str
    items: tuple[str, ...] = ()
    citation: str = "illustrative"
    id: str = ""
    from_us: int = 0
    until_us: int = FOREVER_US
    same_member: bool = False
    """Holds only inside one body (番号法9条2項, 19条11号)."""
    consent: bool = False
    """Needs the person's consent besides."""
    assessment: bool = False
    """Needs the requester's published 特定個人情報保護評価 (番号法28条)."""
    undisclosed: bool = False
    """Exchanges under it are not shown to the person (番号法23条2項)."""
    subjects_max: int = 1

    def __post_init__(self) -> None:
        """`UsageError` for what is no row: an object in place of its name, or one text in place of several."""
        for name in ("requester", "procedure", "provider", "service", "citation", "id"):
            if not isinstance(getattr(self, name), str):
                value = getattr(self, name)
                known = getattr(value, "name", None) or getattr(value, "address", None)
                wrong(
                    "LegalBasis",
                    f"{name} as text",
                    value,
                    f"write {known!r}" if known else "write it in quotes",
                )
        check_names("LegalBasis", "items", self.items)
        if not isinstance(self.items, tuple):  # A list would change under those who hold the row.
            force_setattr(self, "items", tuple(self.items))


NO_BASIS = LegalBasis("*/*/*", "", "*/*/*", "", id=NO_BASIS_ID, citation="about no person")


class Procedure(Struct, frozen=True):
    """An administrative task (事務) for which data is asked."""

    id: str
    title: str
    title_ja: str


class ZonePath(Struct, frozen=True):
    """An allowed crossing between two zones (特定通信), for two roles."""

    start: Zone
    end: Zone
    requester: str = "*/*/*"
    provider: str = "*/*/*"
    citation: str = "illustrative"


class Policy:
    """The law as the broker applies it: rows, zone paths, published assessments."""

    def __init__(
        self,
        bases: Iterable[LegalBasis] = (),
        paths: Iterable[ZonePath] = (),
        procedures: Iterable[Procedure] = (),
    ) -> None:
        self.bases: list[LegalBasis] = []
        self.paths = list(paths)
        self.procedures = {procedure.id: procedure for procedure in procedures}
        self._unassessed: set[tuple[str, str]] = set()
        self._unnamed = 0
        self._rows_of: dict[str, list[LegalBasis]] = {}
        self._by_id: dict[str, LegalBasis] = {}
        self._candidates = lru_cache(maxsize=65536)(self._match)
        self._judged = lru_cache(maxsize=65536)(self._judge)
        self.may_cross = lru_cache(maxsize=65536)(self._may_cross)
        for basis in bases:
            self.add(basis)

    def add(self, basis: LegalBasis) -> None:
        """Put a row in force; it gets the next id unless it brings one."""
        if not (names.is_role(basis.requester) and names.is_role(basis.provider)):
            raise ValueError(f"roles are like muni/*/tax: {basis.requester!r}, {basis.provider!r}")
        if _PROCEDURE.fullmatch(basis.procedure) is None:
            raise ValueError(f"a procedure is named like child-allowance: {basis.procedure!r}")
        if max(len(basis.procedure), len(basis.id)) > TEXT_LENGTH_MAX or basis.subjects_max < 0:
            raise ValueError(
                f"the row for {basis.service} does not fit into a permit; shorten procedure and id"
            )
        if not basis.id:
            # Counted by themselves: a row more in a nation's tables must not rename those of a scenario.
            self._unnamed += 1
            basis = replace(basis, id=f"added-{self._unnamed}")
        self.bases.append(basis)
        self._rows_of.setdefault(basis.service, []).append(basis)
        self._by_id[basis.id] = basis
        self.procedures.setdefault(
            basis.procedure, Procedure(basis.procedure, basis.procedure, basis.procedure)
        )
        self._candidates.cache_clear()
        self._judged.cache_clear()

    def allow_path(self, path: ZonePath) -> None:
        """Open one crossing between zones."""
        self.paths.append(path)
        self.may_cross.cache_clear()

    def withdraw_assessment(self, member: str, procedure: str) -> None:
        """Record that a member has no published assessment for a procedure (番号法28条)."""
        self._unassessed.add((member, procedure))

    def restricts(self, service: str) -> bool:
        """Whether the law has rows for the service, so that a request needs one."""
        return service in self._rows_of

    def rows(self, service: str) -> tuple[LegalBasis, ...]:
        """All rows about a service or push, in order of declaration."""
        return tuple(self._rows_of.get(service, ()))

    def lets(self, address: str, service: str) -> bool:
        """Whether some row lets a node ask a service, whenever it is in force."""
        return any(names.matches(row.requester, address) for row in self._rows_of.get(service, ()))

    def decide(
        self,
        requester: str,
        procedure: str,
        provider: str,
        service: str,
        items: frozenset[str],
        now_us: int,
    ) -> LegalBasis:
        """The row that makes the exchange lawful now: the first in force that covers the items.

        Raises `MeshError`: no_legal_basis, assessment_missing or item_not_permitted, in that order. Where
        rows are in force and none covers the items, the first of them explains what is permitted.
        """
        basis, covers = self._choose(requester, procedure, provider, service, items, now_us)
        if basis is None:
            raise MeshError("no_legal_basis", self._explain(requester, provider, service, now_us))
        if basis.assessment and (member_of(requester), procedure) in self._unassessed:
            raise MeshError("assessment_missing")
        if not covers:
            raise MeshError(
                "item_not_permitted",
                f"row {basis.id} ({basis.citation}) permits only: {' '.join(sorted(basis.items)) or 'no items'}",
            )
        return basis

    def hides(
        self,
        requester: str,
        procedure: str | None,
        provider: str,
        service: str,
        items: frozenset[str],
        now_us: int,
    ) -> bool:
        """Whether the row that `decide` goes by keeps the exchange from the person's view (番号法23条2項)."""
        if procedure is None:
            return False
        basis, _ = self._choose(requester, procedure, provider, service, items, now_us)
        return basis is not None and basis.undisclosed

    def _choose(
        self,
        requester: str,
        procedure: str,
        provider: str,
        service: str,
        items: frozenset[str],
        now_us: int,
    ) -> tuple[LegalBasis | None, bool]:
        """The first row in force that covers the items, or else the first in force; and whether it covers them."""
        first = None
        for basis, permitted in self._candidates(requester, procedure, provider, service):
            if basis.from_us <= now_us < basis.until_us:
                if items <= permitted:
                    return basis, True
                first = first or basis
        return first, False

    def check_permit(self, permit: Permit, *, is_event: bool = False) -> None:
        """Whether the row that a permit names covers what it permits, at its own time.

        Raises `MeshError`: no_legal_basis, item_not_permitted, or consent_required if its row demands a consent and
        none came with it; schema_invalid for a time or items that are none.
        """
        basis, refusal = self._judged(
            permit.basis,
            permit.requester,
            permit.recipient,
            permit.service,
            permit.procedure,
            permit.items,
            permit.subject is None,
            permit.consent is None,
            permit.undisclosed,
            permit.subjectsmax,
            is_event,
        )
        if refusal is not None:
            raise MeshError(*refusal)
        if not basis.from_us <= parse_time(permit.time) < basis.until_us:
            raise MeshError("no_legal_basis", f"the permit's row {basis.id} is not in force at its time")

    def _judge(
        self,
        id_: str,
        requester: str,
        recipient: str,
        service: str,
        procedure: str | None,
        items: str | None,
        about_nobody: bool,
        without_consent: bool,
        undisclosed: bool,
        subjects_max: int,
        is_event: bool,
    ) -> tuple[LegalBasis, tuple[str, str] | None]:
        """The row of a permit, and why it does not cover what is permitted, whatever the date."""
        if id_ == NO_BASIS_ID:
            covers = about_nobody and not self.restricts(service) and not undisclosed and subjects_max == 1
            return NO_BASIS, None if covers else (
                "no_legal_basis",
                "a permit without a row is of no use here",
            )
        basis = self._by_id.get(id_)
        if basis is None:
            return NO_BASIS, ("no_legal_basis", "the permit names a row that the law does not have")
        # An event is heard by who the row lets ask: there the publisher is the provider.
        asks, gives = (recipient, requester) if is_event else (requester, recipient)
        covers = (
            names.matches(basis.requester, asks)
            and names.matches(basis.provider, gives)
            and (basis.service, basis.procedure) == (service, procedure)
            and (not basis.same_member or member_of(asks) == member_of(gives))
            and (basis.undisclosed, basis.subjects_max) == (undisclosed, subjects_max)
            and not (is_event and (basis.items or items))
        )
        if not covers:
            return basis, ("no_legal_basis", f"the permit's row {basis.id} does not cover it")
        if not items_of(items or "") <= frozenset(basis.items):
            return basis, ("item_not_permitted", f"the permit's row {basis.id} does not cover its items")
        if basis.consent and without_consent:
            return basis, ("consent_required", f"the permit's row {basis.id} demands a consent")
        return basis, None

    def subscribers(self, publisher: str, event: str, now_us: int) -> list[LegalBasis]:
        """The rows that let somebody hear of the publisher's event now.

        An event has no items: a row with items lets a notice go to whom it names, and nobody else hear of it.
        """
        return [
            basis
            for basis in self.rows(event)
            if not basis.items
            and names.matches(basis.provider, publisher)
            and basis.from_us <= now_us < basis.until_us
        ]

    def _match(
        self, requester: str, procedure: str, provider: str, service: str
    ) -> tuple[tuple[LegalBasis, frozenset[str]], ...]:
        """Every row for the four, whatever its dates, with the set of its items."""
        return tuple(
            (basis, frozenset(basis.items))
            for basis in self._rows_of.get(service, ())
            if basis.procedure == procedure
            and names.matches(basis.requester, requester)
            and names.matches(basis.provider, provider)
            and (not basis.same_member or member_of(requester) == member_of(provider))
        )

    def _explain(self, requester: str, provider: str, service: str, now_us: int) -> str:
        """What the requester could lawfully do instead, in registered names."""
        allowed = sorted(
            {
                basis.procedure
                for basis in self._rows_of.get(service, ())
                if names.matches(basis.requester, requester)
                and names.matches(basis.provider, provider)
                and basis.from_us <= now_us < basis.until_us
            }
        )
        if allowed:
            return f"{requester} may ask {provider} for {service} only for: {', '.join(allowed)}"
        return f"no row lets {requester} ask {provider} for {service} on this date"

    def _may_cross(self, start: str, end: str, requester: str, provider: str) -> bool:
        """Whether a message may go from zone to zone between these two nodes."""
        return start == end or any(
            path.start == start
            and path.end == end
            and names.matches(path.requester, requester)
            and names.matches(path.provider, provider)
            for path in self.paths
        )
