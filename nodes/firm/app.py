"""The app of a private firm, such as a housing site or a bank: files for its customers, reads what they consent to.

Rules kept here:
1. It stands on the internet and reaches the portal's gateway only. It holds no 個人番号 and no code but its own.
2. It knows a customer by its own number; the portal gives it its own linkage code of them when they link the two.
3. It keeps what a consent covered, for that purpose, and deletes it when the consent is withdrawn or its use has
   ended (個人情報保護法22条).
4. A form is sealed for the municipality before it leaves, and is not kept.
"""

from __future__ import annotations

import sqlite3
from typing import ClassVar

import msgspec
from msgspec import UNSET

from mesh import Node, NotFound, Refused
from mesh.message import encode
from mesh.names import Zone
from nodes.agency.card import Signed
from nodes.portal.api import (
    API,
    API_FILE,
    API_STATE,
    SELF_INCOME,
    CarryQuery,
    SelfIncome,
    SelfIncomeQuery,
    StateQuery,
)
from nodes.portal.application import ONLINE, Filing, seal_filing

_filing_decoder = msgspec.json.Decoder(Filing)


class FirmApp(Node):
    """One firm's app with its customers."""

    title: ClassVar[str] = "App"
    title_ja: ClassVar[str] = "アプリ"
    zone: ClassVar[str] = Zone.INTERNET
    schema: ClassVar[str] = """
    CREATE TABLE customer(number INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE);
    CREATE TABLE consent(
      number INTEGER PRIMARY KEY REFERENCES customer, id TEXT NOT NULL, purpose TEXT NOT NULL);
    CREATE TABLE income(
      number INTEGER NOT NULL REFERENCES customer, tax_year INTEGER NOT NULL, total_income_yen INTEGER NOT NULL,
      PRIMARY KEY (number, tax_year));
    CREATE TABLE filing(
      receipt TEXT PRIMARY KEY, number INTEGER NOT NULL REFERENCES customer, filing BLOB NOT NULL,
      state TEXT NOT NULL);
    """

    # Customers and consents.

    def link(self, code: str) -> int:
        """A customer linked their account with the portal, which gave this firm's code; returns their number."""
        with self.effect():
            return self.db.execute("INSERT INTO customer(code) VALUES (?)", (code,)).lastrowid or 0

    def keep_consent(self, number: int, consent: str, purpose: str) -> None:
        """Keep the consent that a customer gave in the portal, in place of one before."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO consent VALUES (?, ?, ?)", (number, consent, purpose))

    def forget(self, number: int) -> None:
        """Delete what was read about a customer, and the consent under which it was."""
        with self.effect():
            self.db.execute("DELETE FROM income WHERE number = ?", (number,))
            self.db.execute("DELETE FROM consent WHERE number = ?", (number,))

    # Self-information.

    async def read_income(
        self,
        number: int,
        city: str,
        tax_year: int,
        *,
        items: tuple[str, ...] = ("tax_year", "total_income_yen"),
        purpose: str | None = None,
    ) -> SelfIncome:
        """Read a customer's income under their consent, and keep it. Raises `Refused`.

        `purpose` is what the consent was given for unless the firm means to use it for something else.
        """
        consent = self._row("consent", number)
        reply = await self.ask(
            API,
            SELF_INCOME,
            SelfIncomeQuery(tax_year, city),
            subject=self._row("customer", number)["code"],
            procedure=purpose or consent["purpose"],
            items=items,
            consent=consent["id"],
        )
        if reply.total_income_yen is not UNSET:
            with self.effect():
                self.db.execute(
                    "INSERT OR REPLACE INTO income VALUES (?, ?, ?)",
                    (number, tax_year, reply.total_income_yen),
                )
        return reply

    # Applications.

    def new_receipt(self) -> str:
        """The receipt number of a new draft; the form states it, so that the signature binds it."""
        return f"rn-{self.host.random.getrandbits(64):016x}"

    def prepare(self, receipt: str, number: int, city: str, signed: Signed) -> None:
        """Seal what a customer signed for a municipality (`muni/01208`), ready to be filed."""
        filing = seal_filing(self, receipt, f"{city}/application-management", signed)
        with self.effect():
            self.db.execute("INSERT INTO filing VALUES (?, ?, ?, 'draft')", (receipt, number, encode(filing)))

    async def submit(self, receipt: str) -> int:
        """File a draft, or the same once more; returns when it was filed. Raises `Refused`."""
        row = self._filing(receipt)
        query = CarryQuery(_filing_decoder.decode(row["filing"]))
        try:
            reply = await self.ask(API, API_FILE, query, procedure=ONLINE)
        except Refused as refused:
            if refused.definite and row["state"] == "draft":
                self._note(receipt, "refused")
            raise
        if row["state"] in ("draft", "refused"):  # Else it stands further on already.
            self._note(receipt, "filed")
        return reply.filed_us

    async def refresh(self, receipt: str) -> str:
        """Look up where an application stands."""
        reply = await self.ask(API, API_STATE, StateQuery(receipt), procedure=ONLINE)
        self._note(receipt, reply.state)
        return reply.state

    def _note(self, receipt: str, state: str) -> None:
        with self.effect():
            self.db.execute("UPDATE filing SET state = ? WHERE receipt = ?", (state, receipt))

    def _filing(self, receipt: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM filing WHERE receipt = ?", (receipt,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no such draft")
        return row

    def _row(self, table: str, number: int) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute(
            f"SELECT * FROM {table} WHERE number = ?",  # noqa: S608
            (number,),
        ).fetchone()
        if row is None:
            raise NotFound(f"the customer has no {table}")
        return row
