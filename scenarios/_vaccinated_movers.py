"""The world of `vaccination_record`: two cities, VRS between them, and people vaccinated before they moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from mesh import Refused, Simulation
from mesh.simulation import JST
from nodes.agency.vrs import VRS, VaccinationCloud, token_of
from nodes.data.people import Household, Move, Person, Population
from nodes.municipality.assembly import assemble
from nodes.municipality.covid_vaccination import CovidVaccination
from nodes.municipality.paired_record import Change
from nodes.municipality.vaccination_ledger import VaccinationLedger

SYSTEMS = ("resident", "covid-vaccination", "vaccination-ledger")
MAKER = "Pfizer"
SLIPS = "Records, Hara"
"""Who enters slips in Kobe."""


@dataclass(frozen=True, slots=True)
class Couple:
    """Two who moved from Kobe to Kitami together: one ticked that Kobe may be asked, the other never applied."""

    home: Household

    @property
    def agreed(self) -> Person:
        """Who ticked."""
        return self.home.parents[0]

    @property
    def silent(self) -> Person:
        """Who did not apply."""
        return self.home.parents[1]


class World:
    """The two cities, the cloud, and who lives where."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.kitami, self.kobe = assemble(sim, "01208", *SYSTEMS), assemble(sim, "28100", *SYSTEMS)
        sim.add(VaccinationCloud, VRS)
        self.people = Population(sim)

    @property
    def office(self) -> CovidVaccination:
        """Kitami's office for vouchers."""
        return self.kitami.node(CovidVaccination)

    @property
    def vrs(self) -> VaccinationCloud:
        """The national cloud."""
        return self.sim.node(VRS, VaccinationCloud)

    async def vaccinate_in_kobe(self, person: Person) -> None:
        """Two doses in Kobe, the second today."""
        today, office, code = self.sim.now().date(), self.kobe.node(CovidVaccination), self.kobe.code(person)
        office.enter(code, token_of(person.resident_code), since=person.born.isoformat())
        for number, days_ago in ((1, 21), (2, 0)):
            given_on = (today - timedelta(days=days_ago)).isoformat()
            await office.vaccinate(code, number, given_on, MAKER)

    async def couple(self, moved_on: date) -> Couple:
        """A couple vaccinated in Kobe today, who will have moved to Kitami by a day."""
        home = self.people.household("01208", moves=(Move(moved_on, "28100", "01208"),))
        for person in home.members:
            await self.vaccinate_in_kobe(person)
        return Couple(home)

    def move_in(self, home: Household) -> None:
        """Kitami takes a household up in its register and in its office for vouchers."""
        self.kitami.settle(home)
        for person in home.members:
            self.take_up(person)

    def take_up(self, person: Person) -> None:
        """Kitami's office for vouchers takes somebody up who moved in."""
        move = person.moves[-1]
        self.office.enter(
            self.kitami.code(person),
            token_of(person.resident_code),
            since=move.on.isoformat(),
            from_city=move.from_city,
        )

    def receive_slip(self, person: Person) -> None:
        """The slip of the second dose reaches Kobe's ledger; its copy is not registered yet."""
        ledger = self.kobe.node(VaccinationLedger)
        given_on = (self.sim.now().date() - timedelta(days=50)).isoformat()
        ledger.enter(self.kobe.code(person), Change("covid-2", "given_on", given_on, 0, SLIPS))

    async def try_look_up(self, person: Person) -> int | str:
        """Look somebody up in VRS: how many doses came, or the code of the refusal."""
        try:
            return await self.office.look_up(self.kitami.code(person))
        except Refused as refused:
            return refused.code

    async def try_batch(self, people: Iterable[Person]) -> str:
        """Send people to VRS as one file: the number of the job, or the code of the refusal."""
        try:
            taken = await self.office.send_batch(token_of(person.resident_code) for person in people)
        except Refused as refused:
            return refused.code
        return taken.job

    async def until(self, day: date, hour: int = 9) -> None:
        """Let time pass until an hour of a day."""
        moment = datetime.combine(day, time(hour), tzinfo=JST)
        await self.sim.sleep((moment - self.sim.now()).total_seconds())
