"""Puts a municipality together: which of its systems take part, and how a household is entered into them.

A system of a municipality is one module of this package and one node class in it. The module's name is the
system's key, and the key is the last part of its address: `care_insurance.py`, `muni/01208/care-insurance`. So
a system is named once, and loaded only where it takes part.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from mesh.errors import UsageError
from mesh.node import Node
from mesh.simulation import Simulation
from nodes.data.municipalities import Municipality, municipality
from nodes.data.people import Household, Person
from nodes.municipality.child_allowance import ChildAllowanceOffice
from nodes.municipality.health import HealthManagement
from nodes.municipality.packages import STANDARD, Package
from nodes.municipality.resident import ResidentRegister
from nodes.municipality.tax import TaxOffice

AnyNode = TypeVar("AnyNode", bound=Node)

FAMILY_SYSTEMS = ("resident", "tax", "child-allowance", "health")
"""What takes part unless a scenario names others."""


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

    def node(self, cls: type[AnyNode]) -> AnyNode:
        """The city's system of a class; `UsageError` if it does not take part or is down."""
        return self.sim.node(self.address(key_of(cls)), cls)

    @property
    def resident(self) -> ResidentRegister:
        """The resident register; `UsageError` while it is down, as for the others."""
        return self.node(ResidentRegister)

    @property
    def tax(self) -> TaxOffice:
        """The inhabitant tax office."""
        return self.node(TaxOffice)

    @property
    def child_allowance(self) -> ChildAllowanceOffice:
        """The child allowance office."""
        return self.node(ChildAllowanceOffice)

    @property
    def health(self) -> HealthManagement:
        """Health management."""
        return self.node(HealthManagement)

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


def assemble(sim: Simulation, code: str, *systems: str, package: Package = STANDARD) -> City:
    """Enrol systems of a municipality, by the first five digits of its code and the systems' keys.

    Raises `UsageError` for a municipality or a system that does not exist.
    """
    city = City(sim, municipality(code))
    for system in systems or FAMILY_SYSTEMS:
        sim.add(system_class(package.module_of(system)), city.address(system))
    return city


@lru_cache(maxsize=128)
def system_class(key: str) -> type[Node]:
    """The node class of a system: the one that the module of its name defines."""
    name = f"{__package__}.{key.replace('-', '_')}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(
            f"a municipality has no system {key!r}; see the files of nodes/municipality"
        ) from None
    nodes = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Node)]
    own = [one for one in nodes if one.__module__ == name]
    if len(own) != 1:
        raise UsageError(f"{name} defines {len(own)} node classes; a system is one class in its own module")
    return own[0]


def key_of(cls: type[Node]) -> str:
    """The key of a system, from the module that first defined it: a package's own class is a subclass of that.

    A base class that is only a part of a system states no zone.
    """
    systems = [one for one in cls.__mro__ if issubclass(one, Node) and one is not Node]
    first = [one for one in systems if "zone" in vars(one)][-1]
    return first.__module__.rpartition(".")[2].replace("_", "-")
