"""The world of `care_certification`: three cities, one of them with the second data layout, and old people who moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from msgspec.structs import replace

from mesh import Caller, Simulation, instant, serves
from mesh.builtin import Empty
from mesh.ledger import Row
from mesh.testing import ledger
from nodes.data.household import CareLevel
from nodes.data.people import Household, Move, Person, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.care_file import Certification
from nodes.municipality.care_insurance import (
    APPLY,
    CERTIFICATION_2,
    PROCEDURE,
    ApplyQuery,
    CareInsurance,
    CertificationReply2,
    Receipt,
)
from nodes.municipality.care_rules import pension_income_yen
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code

KITAMI, KOBE, SAPPORO = "01208", "28100", "01100"
MOVED_ON = date(2025, 4, 3)
TAX_YEAR = 2024
"""The year on which the share of April 2025 rests."""
WIFE_YEN = 600_000
"""Her pension, which counts as no income."""


class SecondLayout(CareInsurance):
    """The system of a city that has taken the second version of the layout over; the first goes on beside it."""

    @serves(CERTIFICATION_2)
    async def certification_2(self, query: Empty, caller: Caller, person: str) -> CertificationReply2:
        """The certification of a person, from the copy, as the second layout has it."""
        held, registered_us = self.file.replica(person)
        return CertificationReply2(
            held.level,
            held.valid_from,
            held.valid_until,
            bool(held.service_kinds),
            held.service_kinds,
            as_of=instant(registered_us),
        )


@dataclass
class World:
    """The cities, and who moved to Kitami."""

    sim: Simulation
    kitami: City = field(init=False)
    kobe: City = field(init=False)
    sapporo: City = field(init=False)
    people: Population = field(init=False)

    def __post_init__(self) -> None:
        self.kitami = assemble(self.sim, KITAMI, "resident", "tax", "care-insurance")
        self.kobe = assemble(self.sim, KOBE, "resident", "tax", "care-insurance")
        self.sapporo = assemble(self.sim, SAPPORO, "tax")
        self.sim.add(SecondLayout, self.sapporo.address("care-insurance"))
        self.people = Population(self.sim)

    @property
    def office(self) -> CareInsurance:
        """Kitami's care insurance office."""
        return self.kitami.node(CareInsurance)

    def couple(self, *moves: Move) -> Household:
        """A couple of 82 and 78 who moved; both were assessed where they lived on 1 January 2024."""
        home = self.people.household(KITAMI, moves=moves)
        born = (date(1942, 10, 1), date(1946, 10, 1))
        members = [replace(one, born=day) for one, day in zip(home.members, born, strict=True)]
        return replace(home, members=tuple(members))

    def moved(self, origin: str, *, alone: bool = False) -> Household:
        """Somebody, by default with a spouse, who comes from a city and for whom a 転入届 was accepted."""
        home = self.couple(Move(MOVED_ON, origin, KITAMI))
        if alone:
            home = replace(home, members=home.members[:1])
        self.kitami.move_in(home)
        return home

    def certify(
        self, city: City, person: Person, certification: Certification, *, copied: bool = True
    ) -> None:
        """A city certifies somebody and, unless told otherwise, registers the copy that answers."""
        office = city.node(CareInsurance)
        office.certify(city.code(person), certification)
        if copied:
            office.register_replica(city.code(person))

    def assess(self, city: City, person: Person, pension_yen: int) -> None:
        """A city assesses somebody who lives on a pension, and registers the copy."""
        code, income_yen = city.code(person), pension_income_yen(pension_yen)
        city.tax.assess(code, TAX_YEAR, total_income_yen=income_yen, pension_yen=pension_yen)
        city.tax.register_replica(code, TAX_YEAR)

    async def apply(self, person: Person) -> Receipt:
        """The person, or who helps them, applies on the portal."""
        return await self.sim.node(PORTAL, Portal).apply(
            portal_code(self.sim, person),
            self.office.address,
            APPLY,
            ApplyQuery(),
            procedure=PROCEDURE,
        )

    def asked(self, person: Person) -> list[tuple[str, str]]:
        """What the office put on its record as asked about a person elsewhere: (provider, service)."""
        code, register = self.kitami.code(person), self.kitami.address("resident")
        rows: list[Row] = ledger(self.sim, self.office.address)
        return [
            (row.provider or "", row.service or "")
            for row in rows
            if row.entry == "opened" and row.subject == code and row.provider not in (register, PORTAL)
        ]


def certification(
    level: CareLevel, *, until: date | None = None, kinds: tuple[str, ...] = ()
) -> Certification:
    """A certification of last year, by default in force for long."""
    return Certification(level, "2024-06-01", (until or MOVED_ON + timedelta(days=300)).isoformat(), kinds)
