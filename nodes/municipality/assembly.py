"""Puts a municipality together: which of its systems take part, and how a household is entered into them."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.node import Node
from mesh.simulation import Simulation
from nodes.data.municipalities import Municipality, municipality
from nodes.data.people import Household, Person
from nodes.municipality.child_allowance import ChildAllowanceOffice
from nodes.municipality.health import HealthManagement
from nodes.municipality.resident import ResidentRegister
from nodes.municipality.tax import TaxOffice

SYSTEMS: dict[str, type[Node]] = {
    "resident": ResidentRegister,
    "tax": TaxOffice,
    "child-allowance": ChildAllowanceOffice,
    "health": HealthManagement,
}


@dataclass(frozen=True, slots=True)
class City:
    """One municipality of a simulation, as its staff reach its systems."""

    sim: Simulation
    about: Municipality

    @property
    def member(self) -> str:
        """The member of the mesh: `muni/01208`."""
        return self.about.member

    def address(self, system: str) -> str:
        """The address of one of its systems: `muni/01208/tax`."""
        return f"{self.member}/{system}"

    @property
    def resident(self) -> ResidentRegister:
        """The resident register; `UsageError` while it is down, as for the others."""
        return self.sim.node(self.address("resident"), ResidentRegister)

    @property
    def tax(self) -> TaxOffice:
        """The inhabitant tax office."""
        return self.sim.node(self.address("tax"), TaxOffice)

    @property
    def child_allowance(self) -> ChildAllowanceOffice:
        """The child allowance office."""
        return self.sim.node(self.address("child-allowance"), ChildAllowanceOffice)

    @property
    def health(self) -> HealthManagement:
        """Health management."""
        return self.sim.node(self.address("health"), HealthManagement)

    def code(self, person: Person) -> str:
        """The city's linkage code of a person."""
        return self.sim.code(self.member, person.handle)

    def settle(self, household: Household) -> None:
        """Enter a household that lives here into the register."""
        self.resident.enter(household, self._codes(household))

    def move_in(self, household: Household) -> str:
        """Accept a household's 転入届; returns the id of the event that the register publishes."""
        return self.resident.register_move_in(household, self._codes(household))

    def _codes(self, household: Household) -> dict[str, str]:
        return {person.handle: self.code(person) for person in household.members}


def assemble(sim: Simulation, code: str) -> City:
    """Enrol the systems of a municipality, by the first five digits of its code."""
    city = City(sim, municipality(code))
    for system, cls in SYSTEMS.items():
        sim.add(cls, city.address(system))
    return city
