"""The world of `disaster`: a city that was flooded, two others, a prefecture, and the families of the flooded houses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from msgspec.structs import replace

from mesh import Simulation
from mesh.broker import Broker
from mesh.names import BROKER
from nodes.agency.recovery_support import RECOVERY, RecoverySupport
from nodes.data.people import Household, Person, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.disaster_rules import AidKind
from nodes.municipality.disaster_victims import APPLY, ApplyQuery, DisasterVictims, Receipt
from nodes.municipality.elderly_medical import ElderlyMedical
from nodes.municipality.property_tax import PropertyTax
from nodes.municipality.victim_support import ACCEPT, Accepted, AcceptQuery, VictimSupport
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code

KITAMI, KOBE, SAPPORO = "01208", "28100", "01100"
FITTING: dict[int, set[AidKind]] = {
    55: {"basic-grant", "property-tax"},
    45: {"basic-grant", "property-tax"},
    52: {"basic-grant", "property-tax"},
    35: {"property-tax"},
    25: {"property-tax"},
    15: set(),
    5: set(),
}
"""How badly the houses were hit, in percent, one after the other and then again from the first on; and which aid fits.

全壊 from 50 and 大規模半壊 from 40 have the basic grant (被災者生活再建支援法3条), 半壊 and more less tax: as the law and the
city's ordinance have it, not as the desk's own rules count.
"""
PERCENTS = tuple(FITTING)
HOUSE_TAX_YEN, PREMIUM_YEN = 80_000, 72_000


@dataclass
class World:
    """The cities, the prefecture, and who lived in the flooded houses."""

    sim: Simulation
    families: int
    kitami: City = field(init=False)
    kobe: City = field(init=False)
    sapporo: City = field(init=False)
    homes: list[Household] = field(init=False)

    def __post_init__(self) -> None:
        systems = ("resident", "property-tax", "elderly-medical", "disaster-victims", "victim-support")
        self.kitami = assemble(self.sim, KITAMI, *systems)
        self.kobe, self.sapporo = (
            assemble(self.sim, city, "disaster-victims", "victim-support") for city in (KOBE, SAPPORO)
        )
        self.sim.add(RecoverySupport, RECOVERY.format(prefecture=KITAMI[:2]))
        self.homes = self._settle(Population(self.sim))

    def _settle(self, people: Population) -> list[Household]:
        """A couple with a child, an old couple, somebody alone, and more couples, each in a house of their own."""
        first = people.household(KITAMI, child_ages=(6,))
        old = people.household(KITAMI)
        old = replace(old, members=tuple(replace(one, born=date(1945, 3, 1)) for one in old.members))
        alone = people.household(KITAMI, parents=1)
        homes = [first, old, alone, *(people.household(KITAMI) for _ in range(self.families - 3))]
        for number, home in enumerate(homes, 1):
            self.kitami.settle(home)
            self.tax.enter_house(house_of(number), "wooden", self.kitami.code(home.head), HOUSE_TAX_YEN)
        for person in old.members:
            self.kitami.node(ElderlyMedical).insure(self.kitami.code(person), person.born, PREMIUM_YEN)
        return homes

    @property
    def office(self) -> DisasterVictims:
        """Kitami's office for certificates and the ledger."""
        return self.kitami.node(DisasterVictims)

    @property
    def desk(self) -> VictimSupport:
        """Kitami's desk for victims."""
        return self.kitami.node(VictimSupport)

    @property
    def tax(self) -> PropertyTax:
        """Kitami's property tax."""
        return self.kitami.node(PropertyTax)

    @property
    def prefecture(self) -> RecoverySupport:
        """The prefecture's desk."""
        return self.sim.node(RECOVERY.format(prefecture=KITAMI[:2]), RecoverySupport)

    @property
    def portal(self) -> Portal:
        """The residents' portal."""
        return self.sim.node(PORTAL, Portal)

    def limit(self, per_second_max: int | None) -> None:
        """The operator of the broker sets how many requests a second one party may make."""
        self.sim.node(BROKER, Broker).authoriser.rates.per_second_max = per_second_max

    async def apply(self, number: int, person: Person) -> Receipt:
        """Somebody of the n-th household applies for the certificate."""
        code, query = portal_code(self.sim, person), ApplyQuery(house_of(number))
        return await self.portal.apply(code, self.office.address, APPLY, query, procedure="disaster-victims")

    async def accept(self, person: Person, *kinds: AidKind) -> Accepted:
        """Somebody applies on the portal for the aid that was offered."""
        query = AcceptQuery(KITAMI, kinds)
        code = portal_code(self.sim, person)
        return await self.portal.apply(code, self.desk.address, ACCEPT, query, procedure="disaster-aid")


def fitting(number: int) -> set[AidKind]:
    """Which aid fits the n-th household by its damage, besides the premium of who is 75."""
    return set(FITTING[percent_of(number)])


def house_of(number: int) -> str:
    """The number of the n-th household's house."""
    return f"hs-{number:06d}"


def percent_of(number: int) -> int:
    """How badly the n-th household's house was hit."""
    return PERCENTS[(number - 1) % len(PERCENTS)]
