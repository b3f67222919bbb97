"""An inspection office: 運輸支局 for registered cars, 軽自動車検査協会 for light ones (継続検査, 道路運送車両法62条).

Rules kept here:
1. A vehicle whose tax is not paid is not inspected (97条の2). That it is paid is looked up in the payment check;
   what is not shown there is proved with 納税証明書 on paper.
2. The tax of a year is due on 31 May: until then that of the year before is looked up.
3. What is looked up is a vehicle, not a person.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Final, Literal

from mesh import Node, NotFound, Refused
from mesh.errors import Fault
from mesh.names import Zone
from nodes.agency.vehicle_inspection_payment import INSPECTION, PAYMENT_CHECK, PAYMENT_STANDING, PaymentQuery
from nodes.data.calendar import day_of, months_after

TERM_MONTHS: Final = 24
"""A private car's certificate is renewed for two years (61条)."""
EARLY_MONTHS: Final = 2
"""So long before its last day it is renewed without loss of days: two months since 2025-04-01, before that one."""

Outcome = Literal["renewed", "paper-needed"]


class InspectionOffice(Node):
    """Renews the inspection certificates (自動車検査証) of vehicles."""

    title: ClassVar[str] = "Vehicle inspection"
    title_ja: ClassVar[str] = "継続検査"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = "CREATE TABLE vehicle(chassis TEXT PRIMARY KEY, until TEXT NOT NULL);"

    def enter(self, chassis: str, until: str) -> None:
        """Enter a vehicle whose certificate holds until a day."""
        with self.effect():
            self.db.execute("INSERT INTO vehicle VALUES (?, ?)", (chassis, until))

    def until(self, chassis: str) -> str:
        """The last day of a vehicle's certificate; `NotFound` for a vehicle unknown here."""
        row = self.db.execute("SELECT until FROM vehicle WHERE chassis = ?", (chassis,)).fetchone()
        if row is None:
            raise NotFound("the vehicle is not on record")
        return str(row["until"])

    async def inspect(self, chassis: str, *, tax_paper: str | None = None) -> Outcome:
        """Renew the certificate of a vehicle that passed, if its tax is paid.

        `tax_paper` is the 納税証明書 that somebody brought. Without it, no answer of the check means paper.
        """
        last = date.fromisoformat(self.until(chassis))
        today = day_of(self.host.now_us())
        year = today.year if today.month >= 6 else today.year - 1
        is_paid = (
            await self._is_shown_as_paid(chassis, year)
            if tax_paper is None
            else (tax_paper == f"{chassis} {year} paid")
        )
        if not is_paid:
            return "paper-needed"
        early = today <= last <= months_after(today, EARLY_MONTHS)
        until = months_after(last if early else today, TERM_MONTHS).isoformat()
        with self.effect():
            self.db.execute("UPDATE vehicle SET until = ? WHERE chassis = ?", (until, chassis))
        return "renewed"

    async def _is_shown_as_paid(self, chassis: str, year: int) -> bool:
        query = PaymentQuery(chassis, year)
        try:
            shown = await self.ask(PAYMENT_CHECK, PAYMENT_STANDING, query, procedure=INSPECTION)
        except Refused as refused:
            if refused.fault is Fault.REQUESTER:
                raise
            return False
        return shown.standing == "paid"
