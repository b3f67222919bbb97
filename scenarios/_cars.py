"""The world of `car_ownership`: one prefecture's offices for cars, owners with cards, and looks at the wire."""

from __future__ import annotations

from dataclasses import dataclass

from mesh import Simulation
from mesh.faults import Fates, Rule
from mesh.message import Reply, Request
from mesh.names import BROKER
from mesh.party import read_line
from mesh.testing import messages
from nodes.agency.car_application import CarApplication, Transfer
from nodes.agency.car_one_stop import ONE_STOP, CarOneStop
from nodes.agency.card import Card, Signed
from nodes.agency.certificates import issue_card
from nodes.agency.inspection import InspectionOffice
from nodes.agency.police import GaragePolice
from nodes.agency.prefecture_tax import PrefectureVehicleTax
from nodes.agency.transport import TransportOffice
from nodes.agency.vehicle_inspection_payment import PAYMENT_CHECK, PaymentCheck
from nodes.data.people import Household, Person, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.light_vehicle_tax import LightVehicleTax

POLICE = "pref/01/police"
TAX = "pref/01/vehicle-tax"
TRANSPORT = "gov/kitami-transport/car-registration"
INSPECTION = "gov/kitami-transport/inspection"
LIGHT_INSPECTION = "org/keikenkyo/inspection"
OFFICES = (ONE_STOP, POLICE, TRANSPORT, TAX, INSPECTION, LIGHT_INSPECTION, PAYMENT_CHECK)
PASSWORD = "KITAMI2025"  # noqa: S105
PLACE = "pl-kitami-1"
SPACES = 6
"""How many cars the place holds."""


@dataclass(frozen=True, slots=True)
class World:
    """The offices, and the city in which the owners live."""

    sim: Simulation
    kitami: City
    people: Population
    price_yen: int
    displacement_cc: int

    @property
    def one_stop(self) -> CarOneStop:
        """The one-stop service."""
        return self.sim.node(ONE_STOP, CarOneStop)

    @property
    def police(self) -> GaragePolice:
        """The police of Hokkaido."""
        return self.sim.node(POLICE, GaragePolice)

    @property
    def transport(self) -> TransportOffice:
        """The transport office of Kitami."""
        return self.sim.node(TRANSPORT, TransportOffice)

    @property
    def tax(self) -> PrefectureVehicleTax:
        """The vehicle tax office of Hokkaido."""
        return self.sim.node(TAX, PrefectureVehicleTax)

    @property
    def light_tax(self) -> LightVehicleTax:
        """The light vehicle tax of Kitami."""
        return self.kitami.node(LightVehicleTax)

    def owner(self) -> tuple[Person, Card]:
        """Somebody of Kitami, with a card."""
        home: Household = self.people.household("01208", parents=1)
        self.kitami.settle(home)
        return home.head, issue_card(self.sim, home.head, PASSWORD)

    def application(self, owner: Person, chassis: str, *, reduced: bool = False) -> CarApplication:
        """What somebody signs who buys a new car and keeps it at the surveyed place."""
        return CarApplication(
            "new", chassis, owner.name, PLACE, self.displacement_cc, self.price_yen, 1, reduced
        )


def make_world(sim: Simulation, price_yen: int, displacement_cc: int) -> World:
    """Enrol the offices; the police have surveyed one place that is near enough and holds six cars."""
    sim.add(CarOneStop, ONE_STOP, police=POLICE, transport=TRANSPORT, tax=TAX)
    sim.add(GaragePolice, POLICE)
    sim.add(TransportOffice, TRANSPORT, police=POLICE)
    sim.add(PrefectureVehicleTax, TAX)
    sim.add(PaymentCheck, PAYMENT_CHECK)
    for address in (INSPECTION, LIGHT_INSPECTION):
        sim.add(InspectionOffice, address)
    kitami = assemble(sim, "01208", "resident", "light-vehicle-tax")
    world = World(sim, kitami, Population(sim), price_yen, displacement_cc)
    world.police.survey(PLACE, distance_m=350, spaces=SPACES)
    return world


def published_tax_yen(price_yen: int, displacement_cc: int) -> tuple[int, int]:
    """環境性能割 of one percent and 種別割 from November to March, read off the prefecture's published table.

    For a private car above 660 cc bought in October 2025; the story holds the office against it.
    """
    rates = {1_000: 25_000, 1_500: 30_500, 2_000: 36_000, 2_500: 43_500, 3_000: 50_000, 3_500: 57_000}
    rates |= {4_000: 65_500, 4_500: 75_500, 6_000: 87_000, 10_000: 110_000}
    annual_yen = next(yen for limit_cc, yen in rates.items() if displacement_cc <= limit_cc)
    taxed_yen = price_yen - price_yen % 1_000 if price_yen > 500_000 else 0
    acquired_yen, due_yen = taxed_yen / 100, annual_yen * 5 / 12
    return int(acquired_yen - acquired_yen % 100), int(due_yen - due_yen % 100)


def sign(card: Card, document: CarApplication | Transfer) -> Signed:
    """The holder of a card signs."""
    return card.sign(document, PASSWORD)


def lose_answers(service: str) -> Rule:
    """Lose every reply to a service on its way."""

    def rule(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        message = read_line(line.partition(b"\n")[0])
        return ((None, line),) if isinstance(message, Reply) and message.type == service else None

    return rule


def crash_before_sending(sim: Simulation, address: str, service: str) -> Rule:
    """Crash a node, once, at the moment when it asks for a service; the question is lost."""
    crashed: list[str] = []

    def rule(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        if sender != address or crashed:
            return None
        message = read_line(line)
        if not isinstance(message, Request) or message.type != service:
            return None
        crashed.append(sender)
        sim.loop.call_soon(sim.crash, sender)
        return ((None, line),)

    return rule


def requests_between(sim: Simulation) -> list[Request]:
    """Every request that one of the offices for cars sent or got."""
    asked = [one.message for one in messages(sim, Request)]
    return [one for one in asked if one.source in OFFICES or one.recipient in OFFICES]


def services_asked(sim: Simulation, first: int) -> set[str]:
    """The services asked for since a transmission; what the broker passes on late was asked before."""
    return {one.message.type for one in messages(sim, Request) if one.index >= first and one.sender != BROKER}
