"""The check of vehicle taxes for inspections (JNKS, and 軽JNKS since January 2023) of 地方税共同機構.

Rules kept here:
1. It holds what prefectures and municipalities reported, vehicle by vehicle, and nothing about a person: they hold
   the payments, and what was not reported yet is not shown.
2. It tells inspection offices whether a vehicle's tax is paid, so that nobody brings 納税証明書 (道路運送車両法97条の2).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from mesh import Caller, Node, Service, serves
from mesh.names import Zone
from nodes.agency.case_steps import Chassis
from nodes.agency.code_issuer import check_named

PAYMENT_CHECK: Final = "org/lta/payment-check"
REPORTING: Final = "vehicle-tax"
INSPECTION: Final = "vehicle-inspection"

Year = Annotated[int, Meta(ge=2000, le=2200)]
"""A tax year (年度), April to March."""
Standing = Literal["paid", "unpaid", "not-shown"]


class PaymentReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands of a vehicle's tax for a year."""

    vehicle: Chassis
    tax_year: Year
    paid: bool


class Noted(Struct, frozen=True):
    """That the report is shown from now on."""

    vehicle: Chassis


class PaymentQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks about a vehicle's tax for a year."""

    vehicle: Chassis
    tax_year: Year


class PaymentStanding(Struct, frozen=True):
    """Paid, unpaid, or not shown here."""

    standing: Standing


PAYMENT_REPORT = Service(
    "vehicle-tax.report.v1",
    PaymentReport,
    Noted,
    title="Report whether a vehicle's tax is paid",
    title_ja="自動車税種別割・軽自動車税種別割の納付情報の登録",
)
PAYMENT_STANDING = Service(
    "vehicle-tax.standing.v1",
    PaymentQuery,
    PaymentStanding,
    title="Whether a vehicle's tax is paid",
    title_ja="自動車税種別割・軽自動車税種別割の納付確認",
)


class PaymentCheck(Node):
    """Keeps reports of payments, and shows them to inspection offices."""

    title: ClassVar[str] = "Check of vehicle tax payments"
    title_ja: ClassVar[str] = "自動車税納付確認（JNKS）"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE report(
      vehicle TEXT NOT NULL, tax_year INTEGER NOT NULL, paid INTEGER NOT NULL, reporter TEXT NOT NULL,
      PRIMARY KEY (vehicle, tax_year));
    """

    @serves(PAYMENT_REPORT)
    async def note(self, query: PaymentReport, caller: Caller) -> Noted:
        """Show a report in place of the one before."""
        check_named(caller)
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?)",
                (query.vehicle, query.tax_year, query.paid, caller.address),
            )
        return Noted(query.vehicle)

    @serves(PAYMENT_STANDING)
    async def standing(self, query: PaymentQuery, caller: Caller) -> PaymentStanding:
        """What is shown of a vehicle's tax."""
        check_named(caller)
        row = self.db.execute(
            "SELECT paid FROM report WHERE vehicle = ? AND tax_year = ?", (query.vehicle, query.tax_year)
        ).fetchone()
        if row is None:
            return PaymentStanding("not-shown")
        return PaymentStanding("paid" if row["paid"] else "unpaid")
