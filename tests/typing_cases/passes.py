"""Everything as it should be: mypy --strict has nothing to say."""

from mesh import Caller, Node, serves
from tests.typing_cases.common import INCOME, PLACES, Income, IncomeQuery, Places, PlacesQuery


class Office(Node):
    @serves(PLACES)
    async def places(self, query: PlacesQuery, caller: Caller) -> Places:
        income: Income = await self.ask(
            "muni/28100/tax", INCOME, IncomeQuery(2025), subject="code", procedure="allowance"
        )
        places: Places = await self.ask("muni/28100/nursery", PLACES, PlacesQuery(query.age))
        return Places(free=income.yen + places.free)

    @serves(INCOME)
    async def income(self, query: IncomeQuery, caller: Caller, person: str) -> Income:
        return Income(yen=query.year)
