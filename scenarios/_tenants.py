"""The world of `standardisation`: four municipalities with three packages, and a family that came from each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from mesh import Node, Refused, Simulation, instant
from mesh.names import Zone
from nodes.data.people import Household, Move, Person, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.child_allowance import PROCEDURE
from nodes.municipality.packages import CUSTOMISED, LATE, SHARED, Package
from nodes.municipality.tax import INCOME, Income, IncomeQuery
from nodes.municipality.tax_layout_2 import INCOME_2, IncomeLayout2

TAX_YEAR = 2026
INCOME_YEN = 3_456_789
SEPARATE_YEN = 1_200_000
FIRST_ITEMS = ("tax_year", "total_income_yen")
SECOND_ITEMS = ("separate_income_yen", *FIRST_ITEMS)
VENDOR = "firm/saas-vendor/operations"


class VendorDesk(Node):
    """The vendor's own staff: it runs the shared service, and is no party to any procedure."""

    title, title_ja = "Operations", "運用担当"
    zone = Zone.MYNUMBER


@dataclass(frozen=True, slots=True)
class Town:
    """A municipality, its package, and who moved from it to Kitami."""

    city: City
    package: Package
    family: Household
    copied_at: str
    """When its tax office was told to register the copy of the mover's income, as a reply says a time."""

    @property
    def mover(self) -> Person:
        """Whose income Kitami asks for."""
        return self.family.head

    @property
    def code(self) -> str:
        """The town's own code of the mover."""
        return self.city.code(self.mover)


@dataclass(frozen=True, slots=True)
class World:
    """Kitami, which asks, and the four that answer."""

    sim: Simulation
    kitami: City
    large: Town
    first_town: Town
    second_town: Town
    late: Town

    @property
    def towns(self) -> tuple[Town, ...]:
        """All that answer."""
        return (self.large, self.first_town, self.second_town, self.late)

    async def ask(self, town: Town, of: Person | None = None) -> Income:
        """What Kitami asks in the first layout."""
        return await self.kitami.child_allowance.ask(
            town.city.address("tax"),
            INCOME,
            IncomeQuery(TAX_YEAR),
            subject=self.kitami.code(of or town.mover),
            procedure=PROCEDURE,
            items=FIRST_ITEMS,
        )

    async def ask_second(self, town: Town) -> IncomeLayout2:
        """What Kitami asks in the second layout."""
        return await self.kitami.child_allowance.ask(
            town.city.address("tax"),
            INCOME_2,
            IncomeQuery(TAX_YEAR),
            subject=self.kitami.code(town.mover),
            procedure=PROCEDURE,
            items=SECOND_ITEMS,
        )

    async def ask_newest(self, town: Town) -> tuple[str, Income]:
        """What Kitami gets of a town: by the second layout, or by the first where there is no second."""
        try:
            return INCOME_2.name, await self.ask_second(town)
        except Refused as refused:
            if refused.code != "service_unknown":
                raise
            return INCOME.name, await self.ask(town)


async def build(sim: Simulation, systems: tuple[str, ...], *, migrated: bool) -> World:
    """Four municipalities with all their systems; each tax office knows a mover with the same facts.

    With `migrated` the late one has the shared service too. They register their copies one after the other, a
    minute apart, so that no two copies are of one moment and none of the moment when somebody asks.
    """
    people = Population(sim)
    kitami = assemble(sim, "01208", *systems)
    sim.add(VendorDesk, VENDOR)

    async def town(code: str, package: Package) -> Town:
        city = assemble(sim, code, *systems, package=package)
        move = Move(date(2026, 7, 1), code, "01208")
        made = Town(city, package, people.household("01208", moves=(move,)), instant(sim.now_us()))
        city.tax.assess(made.code, TAX_YEAR, total_income_yen=INCOME_YEN, dependants=1)
        city.tax.register_replica(made.code, TAX_YEAR)
        await sim.sleep(60)
        return made

    return World(
        sim,
        kitami,
        await town("28100", CUSTOMISED),
        await town("01549", SHARED),
        await town("01550", SHARED),
        await town("01543", SHARED if migrated else LATE),
    )
