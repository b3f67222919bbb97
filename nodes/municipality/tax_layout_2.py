"""Individual inhabitant tax in the second layout: answers `tax.income.v2` beside `tax.income.v1`.

Rules kept here:
1. Versions of a layout (データ標準レイアウト) live side by side: who asks by the first is answered by the first.
2. A later version adds items and takes none away, so that the same record answers both.

What the second layout adds here, income that is taxed separately (分離課税), is illustrative.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from mesh import Caller, PersonalService, serves
from nodes.municipality.tax import Income, IncomeQuery, TaxOffice, Yen


class IncomeLayout2(Income, frozen=True):
    """What 課税証明書 would say, and income that is taxed separately."""

    separate_income_yen: Yen | UnsetType = UNSET


INCOME_2 = PersonalService(
    "tax.income.v2",
    IncomeQuery,
    IncomeLayout2,
    title="Income and inhabitant tax of a year, second layout",
    title_ja="所得・個人住民税情報（レイアウト第2版）",
)


class TaxOfficeLayout2(TaxOffice):
    """The system 個人住民税 of a municipality whose package has the second layout."""

    schema: ClassVar[str] = TaxOffice.schema + (
        "CREATE TABLE separate(code TEXT NOT NULL, tax_year INTEGER NOT NULL, yen INTEGER NOT NULL,"
        " PRIMARY KEY (code, tax_year));"
        "CREATE TABLE separate_replica(code TEXT NOT NULL, tax_year INTEGER NOT NULL, yen INTEGER NOT NULL,"
        " PRIMARY KEY (code, tax_year));"
    )

    def assess_separately(self, code: str, tax_year: int, yen: int) -> None:
        """Assess income that is taxed apart from the rest, such as that from the sale of land: the original."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO separate VALUES (?, ?, ?)", (code, tax_year, yen))

    @serves(INCOME_2)
    async def income_2(self, query: IncomeQuery, caller: Caller, person: str) -> IncomeLayout2:
        """Income of a person in a tax year, from the copy, with what is taxed separately."""
        first = await self.income(query, caller, person)
        row = self.db.execute(
            "SELECT yen FROM separate_replica WHERE code = ? AND tax_year = ?", (person, query.tax_year)
        ).fetchone()
        return IncomeLayout2(**asdict(first), separate_income_yen=0 if row is None else row["yen"])

    def _copy(self, code: str, tax_year: int) -> None:
        """Copy an assessment with what is taxed separately."""
        super()._copy(code, tax_year)
        self.db.execute(
            "INSERT OR REPLACE INTO separate_replica SELECT * FROM separate WHERE code = ? AND tax_year = ?",
            (code, tax_year),
        )
