"""The light vehicle tax (軽自動車税種別割) of one municipality: who owes it for which vehicle, and who has paid.

Rules kept here:
1. It is levied on the owner of 1 April (地方税法442条以下), one vehicle at a time. The owner is known by the city's
   code and stays here: what is reported says a vehicle and whether its tax is paid.
2. Payments are reported to the payment check (軽JNKS) in regular runs, some days after they came in. Until then
   the counter gives 納税証明書 (継続検査用) to whoever must have the vehicle inspected, free of charge.
"""

from __future__ import annotations

from typing import ClassVar, Final

from msgspec import Struct

from mesh import Caller, Node, NotFound, PersonalService, Withheld, serves
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.agency.case_steps import Chassis
from nodes.agency.vehicle_levies import LEVY_SCHEMA, VehicleLevies, report_levies
from nodes.data.calendar import day_of

ANNUAL_YEN: Final = 10_800
"""A year for a private four-wheeled 軽自動車 first registered since April 2015 (the standard rate)."""


class OwedVehicles(Struct, frozen=True):
    """The vehicles for which somebody owes tax that is not paid."""

    vehicles: tuple[Chassis, ...]


LIGHT_TAX_OWED = PersonalService(
    "light-vehicle-tax.owed.v1",
    Empty,
    OwedVehicles,
    title="Unpaid light vehicle tax of a person",
    title_ja="軽自動車税種別割の未納状況",
)


class LightVehicleTax(Node):
    """The system 軽自動車税 of one municipality."""

    title: ClassVar[str] = "Light vehicle tax"
    title_ja: ClassVar[str] = "軽自動車税"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = LEVY_SCHEMA + "CREATE TABLE owner(vehicle TEXT PRIMARY KEY, code TEXT NOT NULL);"

    @property
    def levies(self) -> VehicleLevies:
        """The levies by vehicle and year."""
        return VehicleLevies(self.db)

    def levy(self, code: str, vehicle: str, tax_year: int) -> None:
        """Levy the tax of a year on the owner of 1 April."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO owner VALUES (?, ?)", (vehicle, code))
            self.levies.levy(vehicle, tax_year, ANNUAL_YEN)

    def receive_payment(self, vehicle: str, tax_year: int) -> None:
        """Enter a payment."""
        with self.effect():
            self.levies.pay(vehicle, tax_year, day_of(self.host.now_us()).isoformat())

    async def report(self) -> int:
        """Report to the payment check what it does not show yet; returns how many vehicles."""
        return await report_levies(self)

    def tax_certificate(self, vehicle: str, tax_year: int) -> str:
        """Issue 納税証明書 for an inspection at the counter; `Withheld` while the tax is not paid."""
        if not self.levies.is_paid(vehicle, tax_year):
            raise Withheld("the tax is not paid")
        return f"{vehicle} {tax_year} paid"

    @serves(LIGHT_TAX_OWED)
    async def owed(self, query: Empty, caller: Caller, person: str) -> OwedVehicles:
        """What somebody owes, for another counter of this municipality."""
        rows = self.db.execute(
            "SELECT DISTINCT vehicle FROM owner JOIN levy USING (vehicle) WHERE code = ? AND paid_on = ''"
            " ORDER BY vehicle",
            (person,),
        ).fetchall()
        if not rows and self.db.execute("SELECT 1 FROM owner WHERE code = ?", (person,)).fetchone() is None:
            raise NotFound("nobody of that code owns a vehicle here")
        return OwedVehicles(tuple(row["vehicle"] for row in rows))
