"""The levies of a tax on vehicles: what is due for which year, what was paid, and what was reported of it.

The prefecture keeps such a book for 自動車税種別割, the municipality for 軽自動車税種別割. Every method that writes is
called inside the office's `effect()`.
"""

from __future__ import annotations

from typing import Final

from mesh import Node
from mesh.errors import NotFound
from mesh.store import Database
from nodes.agency.vehicle_inspection_payment import PAYMENT_CHECK, PAYMENT_REPORT, REPORTING, PaymentReport

LEVY_SCHEMA: Final = """
CREATE TABLE levy(
  vehicle TEXT NOT NULL, tax_year INTEGER NOT NULL, amount_yen INTEGER NOT NULL, paid_on TEXT NOT NULL DEFAULT '',
  reported INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (vehicle, tax_year));
"""


class VehicleLevies:
    """The book of one office."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def levy(self, vehicle: str, tax_year: int, amount_yen: int, paid_on: str = "") -> None:
        """Keep what is due for a year."""
        self._db.execute(
            "INSERT INTO levy(vehicle, tax_year, amount_yen, paid_on) VALUES (?, ?, ?, ?)",
            (vehicle, tax_year, amount_yen, paid_on),
        )

    def pay(self, vehicle: str, tax_year: int, paid_on: str) -> None:
        """Keep that it was paid; the payment check does not know it yet."""
        changed = self._db.execute(
            "UPDATE levy SET paid_on = ?, reported = 0 WHERE vehicle = ? AND tax_year = ?",
            (paid_on, vehicle, tax_year),
        ).rowcount
        if not changed:
            raise NotFound("nothing is due for this vehicle and year")

    def drop(self, vehicle: str, tax_year: int) -> None:
        """Forget what was never due."""
        self._db.execute("DELETE FROM levy WHERE vehicle = ? AND tax_year = ?", (vehicle, tax_year))

    def is_paid(self, vehicle: str, tax_year: int) -> bool:
        """Whether the tax is paid; `NotFound` if none is due."""
        row = self._db.execute(
            "SELECT paid_on FROM levy WHERE vehicle = ? AND tax_year = ?", (vehicle, tax_year)
        ).fetchone()
        if row is None:
            raise NotFound("nothing is due for this vehicle and year")
        return bool(row["paid_on"])

    def unreported(self) -> list[PaymentReport]:
        """What the payment check does not show yet, or no longer rightly."""
        rows = self._db.execute(
            "SELECT vehicle, tax_year, paid_on FROM levy WHERE NOT reported ORDER BY rowid"
        )
        return [PaymentReport(row["vehicle"], row["tax_year"], bool(row["paid_on"])) for row in rows]

    def mark_reported(self, report: PaymentReport) -> None:
        """Keep that a report is shown."""
        self._db.execute(
            "UPDATE levy SET reported = 1 WHERE vehicle = ? AND tax_year = ? AND (paid_on != '') = ?",
            (report.vehicle, report.tax_year, report.paid),
        )


async def report_levies(node: Node) -> int:
    """Send the payment check all that an office has not reported yet: its regular run. Returns how many."""
    book = VehicleLevies(node.db)
    reports = book.unreported()
    for report in reports:
        await node.ask(PAYMENT_CHECK, PAYMENT_REPORT, report, procedure=REPORTING)
        with node.effect():
            book.mark_reported(report)
    return len(reports)
