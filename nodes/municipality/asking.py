"""What many offices of a municipality ask in the same way: who lives in a household, and what an adult earned.

Each asks as itself and under a procedure of its own, and the law decides for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh import ManualReview, Node, Refused
from mesh.errors import Fault
from nodes.municipality.resident import HOUSEHOLD, IDENTIFY, HouseholdQuery, IdentifyQuery, Member
from nodes.municipality.tax import INCOME, Income, IncomeQuery


async def ask_household(
    office: Node, person: str, procedure: str, january: int | None = None
) -> tuple[Member, ...]:
    """A person's household, the head first, from the register of the office's own city.

    `january` is the year on whose 1 January it matters where each of them lived.
    """
    query = HouseholdQuery(january)
    reply = await office.ask(
        f"{office.member}/resident", HOUSEHOLD, query, subject=person, procedure=procedure
    )
    return reply.members


async def child_meant(
    office: Node, members: Sequence[Member], born: str, name: str | None, procedure: str
) -> Member:
    """The child of a household that a form means: a birth date alone identifies nobody, or twins would be one person.

    Where it fits several, the register says whose the name is. Raises `ManualReview` if no child or still several fit:
    the office asks for the name.
    """
    found = [one for one in members if one.relation == "child" and one.born == born]
    if len(found) > 1 and name:
        query = IdentifyQuery(name, born)
        named = (await office.ask(f"{office.member}/resident", IDENTIFY, query, procedure=procedure)).codes
        found = [one for one in found if one.code in named]
    if len(found) != 1:
        raise ManualReview(
            "several children have this birth date: give the name" if found else "no such child"
        )
    return found[0]


def tax_office_of(member: Member) -> str:
    """Who taxed the member: the city where they lived on 1 January (地方税法318条)."""
    return f"muni/{member.january_city}/tax"


async def ask_income(
    office: Node, member: Member, tax_year: int, items: tuple[str, ...], procedure: str
) -> Income | Refused:
    """What the member earned, or why nobody says: then paper is needed.

    An unlawful question is the office's own mistake, no lack of the resident's, and is raised.
    """
    provider, query = tax_office_of(member), IncomeQuery(tax_year)
    try:
        return await office.ask(
            provider, INCOME, query, subject=member.code, procedure=procedure, items=items
        )
    except Refused as refused:
        if refused.fault is Fault.REQUESTER:
            raise
        return refused
