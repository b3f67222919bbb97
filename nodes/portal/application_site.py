"""ぴったりサービス, where a resident fills in, signs and files an application, and later sees where it stands.

Rules kept here:
1. It stands on the internet and reaches the relay server only, never a municipality's own systems.
2. A draft has one receipt number; filing it again files the same application.
3. It keeps no form once it is sealed: receipt number, recipient and state remain.
"""

from __future__ import annotations

import sqlite3
from typing import ClassVar, Final

import msgspec

from mesh import Node, NotFound, Refused
from mesh.message import encode
from mesh.names import Zone
from nodes.agency.card import Signed
from nodes.portal.application import ONLINE, Filing, seal_filing
from nodes.portal.application_server import FILE, SERVER, STATES, FileQuery, StatesQuery

SITE: Final = "gov/portal/application-site"

_filing_decoder = msgspec.json.Decoder(Filing)


class ApplicationSite(Node):
    """Files applications for residents; `person` is the portal's own linkage code of one."""

    title: ClassVar[str] = "Online applications"
    title_ja: ClassVar[str] = "ぴったりサービス"
    zone: ClassVar[str] = Zone.INTERNET
    schema: ClassVar[str] = """
    CREATE TABLE filing(
      receipt TEXT PRIMARY KEY, person TEXT NOT NULL, procedure TEXT NOT NULL, filing BLOB NOT NULL,
      state TEXT NOT NULL, why TEXT NOT NULL DEFAULT '');
    """

    def new_receipt(self) -> str:
        """The receipt number of a new draft; the form states it, so that the signature binds it."""
        return f"rn-{self.host.random.getrandbits(64):016x}"

    def prepare(self, receipt: str, person: str, city: str, procedure: str, signed: Signed) -> None:
        """Seal what the resident signed for a municipality (`muni/01208`), ready to be filed."""
        filing = seal_filing(self, receipt, f"{city}/application-management", signed)
        with self.effect():
            self.db.execute(
                "INSERT INTO filing(receipt, person, procedure, filing, state) VALUES (?, ?, ?, ?, 'draft')",
                (receipt, person, procedure, encode(filing)),
            )

    async def submit(self, receipt: str) -> int:
        """File a draft, or the same once more; returns when it was filed. Raises `Refused`, kept with its code."""
        row = self._row(receipt)
        query = FileQuery(_filing_decoder.decode(row["filing"]))
        try:
            reply = await self.ask(SERVER, FILE, query, procedure=ONLINE)
        except Refused as refused:
            if refused.definite:  # Else it may have been taken: the resident sends the same once more.
                self._note(receipt, "refused", refused.code)
            raise
        if row["state"] in ("draft", "refused"):
            self._note(receipt, "filed")
        return reply.filed_us

    async def refresh(self, person: str) -> list[sqlite3.Row]:
        """Look up where a resident's applications stand: receipt, procedure, state, why; the oldest first."""
        mine = "SELECT receipt, procedure, state, why FROM filing WHERE person = ? ORDER BY rowid"
        filed = [
            row["receipt"]
            for row in self.db.execute(mine, (person,))
            if row["state"] not in ("draft", "refused")
        ]
        if filed:
            reply = await self.ask(SERVER, STATES, StatesQuery(tuple(filed)), procedure=ONLINE)
            for receipt, state in zip(filed, reply.states, strict=True):
                self._note(receipt, state)
        return self.db.execute(mine, (person,)).fetchall()

    def _row(self, receipt: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM filing WHERE receipt = ?", (receipt,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no such draft")
        return row

    def _note(self, receipt: str, state: str, why: str = "") -> None:
        with self.effect():
            self.db.execute("UPDATE filing SET state = ?, why = ? WHERE receipt = ?", (state, why, receipt))
