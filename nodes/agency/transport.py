"""A transport office (運輸支局): registers cars (道路運送車両法4条, 7条, 13条).

Rules kept here:
1. Who applies is known by the signature certificate (公的個人認証) in place of 印鑑証明書, and this office checks it
   itself.
2. No registration without a place off the road: the police are asked by the case (保管場所法4条).
3. A car is transferred by the owner on record alone, who signs the deed.
4. A withdrawn case is as if it had not been: the owner before is the owner again. (The real office completes a
   registration last of all, when taxes are paid; here it can be undone, which is illustrative.)
"""

from __future__ import annotations

import sqlite3
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from mesh import Caller, MeshError, Node, NotFound, Refused, Service, Withheld, serves
from mesh.names import Zone
from nodes.agency.car_application import CarApplication, read_car_application, read_transfer
from nodes.agency.card import Signed
from nodes.agency.case_steps import CAR_REGISTRATION, STEP_SCHEMA, Case, CaseQuery, Steps, Undone
from nodes.agency.code_issuer import check_named
from nodes.agency.police import GARAGE_STANDING, StandingQuery
from nodes.agency.signature import check_signature

Plate = Annotated[str, Meta(pattern="^北見 300 あ [0-9]{2}-[0-9]{2}$")]
Instant = Annotated[int, Meta(ge=0)]


class RegisterQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What the new owner signed, what the owner before signed if there is one, and when it was filed (µs)."""

    case: Case
    application: Signed
    deed: Signed | None
    filed_us: Instant


class Registered(Struct, frozen=True):
    """The number plate."""

    plate: Plate


VEHICLE_REGISTER = Service(
    "vehicle.register.v1", RegisterQuery, Registered, title="Register a car", title_ja="自動車の登録"
)
VEHICLE_WITHDRAW = Service(
    "vehicle.withdraw.v1",
    CaseQuery,
    Undone,
    title="Withdraw a registration",
    title_ja="自動車の登録申請の取下げ",
)


class TransportOffice(Node):
    """Keeps who owns which registered car. `police` is the prefecture's."""

    title: ClassVar[str] = "Car registration"
    title_ja: ClassVar[str] = "自動車登録"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = (
        STEP_SCHEMA
        + """
    CREATE TABLE registration(
      number INTEGER PRIMARY KEY, case_key TEXT NOT NULL UNIQUE, chassis TEXT NOT NULL, owner TEXT NOT NULL,
      serial TEXT NOT NULL, plate TEXT NOT NULL, garage TEXT NOT NULL, withdrawn INTEGER NOT NULL DEFAULT 0);
    """
    )
    police: str = ""

    def owner_of(self, chassis: str) -> sqlite3.Row | None:
        """The registration that stands of a car: owner, serial, plate, garage; None if there is none."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM registration WHERE chassis = ? AND NOT withdrawn ORDER BY number DESC", (chassis,)
        ).fetchone()
        return row

    @serves(VEHICLE_REGISTER)
    async def register(self, query: RegisterQuery, caller: Caller) -> Registered:
        """Register a car to its new owner, once for each case."""
        check_named(caller)
        known = Steps(self.db).result(query.case)
        if known is not None:
            return Registered(known)
        serial, document = await self._check(query.application, query.filed_us)
        application = read_car_application(document)
        deed = None if query.deed is None else await self._check(query.deed, query.filed_us)
        garage = await self._garage(query.case, application.chassis)
        # Other cases may have gone on meanwhile: who owns the car is looked up now, and nothing is awaited after it.
        steps = Steps(self.db)
        known = steps.result(query.case)
        if known is not None:
            return Registered(known)
        self._check_owner_before(application, deed)
        plate = self._next_plate()
        with self.effect():
            self.db.execute(
                "INSERT INTO registration(case_key, chassis, owner, serial, plate, garage)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (query.case, application.chassis, application.owner, serial, plate, garage),
            )
            steps.keep(query.case, plate)
        return Registered(plate)

    @serves(VEHICLE_WITHDRAW)
    async def withdraw(self, query: CaseQuery, caller: Caller) -> Undone:
        """Undo a case's registration."""
        check_named(caller)
        with self.effect():
            undone = Steps(self.db).undo(query.case)
            self.db.execute("UPDATE registration SET withdrawn = 1 WHERE case_key = ?", (query.case,))
        return Undone(undone is not None)

    async def _check(self, signed: Signed, at_us: int) -> tuple[str, bytes]:
        """The serial number of who signed, and what."""
        certificate, document = await check_signature(self, signed, at_us)
        return certificate.serial, document

    def _check_owner_before(self, application: CarApplication, deed: tuple[str, bytes] | None) -> None:
        """`withheld` unless a new car is new, or the owner on record signed it over to the applicant."""
        standing = self.owner_of(application.chassis)
        if application.procedure == "new":
            if standing is not None:
                raise Withheld("the car is registered already")
            return
        if standing is None or deed is None:
            raise Withheld("a transfer needs a registered car and its owner's deed")
        serial, document = deed
        signed = read_transfer(document)
        if (serial, signed.chassis, signed.to) != (
            standing["serial"],
            application.chassis,
            application.owner,
        ):
            raise Withheld("the deed is not the owner's, or for another car or person")

    async def _garage(self, case: str, chassis: str) -> str:
        try:
            query = StandingQuery(case, chassis)
            return (await self.ask(self.police, GARAGE_STANDING, query, procedure=CAR_REGISTRATION)).number
        except Refused as refused:
            if refused.code != "not_found":
                raise MeshError("handler_failed", f"the police gave no answer: {refused.code}") from refused
            raise NotFound("the car has no certified place in this case") from refused

    def _next_plate(self) -> str:
        number = self.db.execute("SELECT count(*) AS plates FROM registration").fetchone()["plates"] + 1
        return f"北見 300 あ {number // 100:02d}-{number % 100:02d}"
