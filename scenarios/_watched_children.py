"""The world of `child_support`: a city whose offices each know one thing about five children, and the next city."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from msgspec.structs import replace

from mesh import Simulation
from mesh.ledger import Row, read_row
from nodes.data.people import Household, Person, Population
from nodes.municipality.assembly import assemble
from nodes.municipality.child_analysis import CANDIDATE, ChildAnalysis
from nodes.municipality.child_rearing_allowance import ChildRearingAllowance
from nodes.municipality.child_support import OFFER_ANSWER, PROCEDURE, ChildSupport, OfferAnswer, Reply
from nodes.municipality.disability_welfare import DisabilityWelfare
from nodes.municipality.education_board import EducationBoard
from nodes.municipality.public_assistance import PublicAssistance
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code

HOLDERS = ("education-board", "health", "child-rearing-allowance", "public-assistance", "disability-welfare")
SYSTEMS = ("resident", "tax", *HOLDERS, "child-analysis", "child-support")
NAMES = ("silent", "hospital", "quiet", "moving", "fine")
"""The children, by what is behind the figures."""
BORN = date(2017, 6, 12)
ABSENT_DAYS = {"silent": 34, "hospital": 41, "quiet": 4, "moving": 16, "fine": 1}
MISSED = {"silent": ("check-up-3y",), "moving": ("check-up-18m", "check-up-3y")}
MONTH = "2026-09"


@dataclass(frozen=True, slots=True)
class Child:
    """A child, its home, and Kitami's code of it."""

    person: Person
    home: Household
    code: str


class World:
    """Kitami and Kobe, and the five families."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.kitami = assemble(sim, "01208", *SYSTEMS)
        self.kobe = assemble(sim, "28100", "resident", "child-analysis", "child-support")
        people = Population(sim)
        self.children = {name: self._settle(people) for name in NAMES}

    def _settle(self, people: Population) -> Child:
        home = people.household("01208")
        child = people.newborn(home, BORN)
        home = replace(home, members=(*home.members, child))
        self.kitami.settle(home)
        return Child(child, home, self.kitami.code(child))

    @property
    def analysis(self) -> ChildAnalysis:
        """Kitami's analysis."""
        return self.kitami.node(ChildAnalysis)

    @property
    def centre(self) -> ChildSupport:
        """Kitami's centre for children and families."""
        return self.kitami.node(ChildSupport)

    def code(self, name: str) -> str:
        """Kitami's code of a child."""
        return self.children[name].code

    def name(self, code: str) -> str:
        """Which child a code of Kitami means."""
        return next(name for name, child in self.children.items() if child.code == code)

    def let_offices_work(self) -> None:
        """What each office has on record before anybody links anything."""
        board, health = self.kitami.node(EducationBoard), self.kitami.health
        for name, child in self.children.items():
            board.enrol(child.code, "Chuo")
            board.report_absence(child.code, MONTH, ABSENT_DAYS[name])
            health.plan(child.code, BORN.isoformat(), "register")
            for appointment, _ in health.plan_of(child.code):
                if appointment not in MISSED.get(name, ()):
                    health.attend(child.code, appointment)
        allowance, assistance = self.kitami.node(ChildRearingAllowance), self.kitami.node(PublicAssistance)
        hospital, quiet, fine = (self.children[name] for name in ("hospital", "quiet", "fine"))
        allowance.certify(self.kitami.code(hospital.home.head), hospital.code, "partial", "2024-11")
        allowance.register_replica(hospital.code)
        assistance.grant(
            [self.kitami.code(one) for one in quiet.home.members], "2025-02", ("living", "education")
        )
        welfare = self.kitami.node(DisabilityWelfare)
        welfare.record(fine.code, "physical", "4", uses_services=True)
        welfare.register_replica(fine.code)

    def asked(self, name: str) -> list[Row]:
        """What the analysis put on its record as asked about a child."""
        rows = map(read_row, self.analysis.host.store.ledger_rows_with(self.code(name)))
        return [row for row in rows if row.entry == "opened" and row.service != CANDIDATE.name]

    def parent(self, name: str) -> str:
        """The portal's code of a child's parent."""
        return portal_code(self.sim, self.children[name].home.head)

    async def answer(self, name: str, reply: Reply) -> None:
        """A parent answers an offer in the portal."""
        portal, centre = self.sim.node(PORTAL, Portal), self.centre.address
        await portal.apply(self.parent(name), centre, OFFER_ANSWER, OfferAnswer(reply), procedure=PROCEDURE)

    def move_to_kobe(self, name: str) -> None:
        """A family moves today, with the paper certificate: Kobe enters it, Kitami strikes it off."""
        home, today = self.children[name].home, self.sim.now().date()
        register = self.kitami.resident
        leaving = register.issue_certificate(self.kitami.code(home.head), "28100", today)
        codes = {self.kitami.code(one): self.kobe.code(one) for one in home.members}
        self.kobe.resident.accept_certificate([(codes[code], info) for code, info in leaving], moved_on=today)
        register.strike_out()

    async def whole_histories(self) -> dict[str, list[tuple[str | None, ...]]]:
        """All that the portal shows of each child and each parent, by handle: every line, none left out."""
        portal = self.sim.node(PORTAL, Portal)
        found: dict[str, list[tuple[str | None, ...]]] = {}
        for child in self.children.values():
            for person in child.home.members:
                lines = await portal.read_history(portal_code(self.sim, person))
                found[person.handle] = [
                    (one.requester, one.provider, one.service, one.procedure, one.items) for one in lines
                ]
        return found
