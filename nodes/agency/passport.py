"""Passports (旅券) of 外務省: a first application takes the electronic family register certificate.

Rules kept here:
1. Since 2025-03-24 the applicant's code of sixteen digits stands in place of 戸籍謄本 (旅券法3条; 戸籍法120条の3).
2. Passports are outside 番号法: the office has no linkage code of anybody, and compares what the certificate
   says with what the applicant wrote.
3. Without a code that is good the application waits for 戸籍謄本 on paper.
"""

from __future__ import annotations

import sqlite3
from typing import ClassVar, Final, Literal

from mesh import Node, NotFound, Refused
from mesh.errors import Fault
from mesh.names import Zone
from nodes.agency.family_register_link import FAMILY_CERTIFICATE, FAMILY_LINK
from nodes.agency.kinship import CertificateQuery

PASSPORT: Final = "gov/mofa/passport"
PROCEDURE: Final = "passport"
Outcome = Literal["verified", "mismatch", "waiting"]


class PassportOffice(Node):
    """Takes applications for passports and verifies who applies."""

    title: ClassVar[str] = "Passports"
    title_ja: ClassVar[str] = "旅券"
    # A government office outside 番号法: it reaches the link over 政府共通ネットワーク, not from a 個人番号 network.
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE application(
      number INTEGER PRIMARY KEY, name TEXT NOT NULL, born TEXT NOT NULL, code TEXT, outcome TEXT NOT NULL,
      why TEXT NOT NULL DEFAULT '');
    """

    def take_application(self, name: str, born: str, code: str | None) -> int:
        """Take an application in, with the code that the applicant gives, if any."""
        with self.effect():
            cursor = self.db.execute(
                "INSERT INTO application(name, born, code, outcome) VALUES (?, ?, ?, 'waiting')",
                (name, born, code),
            )
        return cursor.lastrowid or 0

    async def examine(self, number: int) -> Outcome:
        """Fetch the certificate and compare; `waiting` for 戸籍謄本 on paper if there is none to fetch."""
        row = self.application(number)
        if row["code"] is None:
            return self._decide(number, "waiting", "no code")
        try:
            certificate = await self.ask(
                FAMILY_LINK, FAMILY_CERTIFICATE, CertificateQuery(row["code"]), procedure=PROCEDURE
            )
        except Refused as refused:
            if refused.fault is Fault.REQUESTER:
                raise
            return self._decide(number, "waiting", refused.code)
        named = any(
            (one.name, one.born) == (row["name"], row["born"]) and not one.removed
            for one in certificate.persons
        )
        return self._decide(number, "verified" if named else "mismatch", certificate.record)

    def application(self, number: int) -> sqlite3.Row:
        """An application: name, born, code, outcome, why; `NotFound` if there is none."""
        row: sqlite3.Row | None = self.db.execute(
            "SELECT * FROM application WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise NotFound("there is no such application")
        return row

    def _decide(self, number: int, outcome: Outcome, why: str) -> Outcome:
        with self.effect():
            self.db.execute(
                "UPDATE application SET outcome = ?, why = ? WHERE number = ?", (outcome, why, number)
            )
        return outcome
