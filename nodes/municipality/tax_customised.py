"""Individual inhabitant tax as a large city built it for itself, on a platform of its own.

Rules kept here:
1. The city keeps its own layout: one register of entries, each a coded field of a person's year.
2. Towards the mesh it keeps the contract: its entries are converted when the copy is registered (副本登録), and
   whoever asks cannot tell its system from another's.
"""

from __future__ import annotations

from typing import ClassVar, Final

from nodes.municipality.tax_layout_2 import TaxOfficeLayout2

_INCOME, _DEPENDANTS, _PENSION = "A01", "B07", "C12"
"""The city's own field codes."""
_FIELDS: Final = (_INCOME, _DEPENDANTS, _PENSION)


class CustomisedTaxOffice(TaxOfficeLayout2):
    """The system 個人住民税 of a city with a system of its own making."""

    schema: ClassVar[str] = TaxOfficeLayout2.schema + (
        "CREATE TABLE entry(code TEXT NOT NULL, tax_year INTEGER NOT NULL, field TEXT NOT NULL,"
        " value INTEGER NOT NULL, entered_us INTEGER NOT NULL);"
    )

    def _enter(
        self, code: str, tax_year: int, total_income_yen: int, dependants: int, pension_yen: int
    ) -> None:
        """Add a year's entries; those before stay, and count no more."""
        values = zip(_FIELDS, (total_income_yen, dependants, pension_yen), strict=True)
        now_us = self.host.now_us()
        self.db.executemany(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?)",
            [(code, tax_year, field, value, now_us) for field, value in values],
        )

    def _register(self, code: str, tax_year: int) -> None:
        """Convert the latest entries to the standard layout, and copy them."""
        latest = {
            row["field"]: row["value"]
            for row in self.db.execute(
                "SELECT field, value FROM entry WHERE code = ? AND tax_year = ? ORDER BY rowid",
                (code, tax_year),
            )
        }
        if latest:
            self._levy(code, tax_year, *(latest[field] for field in _FIELDS))
            self._copy(code, tax_year)

    def _is_assessed(self, code: str, tax_year: int) -> bool:
        key = (code, tax_year)
        row = self.db.execute("SELECT 1 FROM entry WHERE code = ? AND tax_year = ?", key).fetchone()
        return row is not None
