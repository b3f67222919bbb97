"""The one-stop service for cars (自動車保有関係手続のワンストップサービス): leads a case through police, transport, tax.

Rules kept here:
1. A case begins with what the new owner signed; the certificate must hold at filing (公的個人認証法17条).
2. Each body decides its own step; the next is asked for when the one before is done.
3. When a step fails, or gives no answer in time, every step that was begun is undone, the last first, exactly
   once: one whose answer was lost may have been done, so it is undone as well.
4. Every transition is committed before anybody is asked, so that a crash loses nothing: `advance` goes on.

Outside 番号法: cases are known by a key, cars by their chassis number; no 符号 is used. The fees of the steps
remain. The real service registers only when all else is done; the order and its undoing are illustrative.
"""

from __future__ import annotations

import sqlite3
from typing import Any, ClassVar, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from mesh import Node, NotFound, Refused, Service
from mesh.jws import parse
from mesh.message import encode
from mesh.names import Zone
from nodes.agency.car_application import CarApplication, read_car_application
from nodes.agency.card import Signed
from nodes.agency.case_steps import CAR_REGISTRATION, CaseQuery, Undone
from nodes.agency.police import GARAGE_CERTIFY, GARAGE_WITHDRAW, GarageQuery
from nodes.agency.prefecture_tax import VEHICLE_TAX_DECLARE, VEHICLE_TAX_WITHDRAW, DeclareQuery
from nodes.agency.signature import check_signature
from nodes.agency.transport import VEHICLE_REGISTER, VEHICLE_WITHDRAW, RegisterQuery

ONE_STOP: Final = "gov/mlit/car-one-stop"

State = Literal["running", "completed", "undoing", "undone"]
StepName = Literal["police", "transport", "tax"]


class Step(NamedTuple):
    """One body's part in a case: what is asked for, and how it is undone."""

    name: StepName
    do: Service[Any, Any]
    undo: Service[CaseQuery, Undone]


STEPS: Final = (
    Step("police", GARAGE_CERTIFY, GARAGE_WITHDRAW),
    Step("transport", VEHICLE_REGISTER, VEHICLE_WITHDRAW),
    Step("tax", VEHICLE_TAX_DECLARE, VEHICLE_TAX_WITHDRAW),
)


class Form(Struct, frozen=True):
    """What a case begins with."""

    application: Signed
    deed: Signed | None
    filed_us: int


_form_decoder = msgspec.json.Decoder(Form)


class CarOneStop(Node):
    """Leads cases. `police`, `transport` and `tax` are the addresses of the bodies of one prefecture."""

    title: ClassVar[str] = "One-stop service for cars"
    title_ja: ClassVar[str] = "自動車保有関係手続のワンストップサービス"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE car_case(
      number INTEGER PRIMARY KEY, form BLOB NOT NULL, state TEXT NOT NULL, why TEXT NOT NULL DEFAULT '');
    CREATE TABLE taken(
      number INTEGER NOT NULL REFERENCES car_case, place INTEGER NOT NULL, state TEXT NOT NULL,
      result TEXT NOT NULL DEFAULT '', PRIMARY KEY (number, place));
    """
    police: str = ""
    transport: str = ""
    tax: str = ""

    async def file(self, application: Signed, deed: Signed | None = None) -> int:
        """Take a case in; returns its number. Raises `MeshError` for a certificate that does not hold."""
        filed_us = self.host.now_us()
        for signed in (application, deed):
            if signed is not None:
                await check_signature(self, signed, filed_us)
        with self.effect():
            form = encode(Form(application, deed, filed_us))
            number = self.db.execute(
                "INSERT INTO car_case(form, state) VALUES (?, 'running')", (form,)
            ).lastrowid
        return number or 0

    async def advance(self, number: int) -> State:
        """Lead a case as far as it gets; `undoing` if some body could not be reached to undo its step yet."""
        if self.case(number)["state"] == "running":
            await self._do(number)
        if self.case(number)["state"] == "undoing":
            await self._undo(number)
        state: State = self.case(number)["state"]
        return state

    def case(self, number: int) -> sqlite3.Row:
        """A case: state, why (the step that failed and its code); `NotFound` if there is none."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM car_case WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no such case")
        return row

    def taken(self, number: int) -> list[tuple[StepName, str]]:
        """The steps that a case began, in order, and where each stands: begun, done or undone."""
        rows = self.db.execute("SELECT place, state FROM taken WHERE number = ? ORDER BY place", (number,))
        return [(STEPS[row["place"]].name, row["state"]) for row in rows]

    def result(self, number: int, step: StepName) -> str:
        """What a body answered, as JSON; `NotFound` if it did not."""
        places = [place for place, one in enumerate(STEPS) if one.name == step]
        row = self.db.execute(
            "SELECT result FROM taken WHERE number = ? AND place = ? AND state = 'done'", (number, *places)
        ).fetchone()
        if row is None:
            raise NotFound("the step is not done")
        return str(row["result"])

    async def _do(self, number: int) -> None:
        form = _form_decoder.decode(self.case(number)["form"])
        application = read_car_application(_document(form))
        done = [state for _, state in self.taken(number)].count("done")
        for place, step in list(enumerate(STEPS))[done:]:
            self._note(number, place, "begun")
            try:
                answer = await self.ask(
                    getattr(self, step.name),
                    step.do,
                    _query(step.name, f"cs-{number:06d}", form, application),
                    procedure=CAR_REGISTRATION,
                )
            except Refused as refused:
                self._turn(number, "undoing", f"{step.name}: {refused.code}")
                return
            self._note(number, place, "done", encode(answer).decode())
        self._turn(number, "completed", "")

    async def _undo(self, number: int) -> None:
        """Undo what was begun, the last first."""
        begun = [place for place, (_, state) in enumerate(self.taken(number)) if state != "undone"]
        for place in reversed(begun):
            step = STEPS[place]
            try:
                await self.ask(
                    getattr(self, step.name),
                    step.undo,
                    CaseQuery(f"cs-{number:06d}"),
                    procedure=CAR_REGISTRATION,
                )
            except Refused:
                return  # The case stays `undoing`; the next run of `advance` asks again.
            self._note(number, place, "undone")
        self._turn(number, "undone", self.case(number)["why"])

    def _note(self, number: int, place: int, state: str, result: str = "") -> None:
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?)", (number, place, state, result)
            )

    def _turn(self, number: int, state: State, why: str) -> None:
        with self.effect():
            self.db.execute("UPDATE car_case SET state = ?, why = ? WHERE number = ?", (state, why, number))


def _document(form: Form) -> bytes:
    """What the new owner signed; its signature was checked when the case was taken in."""
    return parse(form.application.document).payload


def _query(step: StepName, case: str, form: Form, application: CarApplication) -> Struct:
    """What one body is asked: no more than its step needs."""
    if step == "police":
        return GarageQuery(case, application.chassis, application.place)
    if step == "transport":
        return RegisterQuery(case, form.application, form.deed, form.filed_us)
    return DeclareQuery(
        case,
        application.chassis,
        application.procedure == "new",
        application.displacement_cc,
        application.price_yen,
        application.emission_percent,
        application.reduced,
    )
