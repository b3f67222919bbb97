"""Each marked line is an error under mypy --strict, and no other line is."""

from mesh import Caller, Node, serves
from tests.typing_cases.common import INCOME, PLACES, Income, IncomeQuery, Places, PlacesQuery

TAX, NURSERY = "muni/28100/tax", "muni/28100/nursery"
YEAR, AGE = IncomeQuery(2025), PlacesQuery(3)


class Office(Node):
    async def asks(self) -> None:
        await self.ask(NURSERY, PLACES, YEAR)  # error: a wrong query
        await self.ask(TAX, INCOME, AGE, subject="c", procedure="p")  # error: a wrong query
        await self.ask(TAX, INCOME, YEAR, procedure="p")  # error: no subject
        await self.ask(TAX, INCOME, YEAR, subject="c")  # error: no procedure
        await self.ask(NURSERY, PLACES, AGE, subject="c")  # error: a subject where there is none
        a: Places = await self.ask(TAX, INCOME, YEAR, subject="c", procedure="p")  # error: a wrong reply
        b: Income = await self.ask(NURSERY, PLACES, AGE)  # error: a wrong reply
        print(a, b)

    @serves(PLACES)  # error: a handler with a wrong reply
    async def places(self, query: PlacesQuery, caller: Caller) -> Income:
        return Income(1)

    @serves(PLACES)  # error: a handler with a wrong query
    async def more_places(self, query: IncomeQuery, caller: Caller) -> Places:
        return Places(1)

    @serves(INCOME)  # error: a handler that takes no person
    async def income(self, query: IncomeQuery, caller: Caller) -> Income:
        return Income(1)
