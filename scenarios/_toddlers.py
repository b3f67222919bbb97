"""The world of `health_ledgers`: one city with two applications, five toddlers, and a cable that can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from msgspec.structs import replace

from mesh import Simulation
from mesh.faults import drop
from nodes.data.people import Household, Person, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.health import HealthManagement
from nodes.municipality.paired_record import ORIGINAL, Change, Field
from nodes.municipality.reminders import ITEM
from nodes.municipality.vaccination_ledger import VaccinationLedger
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code

RECORDS, NURSE, NURSE_2 = "Records, Hara", "Public health nurse, Mori", "Public health nurse, Seki"
BORN = {
    "vaccinated": date(2023, 4, 20),
    "due": date(2023, 6, 2),
    "waits": date(2023, 7, 14),
    "meanwhile": date(2023, 8, 9),
    "asked": date(2023, 5, 25),
}
"""The children by what becomes of them; all are of the age on the day of the run."""


@dataclass(frozen=True, slots=True)
class Toddler:
    """A child, its home, and the city's code of it."""

    person: Person
    home: Household
    code: str


class World:
    """Kitami before the standard."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.kitami: City = assemble(sim, "01208", "resident", "health", "vaccination-ledger")
        people = Population(sim)
        self.children: dict[str, Toddler] = {}
        for name, born in BORN.items():
            home = people.household("01208")
            child = people.newborn(home, born)
            home = replace(home, members=(*home.members, child))
            self.kitami.settle(home)
            self.children[name] = Toddler(child, home, self.kitami.code(child))

    @property
    def health(self) -> HealthManagement:
        """Health management."""
        return self.kitami.health

    @property
    def ledger(self) -> VaccinationLedger:
        """The vaccination ledger."""
        return self.kitami.node(VaccinationLedger)

    def code(self, name: str) -> str:
        """The city's code of a child."""
        return self.children[name].code

    def slip(self, name: str, given_on: str, clerk: str = RECORDS) -> int:
        """The ledger's clerk enters a slip, or corrects its date; returns the version."""
        return self.ledger.enter(self.code(name), self.based_on_ledger(name, "given_on", given_on, clerk))

    def based_on_ledger(self, name: str, field: Field, value: str, clerk: str) -> Change:
        """A change by somebody who has the ledger's present state before them."""
        return Change(ITEM, field, value, self.ledger.record.version(self.code(name), ITEM, field), clerk)

    def based_on_copy(self, name: str, field: Field, value: str, clerk: str) -> Change:
        """A change by somebody who has health management's state before them."""
        return Change(ITEM, field, value, self.health.record.version(self.code(name), ITEM, field), clerk)

    def is_in_step(self) -> bool:
        """Whether both applications say the same of every child."""
        return all(
            self.ledger.record.state(child.code, ITEM, field)
            == self.health.record.state(child.code, ITEM, field)
            for child in self.children.values()
            for field in ORIGINAL
        )

    def letters(self, name: str) -> list[str]:
        """The days named in the letters that a child's parent has in the portal."""
        parent = portal_code(self.sim, self.children[name].home.head)
        return [row["due"] for row in self.sim.node(PORTAL, Portal).letters(parent)]

    @contextmanager
    def cut_off(self, address: str) -> Iterator[None]:
        """A cable is cut: meanwhile nothing comes from an address and nothing gets there."""
        rules = (drop(sender=address), drop(recipient=address))
        self.sim.disturbance.rules.extend(rules)
        try:
            yield
        finally:
            for rule in rules:
                self.sim.disturbance.rules.remove(rule)
