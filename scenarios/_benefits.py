"""The world of `benefit_payment`: a city, the city its newcomers left, a bank, and households with accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from mesh import Simulation
from mesh.ledger import Row
from mesh.testing import ledger
from nodes.agency.account_registry import ACCOUNTS, REGISTER, AccountRegistry, RegisterQuery
from nodes.data.people import Household, Move, Person, Population
from nodes.firm.bank import Account, Bank
from nodes.municipality.assembly import City, assemble
from nodes.municipality.benefit_file import Programme
from nodes.municipality.benefits import BenefitsOffice
from nodes.portal.inbox import PORTAL, Portal
from scenarios._portal import portal_code

BANK = "firm/kitami-bank/transfers"
BANK_CODE = "9999"
"""A code of no real bank."""
PROGRAMME = Programme("2023-12-01", 2023, 70_000, BANK)
"""物価高騰対応重点支援給付金（令和5年度、1世帯7万円）: households registered on 1 December 2023 in which nobody was
taxed in fiscal 2023. The date is that of most cities."""
POOR_YEN, EARNING_YEN = 300_000, 3_200_000


@dataclass
class World:
    """The cities, the bank, the registry, and who lives in Kitami."""

    sim: Simulation
    kitami: City = field(init=False)
    kobe: City = field(init=False)
    people: Population = field(init=False)
    accounts: int = 0

    def __post_init__(self) -> None:
        self.kitami = assemble(self.sim, "01208", "resident", "tax", "benefits")
        self.kobe = assemble(self.sim, "28100", "tax")
        self.people = Population(self.sim)
        self.sim.add(Bank, BANK)
        self.sim.add(AccountRegistry, ACCOUNTS)

    @property
    def office(self) -> BenefitsOffice:
        """Kitami's benefits office, as it is up now."""
        return self.kitami.node(BenefitsOffice)

    @property
    def bank(self) -> Bank:
        """The city's designated bank."""
        return self.sim.node(BANK, Bank)

    def household(
        self, *, moved_on: date | None = None, income_yen: int = POOR_YEN, copied: bool = True
    ) -> Household:
        """A couple in Kitami; who came from Kobe was assessed there. `copied` is whether the copy is registered."""
        moves = () if moved_on is None else (Move(moved_on, "28100", "01208"),)
        home = self.people.household("01208", moves=moves)
        self.kitami.settle(home)
        taxed_by = self.kitami if moved_on is None or moved_on.year < PROGRAMME.tax_year else self.kobe
        for place, person in enumerate(home.parents):
            code = taxed_by.code(person)
            taxed_by.tax.assess(code, PROGRAMME.tax_year, total_income_yen=0 if place else income_yen)
            if copied:
                taxed_by.tax.register_replica(code, PROGRAMME.tax_year)
        return home

    def open_account(self, person: Person) -> Account:
        """An account in a person's own name."""
        self.accounts += 1
        account = Account(BANK_CODE, "001", f"{self.accounts:07d}", person.kana)
        self.bank.open_account(account)
        return account

    async def register(self, session: Person, account: Account) -> None:
        """Register an account in the portal, for whoever's session is open."""
        await self.sim.node(PORTAL, Portal).apply(
            portal_code(self.sim, session),
            ACCOUNTS,
            REGISTER,
            RegisterQuery(account),
            procedure="account-registration",
        )

    def number(self, home: Household) -> int:
        """The office's number of a household that it has listed."""
        return self.office.file.household_of(self.kitami.code(home.head)).number

    def asked(self, provider: str) -> list[Row]:
        """What the office put on its record as asked of a provider."""
        rows = ledger(self.sim, self.office.address)
        return [row for row in rows if row.entry == "opened" and row.provider == provider]
