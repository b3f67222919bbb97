"""The world of `child_allowance`: two cities, the pension body, and families that moved between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from mesh import Simulation
from mesh.ledger import Row, read_row
from nodes.agency.pension import PENSION, PensionBody, Scheme
from nodes.data.people import Household, Move, Person, Population
from nodes.municipality.assembly import City
from nodes.municipality.child_allowance import ClaimQuery, ClaimReceipt

TAX_YEAR = 2024
CLAIM_DAYS = 15
"""From the day after the planned move-out (児童手当法8条3項), as the law has it and not as the office counts."""
LATE_DAYS = {"2024-10": 19, "2024-09": 18}
"""The first day after the term on which the run begins, by the calendar: 12 to 14 October 2024 were a long weekend, 31 August
and 1 September a weekend, so that day 15 moved on to the day of the run for who moved out up to 18 or 17 days before."""


@dataclass(frozen=True, slots=True)
class World:
    """The two cities, and who lives in them."""

    sim: Simulation
    kitami: City
    kobe: City
    people: Population

    def family(self, *ages: int, parents: int = 2, day: int = CLAIM_DAYS) -> Household:
        """A family that comes from Kobe, for whom today is the given day of the time to claim."""
        moved_out = self.sim.now().date() - timedelta(days=day)
        move = Move(moved_out, "28100", "01208")
        return self.people.household("01208", child_ages=ages, parents=parents, moves=(move,))

    def assess(self, person: Person, income_yen: int, *, dependants: int = 0, copied: bool = True) -> None:
        """Kobe assesses a person's income and, unless told otherwise, registers the copy that answers."""
        code = self.kobe.code(person)
        self.kobe.tax.assess(code, TAX_YEAR, total_income_yen=income_yen, dependants=dependants)
        if copied:
            self.kobe.tax.register_replica(code, TAX_YEAR)

    def enrol(self, person: Person, scheme: Scheme = "employees") -> None:
        """The pension body holds a person's enrolment."""
        code = self.sim.code("org/nenkin", person.handle)
        body = self.sim.node(PENSION, PensionBody)
        body.enrol(code, scheme, "private" if scheme == "employees" else "none", 84)
        body.register_replica(code)

    def claim(self, person: Person, family: Household, *, public_servant: bool = False) -> ClaimReceipt:
        """A parent claims at Kitami's counter."""
        query = ClaimQuery("move-in", family.moves[-1].on.isoformat(), public_servant)
        return self.kitami.child_allowance.take_claim(self.kitami.code(person), query)

    def asked(self, person: Person, provider: str) -> list[Row]:
        """What Kitami's office put on its record as asked of a provider about a person."""
        office = self.kitami.child_allowance
        rows = map(read_row, office.host.store.ledger_rows_with(self.kitami.code(person)))
        return [row for row in rows if row.entry == "opened" and row.provider == provider]


def month_after(day: date) -> str:
    """The month after a day, as `2024-10`."""
    return f"{day.year + day.month // 12}-{day.month % 12 + 1:02d}"


def is_marked(sim: Simulation, address: str, message_id: str) -> bool:
    """Whether a party's record hides an exchange."""
    rows = map(read_row, sim.node(address).host.store.ledger_rows_with(message_id))
    return any(row.entry == "mark" and row.undisclosed for row in rows)
