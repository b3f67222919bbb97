"""Individual inhabitant tax (個人住民税): income as assessed, and the copy of it that answers requests.

Rules kept here:
1. The assessment is the original (正本); requests are answered from the copy (副本) that the office registers.
2. A copy that was not registered is `replica_missing`; a correction of the original changes no answer until
   the copy is registered again.
3. 提供不可 withholds a record; 自動応答不可 leaves the answer to an official; 自己情報提供不可 withholds it from the
   person's own look in the portal, and from nobody else.
4. Who needs to know only whether tax was levied is told that, and no amount.
5. A correction is said to whom the law names, when the copy has it.

A tax year is that of the levy (年度): of the income of the year before, by the city of residence on its
1 January (地方税法39条, 294条, 318条).
"""

from __future__ import annotations

import sqlite3
from typing import Annotated, ClassVar, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import (
    Caller,
    EventType,
    FromCopy,
    ManualReview,
    Node,
    NotFound,
    PersonalService,
    ReplicaMissing,
    Withheld,
    instant,
    serves,
)
from mesh.names import Zone

SELF_DISCLOSURE: Final = "self-disclosure"
"""The task under which the portal shows residents what bodies hold about them (自己情報)."""

Yen = Annotated[int, Meta(ge=0)]
Year = Annotated[int, Meta(ge=1950, le=2200)]


class IncomeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the income on which the tax of a year was levied."""

    tax_year: Year


class Income(FromCopy, frozen=True):
    """What 課税証明書 would say."""

    tax_year: Year | UnsetType = UNSET
    total_income_yen: Yen | UnsetType = UNSET
    """総所得金額等: after deductions for employment, before personal ones."""
    taxable_income_yen: Yen | UnsetType = UNSET
    dependants: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    """扶養親族等の数."""
    tax_yen: Yen | UnsetType = UNSET
    pension_yen: Yen | UnsetType = UNSET
    """公的年金等の収入金額: what was received, before any deduction."""


class TaxedQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks whether a person was taxed in a year."""

    tax_year: Year


class Taxed(FromCopy, frozen=True):
    """The least that a benefit for households without tax needs to know."""

    taxed: bool | UnsetType = UNSET
    """Whether 均等割 is levied. The levy here has one threshold for 均等割 and 所得割: illustrative."""


INCOME = PersonalService(
    "tax.income.v1",
    IncomeQuery,
    Income,
    title="Income and inhabitant tax of a year",
    title_ja="所得・個人住民税情報",
)
TAXED = PersonalService(
    "tax.taxed.v1",
    TaxedQuery,
    Taxed,
    title="Whether inhabitant tax is levied",
    title_ja="住民税の課税・非課税の別",
)
CORRECTION = EventType("tax.correction.v1", title="An assessment was corrected", title_ja="課税の更正")


class TaxOffice(Node):
    """The system 個人住民税 of one municipality."""

    title: ClassVar[str] = "Individual inhabitant tax"
    title_ja: ClassVar[str] = "個人住民税"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE levy(
      code TEXT NOT NULL, tax_year INTEGER NOT NULL, total_income_yen INTEGER NOT NULL,
      taxable_income_yen INTEGER NOT NULL, dependants INTEGER NOT NULL, tax_yen INTEGER NOT NULL,
      pension_yen INTEGER NOT NULL, PRIMARY KEY (code, tax_year));
    CREATE TABLE replica(
      code TEXT NOT NULL, tax_year INTEGER NOT NULL, total_income_yen INTEGER NOT NULL,
      taxable_income_yen INTEGER NOT NULL, dependants INTEGER NOT NULL, tax_yen INTEGER NOT NULL,
      pension_yen INTEGER NOT NULL, registered_us INTEGER NOT NULL, PRIMARY KEY (code, tax_year));
    CREATE TABLE flag(code TEXT NOT NULL, flag TEXT NOT NULL, PRIMARY KEY (code, flag));
    """

    # What its staff does.

    def assess(
        self, code: str, tax_year: int, *, total_income_yen: int, dependants: int = 0, pension_yen: int = 0
    ) -> None:
        """Assess a person, or correct the assessment: the original alone, the copy stays as it is.

        The deduction and the rate are rounded and illustrative (430,000 yen and 10 percent, 地方税法34条, 35条).
        """
        with self.effect():
            self._enter(code, tax_year, total_income_yen, dependants, pension_yen)

    def register_replica(self, code: str, tax_year: int) -> None:
        """Register the copy of a person's assessment (副本登録), in place of the one before."""
        with self.effect():
            self._register(code, tax_year)

    def correct(self, code: str, tax_year: int, *, total_income_yen: int, dependants: int = 0) -> None:
        """Correct an assessment with its copy, and say so to whom the law names."""
        with self.effect():
            self._enter(code, tax_year, total_income_yen, dependants, 0)
            self._register(code, tax_year)
            self._announce(code)

    def withhold(self, code: str) -> None:
        """Set 提供不可."""
        self._flag(code, "withheld")

    def keep_from_portal(self, code: str) -> None:
        """Set 自己情報提供不可, as for who must fear that somebody else reads the portal in their name."""
        self._flag(code, "not-to-self")

    def review_manually(self, code: str) -> None:
        """Set 自動応答不可."""
        self._flag(code, "manual")

    # What a package of its own does otherwise, inside an effect.

    def _enter(
        self, code: str, tax_year: int, total_income_yen: int, dependants: int, pension_yen: int
    ) -> None:
        """Write an assessment as this system keeps it."""
        self._levy(code, tax_year, total_income_yen, dependants, pension_yen)

    def _register(self, code: str, tax_year: int) -> None:
        """Bring the copy up to what this system keeps."""
        self._copy(code, tax_year)

    def _announce(self, code: str) -> None:
        """Say that an assessment was corrected, once the copy has it."""
        self.publish(CORRECTION, code)

    def _levy(
        self, code: str, tax_year: int, total_income_yen: int, dependants: int, pension_yen: int
    ) -> None:
        """Write an assessment into the standard layout."""
        taxable_yen = max(total_income_yen - 430_000 - 330_000 * dependants, 0) // 1000 * 1000
        self.db.execute(
            "INSERT OR REPLACE INTO levy VALUES (?, ?, ?, ?, ?, ?, ?)",
            (code, tax_year, total_income_yen, taxable_yen, dependants, taxable_yen // 10, pension_yen),
        )

    def _copy(self, code: str, tax_year: int) -> None:
        """Copy an assessment in the standard layout."""
        self.db.execute(
            "INSERT OR REPLACE INTO replica SELECT *, ? FROM levy WHERE code = ? AND tax_year = ?",
            (self.host.now_us(), code, tax_year),
        )

    def _is_assessed(self, code: str, tax_year: int) -> bool:
        """Whether the original has a person's year, copied or not."""
        key = (code, tax_year)
        row = self.db.execute("SELECT 1 FROM levy WHERE code = ? AND tax_year = ?", key).fetchone()
        return row is not None

    def _flag(self, code: str, flag: str) -> None:
        with self.effect():
            self.db.execute("INSERT OR IGNORE INTO flag VALUES (?, ?)", (code, flag))

    # What it answers.

    @serves(INCOME)
    async def income(self, query: IncomeQuery, caller: Caller, person: str) -> Income:
        """Income of a person in a tax year, from the copy."""
        row = self._replica(person, query.tax_year, to_self=caller.procedure == SELF_DISCLOSURE)
        return Income(
            as_of=instant(row["registered_us"]),
            tax_year=row["tax_year"],
            total_income_yen=row["total_income_yen"],
            taxable_income_yen=row["taxable_income_yen"],
            dependants=row["dependants"],
            tax_yen=row["tax_yen"],
            pension_yen=row["pension_yen"],
        )

    @serves(TAXED)
    async def taxed(self, query: TaxedQuery, caller: Caller, person: str) -> Taxed:
        """Whether a person was taxed in a year, from the copy."""
        row = self._replica(person, query.tax_year)
        return Taxed(as_of=instant(row["registered_us"]), taxed=row["tax_yen"] > 0)

    def _replica(self, person: str, tax_year: int, *, to_self: bool = False) -> sqlite3.Row:
        """The copy of a person's levy, unless something forbids to give it, or to show it to themselves."""
        flags = [row["flag"] for row in self.db.execute("SELECT flag FROM flag WHERE code = ?", (person,))]
        if "withheld" in flags or (to_self and "not-to-self" in flags):
            raise Withheld
        if "manual" in flags:
            raise ManualReview
        key = (person, tax_year)
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM replica WHERE code = ? AND tax_year = ?", key
        ).fetchone()
        if row is None:
            raise ReplicaMissing if self._is_assessed(*key) else NotFound
        return row
