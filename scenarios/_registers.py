"""The world of `family_register`: two municipalities, the link of registers, and three generations of a family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from mesh import Simulation
from mesh.builtin import Empty
from mesh.ledger import read_row
from mesh.message import Request
from mesh.sealing import open_sealed
from mesh.testing import messages
from nodes.agency.dependent_pension import DEPENDANTS, DependentSpouses
from nodes.agency.family_register_link import FAMILY_ACCESS_CODE, FAMILY_LINK, FamilyRegisterLink
from nodes.agency.kinship import IssuedCode, RecordKind, Tie
from nodes.agency.passport import PASSPORT, PassportOffice
from nodes.data.calendar import months_after
from nodes.data.people import Household, Person, Population
from nodes.firm.payment_agent import PaymentAgent
from nodes.municipality.assembly import City, assemble
from nodes.municipality.cash_desk import CashDesk
from nodes.municipality.copy_orders import Applicant, CopyOrder
from nodes.municipality.family_register import FamilyRegister, Line
from nodes.municipality.family_register_supplement import FamilyRegisterSupplement
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code

AGENT = "firm/kita-pay/payment-agent"
SYSTEMS = ("resident", "family-register", "family-register-supplement", "seal-registration", "cash-desk")
WALLET_YEN = 10_000


@dataclass(frozen=True, slots=True)
class World:
    """Kitami, where the family comes from, and Kobe, where the son lives with wife and child."""

    sim: Simulation
    kitami: City
    kobe: City
    couple: Household
    elders: Household
    """The son's parents and his sibling."""
    on_paper: Household
    """A couple whose register could not be computerised."""
    fled: Household
    """A mother under protection with her child."""
    bride: Person

    @property
    def son(self) -> Person:
        """Who needs copies."""
        return self.couple.head

    @property
    def sibling(self) -> Person:
        """The son's sibling, who will marry."""
        return self.elders.children[0]

    @property
    def link(self) -> FamilyRegisterLink:
        """The system of the Minister of Justice."""
        return self.sim.node(FAMILY_LINK, FamilyRegisterLink)

    @property
    def pension(self) -> DependentSpouses:
        """The desk of the pension body."""
        return self.sim.node(DEPENDANTS, DependentSpouses)

    @property
    def passports(self) -> PassportOffice:
        """The passport office."""
        return self.sim.node(PASSPORT, PassportOffice)

    @property
    def agent(self) -> PaymentAgent:
        """The payment agent of both cities."""
        return self.sim.node(AGENT, PaymentAgent)

    def everybody(self) -> list[Person]:
        """All persons of the story."""
        homes = (self.couple, self.elders, self.on_paper, self.fled)
        return [person for home in homes for person in home.members] + [self.bride]


def make_world(sim: Simulation) -> World:
    """Enrol everybody, and settle the families where they live."""
    sim.add(FamilyRegisterLink, FAMILY_LINK)
    sim.add(DependentSpouses, DEPENDANTS)
    sim.add(PassportOffice, PASSPORT)
    sim.add(PaymentAgent, AGENT)
    people = Population(sim)
    couple = people.household("28100", child_ages=(5,))
    elders = _elders_of(couple, people.household("01208", child_ages=(38,)))
    kitami, kobe = assemble(sim, "01208", *SYSTEMS), assemble(sim, "28100", *SYSTEMS)
    fled = people.household("01208", child_ages=(7,), parents=1)
    bride = people.household("01208", parents=1).head
    world = World(sim, kitami, kobe, couple, elders, people.household("01208"), fled, bride)
    for city, homes in ((kobe, (couple,)), (kitami, (elders, world.on_paper, fled))):
        city.node(CashDesk).designate(AGENT)
        for home in homes:
            city.settle(home)
    _enter_registers(world)
    return world


def _enter_registers(world: World) -> None:
    """The elders' register, which the son left, and its closed predecessor; his own; one on paper; the mother's."""
    kitami = world.kitami
    family = (*world.elders.parents, world.son, world.sibling)
    children = ((0, 2), (1, 2), (0, 3), (1, 3))
    enter_family(kitami, 1, family, children_of=children, gone=(2,))
    enter_family(kitami, 2, family, children_of=children, kind="closed")
    enter_family(world.kobe, 1, world.couple.members, children_of=((0, 2), (1, 2)))
    enter_family(kitami, 4, world.on_paper.members, computerised=False)
    enter_family(kitami, 5, world.fled.members, children_of=((0, 1),))


def _elders_of(couple: Household, drawn: Household) -> Household:
    """The drawn household as the head's parents and sibling: of his name, and a generation older."""
    father, mother, sibling = (replace(one, family=couple.head.family) for one in drawn.members)
    older = [replace(one, born=months_after(one.born, -35 * 12)) for one in (father, mother)]
    return replace(drawn, members=(*older, sibling))


def enter_family(
    city: City,
    number: int,
    persons: Sequence[Person],
    *,
    children_of: Iterable[tuple[int, int]] = (),
    gone: Sequence[int] = (),
    kind: RecordKind = "current",
    computerised: bool = True,
) -> str:
    """Enter a couple's or a single parent's register; places say who is whose child, and who left it."""
    codes = [city.code(person) for person in persons]
    lines = [
        Line(code, person.name, person.born.isoformat(), place in gone)
        for place, (code, person) in enumerate(zip(codes, persons, strict=True))
    ]
    married = len(persons) > 1 and persons[1].relation == "spouse"
    ties = [Tie("spouse", codes[0], codes[1])] if married else []
    ties += [Tie("parent", codes[parent], codes[child]) for parent, child in children_of]
    supplement = city.node(FamilyRegisterSupplement)
    for code, person in zip(codes, persons, strict=True):
        if not supplement.knows(code):
            home = (city.about.code[:5], person.born.isoformat())
            supplement.enter(code, person.resident_code, person.name, (home,))
    return city.node(FamilyRegister).enter(number, lines, ties, kind=kind, computerised=computerised)


def as_applicant(person: Person, *, photo_id: bool = True) -> Applicant:
    """A person at a counter."""
    return Applicant(person.name, person.born.isoformat(), photo_id)


def code_at_link(sim: Simulation, person: Person) -> str:
    """The Minister of Justice's code of a person, as the issuer would give it."""
    return sim.code("gov/moj", person.handle)


def heard_by(sim: Simulation, party: str) -> list[bytes]:
    """The content of every question that a party was asked, opened with its key."""
    key = sim.keys_of(party).sealing
    asked = [one.message for one in messages(sim, Request) if one.recipient == party]
    return [open_sealed(message.data, key) for message in asked]


def everything_in(world: World) -> str:
    """All that the link keeps in tables of its own, as one text."""
    db = world.link.db
    tables = ("record", "entry", "tie", "access_code")
    return "\n".join(repr(tuple(row)) for table in tables for row in db.execute(f"SELECT * FROM {table}"))  # noqa: S608


def answered_by_link(sim: Simulation) -> list[tuple[str, str]]:
    """Who was answered by the link, and with which service, in order."""
    rows = map(read_row, sim.node(FAMILY_LINK).host.store.ledger_rows())
    return [
        (row.requester, row.service or "") for row in rows if row.entry == "answered" and row.code is None
    ]


def key(city: City, number: int) -> str:
    """The key of a city's register."""
    return f"kr-{city.about.code[:5]}-{number:06d}"


def pension_code(world: World, person: Person) -> str:
    """The pension body's own code of a person."""
    return world.sim.code("org/nenkin", person.handle)


async def pay(city: City, order: CopyOrder, wallet: str) -> None:
    """Somebody taps at the terminal of a city's counter."""
    await city.node(CashDesk).take_payment(order.key, order.fee_yen, wallet, AGENT)


async def buy_copy(
    world: World, applicant: Applicant, record: str, kind: RecordKind = "current"
) -> CopyOrder:
    """Order a copy at Kobe's counter, pay for it with the son's wallet, and have it examined."""
    counter = world.kobe.node(FamilyRegister)
    order = counter.order_copy(record, applicant, kind)
    await pay(world.kobe, order, "w-son")
    return await counter.examine(order.number)


async def ask_code(world: World, person: Person) -> IssuedCode:
    """A resident asks for a code in the portal."""
    portal = world.sim.node(PORTAL, Portal)
    mine = portal_code(world.sim, person)
    return await portal.apply(
        mine, FAMILY_LINK, FAMILY_ACCESS_CODE, Empty(), procedure="family-register-online"
    )


def apply_for_passport(world: World, person: Person, code: str) -> int:
    """Somebody applies for a passport and gives a code."""
    return world.passports.take_application(person.name, person.born.isoformat(), code)
