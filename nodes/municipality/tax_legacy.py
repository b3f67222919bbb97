"""Individual inhabitant tax in a system that has not been migrated yet (特定移行支援システム).

Rules kept here:
1. The old system keeps records of fixed width in Shift_JIS, as its host once did.
2. Once a night a batch converts what changed to the standard layout and registers the copies: until then the mesh
   answers what stood there before, or that there is no copy (副本未登録), and no correction is announced.
3. Towards the mesh it keeps the contract of the first layout; it has no second yet.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from nodes.municipality.tax import CORRECTION, TaxOffice

_ENCODING = "cp932"


class Record(NamedTuple):
    """One record: year (4 bytes), income in yen (10), dependants (2), pension (10), and 課 or 非 for taxed or not (2)."""

    tax_year: int
    income_yen: int
    dependants: int
    pension_yen: int
    taxed: str

    def pack(self) -> bytes:
        """The record as the old system stores it, 28 bytes."""
        return f"{self.tax_year:04d}{self.income_yen:010d}{self.dependants:02d}{self.pension_yen:010d}{self.taxed}".encode(
            _ENCODING
        )

    @classmethod
    def unpack(cls, data: bytes) -> Record:
        """The record of 28 bytes."""
        text = data.decode(_ENCODING)
        return cls(int(text[:4]), int(text[4:14]), int(text[14:16]), int(text[16:26]), text[26:])


class LegacyTaxOffice(TaxOffice):
    """The system 個人住民税 of a municipality that has not been migrated."""

    schema: ClassVar[str] = TaxOffice.schema + (
        "CREATE TABLE record(code TEXT NOT NULL, data BLOB NOT NULL, wanted INTEGER NOT NULL DEFAULT 0,"
        " corrected INTEGER NOT NULL DEFAULT 0);"
    )

    def run_night_batch(self) -> int:
        """Convert all that is on the list, the oldest first, and register the copies; returns how many."""
        listed = self.db.execute("SELECT * FROM record WHERE wanted ORDER BY rowid").fetchall()
        with self.effect():
            for row in listed:
                record = Record.unpack(bytes(row["data"]))
                self._levy(
                    row["code"], record.tax_year, record.income_yen, record.dependants, record.pension_yen
                )
                self._copy(row["code"], record.tax_year)
            for code in dict.fromkeys(row["code"] for row in listed if row["corrected"]):
                self.publish(CORRECTION, code)
            self.db.execute("UPDATE record SET wanted = 0, corrected = 0")
        return len(listed)

    def _enter(
        self, code: str, tax_year: int, total_income_yen: int, dependants: int, pension_yen: int
    ) -> None:
        """Write a person's year as a record; the latest one counts."""
        taxed = "課" if total_income_yen > 430_000 else "非"
        data = Record(tax_year, total_income_yen, dependants, pension_yen, taxed).pack()
        self.db.execute("INSERT INTO record(code, data) VALUES (?, ?)", (code, bytearray(data)))

    def _register(self, code: str, tax_year: int) -> None:
        """Put a person's records on the list of the next batch."""
        self.db.execute("UPDATE record SET wanted = 1 WHERE code = ?", (code,))

    def _announce(self, code: str) -> None:
        """Leave it to the next batch to say so, because the copy has the correction only then."""
        self.db.execute("UPDATE record SET corrected = 1 WHERE code = ? AND wanted", (code,))

    def _is_assessed(self, code: str, tax_year: int) -> bool:
        rows = self.db.execute("SELECT data FROM record WHERE code = ?", (code,))
        return any(Record.unpack(bytes(row["data"])).tax_year == tax_year for row in rows)
