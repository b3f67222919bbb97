"""Seal registration (印鑑登録): whose seal is registered in a municipality, and the certificates of it.

Rules kept here:
1. It rests on each municipality's ordinance (印鑑条例), and a certificate is a paper: no row of the law lets
   another body ask for it.
2. A registered seal shows the name of the register. When the family register changes the name so that the
   seal no longer shows it, the registration lapses (印鑑登録証明事務処理要領; how it hears of it is illustrative).
"""

from __future__ import annotations

from typing import ClassVar

from mesh import Caller, Event, Node, NotFound, Withheld, receives
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.data.calendar import day_of
from nodes.municipality.family_events import FAMILY_CHANGE, FAMILY_ENTRY

PROCEDURE = "seal-registration"


class SealRegistration(Node):
    """The system 印鑑登録 of one municipality."""

    title: ClassVar[str] = "Seal registration"
    title_ja: ClassVar[str] = "印鑑登録"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE seal(
      code TEXT PRIMARY KEY, characters TEXT NOT NULL, since TEXT NOT NULL, lapsed INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE certificate(number INTEGER PRIMARY KEY, code TEXT NOT NULL REFERENCES seal, issued_on TEXT NOT NULL);
    """

    def register(self, code: str, characters: str) -> None:
        """Register the seal of a resident; `characters` are the name as the seal shows it."""
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO seal(code, characters, since) VALUES (?, ?, ?)",
                (code, characters, self._today()),
            )

    def issue(self, code: str) -> str:
        """Issue 印鑑登録証明書 at the counter and return its number; `Withheld` once the registration lapsed.

        `NotFound` if no seal of the person is registered.
        """
        seal = self.db.execute("SELECT lapsed FROM seal WHERE code = ?", (code,)).fetchone()
        if seal is None:
            raise NotFound("no seal of this person is registered")
        if seal["lapsed"]:
            raise Withheld("the registration has lapsed")
        with self.effect():
            number = self.db.execute(
                "INSERT INTO certificate(code, issued_on) VALUES (?, ?)", (code, self._today())
            ).lastrowid
        return f"seal-{number:06d}"

    @receives(FAMILY_CHANGE)
    async def compare_name(self, event: Event, caller: Caller, person: str) -> None:
        """Let a registration lapse whose seal no longer shows a part of the person's name."""
        row = self.db.execute("SELECT characters FROM seal WHERE code = ?", (person,)).fetchone()
        if row is None:
            return
        entry = await self.ask(caller.address, FAMILY_ENTRY, Empty(), subject=person, procedure=PROCEDURE)
        if row["characters"] not in (entry.name, *entry.name.split(" ")):
            with self.effect():
                self.db.execute("UPDATE seal SET lapsed = 1 WHERE code = ?", (person,))

    def _today(self) -> str:
        return day_of(self.host.now_us()).isoformat()
