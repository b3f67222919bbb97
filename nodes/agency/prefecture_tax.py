"""The vehicle tax (自動車税) of a prefecture: 環境性能割 on acquiring a registered car, 種別割 on owning it (地方税法145条以下).

Rules kept here:
1. Both taxes are declared with the registration and computed here; their payment is not modelled.
2. A car for which 減免 is claimed is not taken online: an official decides at the counter.
3. 種別割 of the year falls due with a new registration only: on a transfer it stays with the owner of 1 April.
4. This office holds the payments of 種別割 and reports them to the payment check (JNKS), in regular runs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct

from mesh import Caller, ManualReview, Node, Service, serves
from mesh.message import encode
from mesh.names import Zone
from nodes.agency.case_steps import STEP_SCHEMA, Case, CaseQuery, Chassis, Steps, Undone
from nodes.agency.code_issuer import check_named
from nodes.agency.vehicle_levies import LEVY_SCHEMA, VehicleLevies, report_levies
from nodes.agency.vehicle_tax_rules import emission_yen, first_year_yen
from nodes.data.calendar import day_of, fiscal_year

Yen = Annotated[int, Meta(ge=0)]


class DeclareQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A car that was acquired, as its new owner declares it."""

    case: Case
    chassis: Chassis
    new: bool
    displacement_cc: Annotated[int, Meta(ge=661, le=10_000)]
    price_yen: Yen
    emission_percent: Annotated[int, Meta(ge=0, le=3)]
    reduced: bool


class Assessed(Struct, frozen=True):
    """What is due with the registration."""

    emission_yen: Yen
    """環境性能割."""
    first_year_yen: Yen
    """種別割 of the months left in the fiscal year."""


VEHICLE_TAX_DECLARE = Service(
    "vehicle-tax.declare.v1",
    DeclareQuery,
    Assessed,
    title="Declare vehicle tax",
    title_ja="自動車税（環境性能割・種別割）の申告",
)
VEHICLE_TAX_WITHDRAW = Service(
    "vehicle-tax.withdraw.v1",
    CaseQuery,
    Undone,
    title="Withdraw a declaration",
    title_ja="自動車税の申告の取下げ",
)


class PrefectureVehicleTax(Node):
    """The vehicle tax office of one prefecture."""

    title: ClassVar[str] = "Vehicle tax"
    title_ja: ClassVar[str] = "自動車税"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = (
        STEP_SCHEMA
        + LEVY_SCHEMA
        + """
    CREATE TABLE declaration(case_key TEXT PRIMARY KEY, chassis TEXT NOT NULL, tax_year INTEGER NOT NULL);
    """
    )

    @property
    def levies(self) -> VehicleLevies:
        """種別割 by vehicle and year."""
        return VehicleLevies(self.db)

    def levy(self, vehicle: str, tax_year: int, amount_yen: int) -> None:
        """Levy the tax of a year on whoever owned a car on 1 April."""
        with self.effect():
            self.levies.levy(vehicle, tax_year, amount_yen)

    def receive_payment(self, vehicle: str, tax_year: int) -> None:
        """Enter a payment."""
        with self.effect():
            self.levies.pay(vehicle, tax_year, day_of(self.host.now_us()).isoformat())

    async def report(self) -> int:
        """Report to the payment check what it does not show yet; returns how many vehicles."""
        return await report_levies(self)

    @serves(VEHICLE_TAX_DECLARE)
    async def declare(self, query: DeclareQuery, caller: Caller) -> Assessed:
        """Compute what is due, once for each case; `manual_review` where 減免 is claimed."""
        check_named(caller)
        steps = Steps(self.db)
        known = steps.result(query.case)
        if known is not None:
            return msgspec.json.decode(known, type=Assessed)
        if query.reduced:
            raise ManualReview("a reduction is decided at the counter, on paper")
        today = day_of(self.host.now_us())
        assessed = Assessed(
            emission_yen(query.price_yen, query.emission_percent, today),
            first_year_yen(query.displacement_cc, today) if query.new else 0,
        )
        with self.effect():
            if query.new:
                year = fiscal_year(today)
                self.levies.levy(query.chassis, year, assessed.first_year_yen, today.isoformat())
                self.db.execute("INSERT INTO declaration VALUES (?, ?, ?)", (query.case, query.chassis, year))
            steps.keep(query.case, encode(assessed).decode())
        return assessed

    @serves(VEHICLE_TAX_WITHDRAW)
    async def withdraw(self, query: CaseQuery, caller: Caller) -> Undone:
        """Undo a case's declaration."""
        check_named(caller)
        with self.effect():
            undone = Steps(self.db).undo(query.case)
            for row in self.db.execute(
                "SELECT chassis, tax_year FROM declaration WHERE case_key = ?", (query.case,)
            ).fetchall():
                self.levies.drop(row["chassis"], row["tax_year"])
        return Undone(undone is not None)
