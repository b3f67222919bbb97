"""What the scenario `birth` needs besides its story: families, a curious office, and looks at the wire."""

from __future__ import annotations

from dataclasses import dataclass

from mesh import Event, Node, Simulation, receives
from mesh.names import BROKER
from mesh.sealing import open_sealed
from mesh.service import EventType
from mesh.testing import Transmission, ledger, messages
from nodes.agency.jlis import acquire_code
from nodes.agency.pension import PENSION, PensionBody
from nodes.data.people import Household, Person
from nodes.municipality.assembly import City
from nodes.municipality.resident import BIRTH


class TourismOffice(Node):
    """Would like to hear of births, to sell keepsakes. It declares the event; no row of the law names it."""

    title, title_ja = "Tourism", "観光担当"
    schema = "CREATE TABLE heard(event TEXT NOT NULL)"

    @receives(BIRTH)
    async def hear(self, event: Event, caller: object, person: str) -> None:
        """Keep what it should never get."""
        with self.effect():
            self.db.execute("INSERT INTO heard VALUES (?)", (event.id,))

    def heard(self) -> int:
        """How many births it heard of."""
        return int(self.db.execute("SELECT count(*) FROM heard").fetchone()[0])


@dataclass(frozen=True, slots=True)
class Family:
    """A household, its newborn, and the city's code of each that matters."""

    household: Household
    child: Person
    child_code: str
    parent_code: str

    @property
    def parent(self) -> Person:
        """Who claims."""
        return self.household.head


def settle(sim: Simulation, city: City, home: Household) -> None:
    """A couple that lives here, whose income and pension the authorities know."""
    city.settle(home)
    pension = sim.node(PENSION, PensionBody)
    for place, parent in enumerate(home.parents):
        city.tax.assess(city.code(parent), 2026, total_income_yen=4_800_000 - 2_000_000 * place)
        city.tax.register_replica(city.code(parent), 2026)
        code = sim.code("org/nenkin", parent.handle)
        pension.enrol(code, "employees", "private", 96)
        pension.register_replica(code)


async def register(sim: Simulation, city: City, child: Person, home: Household) -> Family:
    """The register acquires the newborn's code, enters the child and says so to whom the law names."""
    code = await acquire_code(city.resident, child.resident_code)
    family = Family(home, child, code, city.code(home.head))
    await city.resident.register_birth(
        resident_code=child.resident_code,
        code=code,
        name=child.name,
        kana=child.kana,
        born=child.born.isoformat(),
        parent_code=family.parent_code,
    )
    return family


def deliveries(sim: Simulation, to: str | None = None) -> list[Transmission]:
    """The events that the broker passed on, to one recipient or to all; each attempt, with its permit, once.

    What the network doubles is no second attempt.
    """
    passed: dict[tuple[str, bytes | None], Transmission] = {}
    for one in messages(sim, Event):
        if one.sender == BROKER and to in (None, one.recipient):
            passed.setdefault((one.recipient, one.permit), one)
    return list(passed.values())


def taken_in(sim: Simulation, address: str, event: EventType) -> list[str]:
    """The ids of an event's pushes that a node took in, by its own ledger: there a repeat is no second record.

    How often one was delivered says nothing: the network may double it, and the broker repeats it until it is signed for.
    """
    return [row.id for row in ledger(sim, address) if (row.entry, row.service) == ("answered", event.name)]


def heard_code_in(sim: Simulation, party: str) -> bool:
    """Whether anything that a party was sent holds a linkage code."""
    key = sim.keys_of(party).sealing
    seals = [one.message.data for one in messages(sim) if one.recipient == party and one.message is not None]
    return any(b"muni/01208:" in open_sealed(seal, key) for seal in seals)


def state_of(sim: Simulation, city: City) -> tuple[int, ...]:
    """What the subscribers hold because of births."""
    medical = sim.node(city.address("child-medical"))
    return (
        rows_in(city.child_allowance, "invitation"),
        rows_in(city.health, "plan"),
        rows_in(medical, "offer"),
        rows_in(medical, "mesh_inbox"),
    )


def rows_in(node: Node, table: str) -> int:
    """How many rows a table of a node has."""
    return int(node.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
