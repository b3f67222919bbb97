"""Health management (健康管理): plans check-ups and vaccinations of infants when a birth is entered.

The event tells only that a child was born; the birth date is asked of the register, inside the same city.
A plan reminds; nobody is examined or vaccinated by it.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar, NamedTuple

from mesh import Caller, Event, Node, receives
from mesh.names import Zone
from nodes.data.calendar import months_after
from nodes.municipality.resident import BIRTH, HOUSEHOLD, HouseholdQuery


class Appointment(NamedTuple):
    """Something due at an age in months."""

    key: str
    title: str
    title_ja: str
    months: int
    source: str


PLAN = (
    Appointment(
        "vaccination", "first vaccinations", "初回の定期予防接種", 2, "予防接種法5条; age illustrative"
    ),
    Appointment("check-up-4m", "check-up at 3 to 4 months", "3〜4か月児健診", 4, "母子保健法13条"),
    Appointment("check-up-18m", "check-up at 18 months", "1歳6か月児健診", 18, "母子保健法12条1項1号"),
    Appointment("check-up-3y", "check-up at 3 years", "3歳児健診", 36, "母子保健法12条1項2号"),
)


class HealthManagement(Node):
    """The system 健康管理 of one municipality."""

    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE plan(
      child TEXT NOT NULL, appointment TEXT NOT NULL, due_on TEXT NOT NULL, event TEXT NOT NULL,
      PRIMARY KEY (child, appointment));
    """

    @receives(BIRTH)
    async def plan_check_ups(self, event: Event, caller: Caller, person: str) -> None:
        """Plan what is due for a newborn."""
        reply = await self.ask(
            caller.address, HOUSEHOLD, HouseholdQuery(), subject=person, procedure="child-health"
        )
        born = next(date.fromisoformat(one.born) for one in reply.members if one.code == person)
        rows = [(person, one.key, months_after(born, one.months).isoformat(), event.id) for one in PLAN]
        with self.effect():
            self.db.executemany("INSERT OR IGNORE INTO plan VALUES (?, ?, ?, ?)", rows)

    def plan_of(self, child: str) -> list[tuple[str, str]]:
        """What is planned for a child: (appointment, due date), the next first."""
        rows = self.db.execute(
            "SELECT appointment, due_on FROM plan WHERE child = ? ORDER BY due_on, appointment", (child,)
        )
        return [(row["appointment"], row["due_on"]) for row in rows]
