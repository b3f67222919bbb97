"""The world of `access_history`: three cities, two of whose administrators need not be honest, and the commission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mesh import Simulation
from mesh.builtin import HISTORY, HistoryLine
from nodes.agency.breach_intake import BREACH_INTAKE, BreachIntake
from nodes.agency.commission import COMMISSION, Commission
from nodes.data.people import Person, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.child_allowance import PROCEDURE, ClaimQuery
from nodes.municipality.privacy import PrivacyDesk
from nodes.municipality.tax import INCOME, Income, IncomeQuery
from nodes.portal.inbox import PORTAL, Portal
from scenarios._moving_families import TAX_YEAR, World
from scenarios._portal import portal_code
from scenarios._second_books import FalsifyingAllowanceOffice, FalsifyingTaxOffice

ITEMS: Final = ("tax_year", "total_income_yen")


@dataclass(slots=True)
class Story:
    """Who takes part, and what the parts of the story leave to each other."""

    sim: Simulation
    world: World
    sapporo: City
    neighbours: list[Person] = field(default_factory=list)
    """Whom the clerk looked up."""

    @property
    def commission(self) -> Commission:
        """Who checks afterwards."""
        return self.sim.node(COMMISSION, Commission)

    @property
    def kobe_tax(self) -> FalsifyingTaxOffice:
        """Where everybody's income is known."""
        return self.sim.node(self.world.kobe.address("tax"), FalsifyingTaxOffice)

    @property
    def sapporo_office(self) -> FalsifyingAllowanceOffice:
        """Where the clerk sits."""
        return self.sim.node(self.sapporo.address("child-allowance"), FalsifyingAllowanceOffice)

    @property
    def sapporo_privacy(self) -> PrivacyDesk:
        """Who hears of it in Sapporo."""
        return self.sapporo.node(PrivacyDesk)

    async def history(self, person: Person) -> list[HistoryLine]:
        """What a resident reads in the portal of what offices asked each other, without the reading itself."""
        portal = self.sim.node(PORTAL, Portal)
        lines = await portal.read_history(portal_code(self.sim, person))
        return [line for line in lines if (line.requester, line.service) != (PORTAL, HISTORY.name)]

    def claim_in_sapporo(self, income_yen: int, parent: Person | None = None) -> Person:
        """A parent, a new one unless given, claims in Sapporo; Kobe knows the income."""
        if parent is None:
            parent = self.world.family(3, parents=1).head
        self.world.assess(parent, income_yen)
        claim = ClaimQuery("move-in", self.sim.now().date().isoformat())
        self.sapporo_office.take_claim(self.sapporo.code(parent), claim)
        return parent

    async def ask_from_sapporo(self, person: Person) -> Income:
        """Sapporo's office asks Kobe for a person's income, with a case or without."""
        return await self.sapporo_office.ask(
            self.world.kobe.address("tax"),
            INCOME,
            IncomeQuery(TAX_YEAR),
            subject=self.sapporo.code(person),
            procedure=PROCEDURE,
            items=ITEMS,
        )


def open_story(sim: Simulation) -> Story:
    """Kitami is honest; the administrators of Kobe's tax office and Sapporo's allowance office need not be."""
    sim.add(BreachIntake, BREACH_INTAKE)
    kitami = assemble(sim, "01208", "resident", "child-allowance", "tax")
    kobe, sapporo = assemble(sim, "28100", "privacy"), assemble(sim, "01100", "resident", "privacy")
    sim.add(FalsifyingTaxOffice, kobe.address("tax"))
    sim.add(FalsifyingAllowanceOffice, sapporo.address("child-allowance"))
    return Story(sim, World(sim, kitami, kobe, Population(sim)), sapporo)
