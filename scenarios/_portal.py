"""What stories of the portal have in common: who is signed in, two cities, and the site where people apply."""

from __future__ import annotations

from dataclasses import dataclass

from mesh import Simulation
from nodes.data.people import Person, Population
from nodes.municipality.assembly import City
from nodes.portal.application_site import SITE, ApplicationSite


def portal_code(sim: Simulation, person: Person) -> str:
    """The portal's own linkage code of a person, who is signed in."""
    return sim.code("gov/portal", person.handle)


@dataclass(frozen=True, slots=True)
class OnlineWorld:
    """Kitami and Kobe, who lives there, and the site where they apply."""

    sim: Simulation
    kitami: City
    kobe: City
    people: Population

    @property
    def site(self) -> ApplicationSite:
        """ぴったりサービス."""
        return self.sim.node(SITE, ApplicationSite)

    def portal_code(self, person: Person) -> str:
        """The portal's own linkage code of a person, who is signed in."""
        return portal_code(self.sim, person)
