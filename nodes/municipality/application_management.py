"""Application management (申請管理): brings applications from the relay server to the business systems of the city.

Rules kept here, those of DOMAIN.md rule 11:
1. It fetches from its own side; nobody opens a connection into マイナンバー利用事務系.
2. Signature and certificate are checked again here, as of the time of filing: this city relies on them.
3. The certificate's serial number leads to the 宛名 in the city's register. Where it does not, a person decides.
4. One receipt number is one application; it is handed over once, and where it stands goes back to the resident.
"""

from __future__ import annotations

import sqlite3
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from mesh import Caller, ManualReview, MeshError, Node, NotFound, PersonalService, Refused, receives
from mesh.builtin import Empty
from mesh.message import decode
from mesh.names import Zone
from nodes.agency.signature import check_signature
from nodes.municipality.application_progress import PROGRESS, Progress
from nodes.municipality.childcare import APPLY
from nodes.municipality.moves import MOVE_OUT, MOVING_OUT_ONLINE
from nodes.municipality.resident import BY_CERTIFICATE, CertificateQuery
from nodes.portal.application import ONLINE, Application, State, open_filing, read_application
from nodes.portal.application_server import FETCH, REPORT, SERVER, ReportQuery, Waiting


class Desk(NamedTuple):
    """Where applications of a procedure go."""

    system: str
    service: PersonalService[Any, Any]


DESKS: Final = {
    "childcare": Desk("childcare", APPLY),
    MOVING_OUT_ONLINE: Desk("resident", MOVE_OUT),
}
"""By procedure. Every form states the receipt number under which it was signed."""


class ApplicationManagement(Node):
    """The system 申請管理 of one municipality."""

    title: ClassVar[str] = "Application management"
    title_ja: ClassVar[str] = "申請管理"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE application(
      receipt TEXT PRIMARY KEY, procedure TEXT NOT NULL, name TEXT NOT NULL, born TEXT NOT NULL,
      form BLOB NOT NULL, filed_us INTEGER NOT NULL, person TEXT, state TEXT NOT NULL, why TEXT NOT NULL);
    """

    # What runs regularly.

    async def run(self) -> int:
        """Fetch what waits and bring each as far as it gets; returns how many were fetched."""
        waiting = (await self.ask(SERVER, FETCH, Empty(), procedure=ONLINE)).waiting
        for one in waiting:
            await self._take(one)
        for row in self._rows("state = 'received'"):
            await self._hand_over(row)
        return len(waiting)

    async def _take(self, waiting: Waiting) -> None:
        """Check an application, find its 宛名, keep it, and tell the relay server that it is here."""
        receipt = waiting.filing.receipt
        try:
            signed = open_filing(self, waiting.filing, waiting.sender)
            certificate, document = await check_signature(self, signed, waiting.filed_us)
            application = read_application(document)
            if _form_of(application.procedure, application.form).receipt != receipt:
                raise MeshError("schema_invalid", "the resident signed it under another receipt number")
        except MeshError as error:
            if isinstance(error, Refused) and error.code != "not_found":
                raise  # J-LIS gave no answer: it stays where it is, and is fetched again.
            # Nothing says whose it is, so nothing of it is kept.
            await self._report(receipt, "returned")
            return
        person = await self._resolve(certificate.serial)
        self._keep(receipt, application, waiting.filed_us, person)
        await self._report(receipt, "received" if person else "in-review")

    async def _resolve(self, serial: str) -> str | None:
        """The 宛名 of a certificate's holder; None if the register does not know the serial number."""
        query = CertificateQuery(serial)
        try:
            reply = await self.ask(f"{self.member}/resident", BY_CERTIFICATE, query, procedure=ONLINE)
        except Refused as refused:
            if refused.code != "not_found":
                raise
            return None
        return reply.code

    def _keep(self, receipt: str, application: Application, filed_us: int, person: str | None) -> None:
        state, why = ("received", "") if person else ("unresolved", "no 宛名 for the certificate")
        with self.effect():
            self.db.execute(
                "INSERT OR IGNORE INTO application VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    receipt,
                    application.procedure,
                    application.name,
                    application.born,
                    bytes(application.form),
                    filed_us,
                    person,
                    state,
                    why,
                ),
            )

    async def _hand_over(self, row: sqlite3.Row) -> None:
        """Give an application to its business system; what that refuses, a person looks at."""
        desk = DESKS[row["procedure"]]
        receipt = row["receipt"]
        try:
            await self.ask(
                f"{self.member}/{desk.system}",
                desk.service,
                _form_of(row["procedure"], row["form"]),
                subject=row["person"],
                procedure=row["procedure"],
            )
        except MeshError as error:
            if isinstance(error, Refused) and not error.definite:
                return  # It stays to be handed over in the next run.
            await self._report(receipt, "in-review")
            self._note(receipt, "unresolved", error.code)
            return
        with self.effect():
            # The business system may have said meanwhile where it stands.
            self.db.execute(
                "UPDATE application SET state = 'handed-over' WHERE receipt = ? AND state = 'received'",
                (receipt,),
            )

    # What a person decides.

    def unresolved(self) -> list[sqlite3.Row]:
        """What waits for a person: receipt, procedure, name, born, why."""
        return self._rows("state = 'unresolved'")

    async def resolve(self, receipt: str, person: str) -> None:
        """An official has found out whose application it is; `person` is this city's code. Hands it over."""
        self._unresolved(receipt)
        with self.effect():
            self.db.execute(
                "UPDATE application SET person = ?, state = 'received', why = '' WHERE receipt = ?",
                (person, receipt),
            )
        await self._hand_over(self._rows("receipt = ?", receipt)[0])

    async def give_back(self, receipt: str, why: str) -> None:
        """An official gives an application back to its sender, who goes on with paper."""
        self._unresolved(receipt)
        # Said first: where nobody could be told, it still waits here, and the official does it again.
        await self._report(receipt, "returned")
        self._note(receipt, "returned", why)

    def state(self, receipt: str) -> str:
        """Where an application stands here; `NotFound` if it never came."""
        rows = self._rows("receipt = ?", receipt)
        if not rows:
            raise NotFound("there is no such application")
        return str(rows[0]["state"])

    def _unresolved(self, receipt: str) -> None:
        if self.state(receipt) != "unresolved":
            raise ManualReview("the application does not wait for a person")

    # Where it stands.

    @receives(PROGRESS)
    async def on_progress(self, progress: Progress, caller: Caller, person: str) -> None:
        """Pass on to the relay server what a business system says of an application that it has."""
        rows = self._rows("receipt = ?", progress.receipt)
        if not rows or rows[0]["person"] != person:
            return  # It did not come this way, so nobody waits for word of it there.
        await self._report(progress.receipt, progress.state)
        self._note(progress.receipt, progress.state)

    async def _report(self, receipt: str, state: State) -> None:
        await self.ask(SERVER, REPORT, ReportQuery(receipt, state), procedure=ONLINE)

    def _note(self, receipt: str, state: str, why: str = "") -> None:
        with self.effect():
            self.db.execute(
                "UPDATE application SET state = ?, why = ? WHERE receipt = ?", (state, why, receipt)
            )

    def _rows(self, where: str, *values: str) -> list[sqlite3.Row]:
        return self.db.execute(
            f"SELECT * FROM application WHERE {where} ORDER BY filed_us, receipt",  # noqa: S608
            values,
        ).fetchall()


def _form_of(procedure: str, form: msgspec.Raw | bytes) -> Any:
    """The form as the business system's service has it; `MeshError` schema_invalid or message_malformed."""
    return decode(bytes(form), msgspec.json.Decoder(DESKS[procedure].service.query))
