"""Seal registration (印鑑登録): whose seal is registered in a municipality, and the certificates of it.

Rules kept here:
1. It rests on each municipality's ordinance (印鑑条例), and a certificate is a paper: no row of the law lets
   another body ask for it.
2. A registered seal shows the name of the register. When the family register changes the name so that the
   seal no longer shows it, the registration lapses (印鑑登録証明事務処理要領; how it hears of it is illustrative).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

from mesh import Caller, Event, Node, NotFound, PersonalService, Withheld, receives, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date
from nodes.data.calendar import day_of
from nodes.municipality.family_events import FAMILY_CHANGE, FAMILY_ENTRY

PROCEDURE = "seal-registration"


class SealStanding(Struct, frozen=True):
    """Whether a seal is registered, and since when."""

    standing: Literal["registered", "lapsed"]
    since: Date


SEAL_STANDING = PersonalService(
    "seal.standing.v1", Empty, SealStanding, title="Standing of a registered seal", title_ja="印鑑登録の状況"
)


class SealRegistration(Node):
    """The system 印鑑登録 of one municipality."""

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
        """Issue 印鑑登録証明書 at the counter and return its number; `Withheld` once the registration lapsed."""
        if self._standing(code).standing == "lapsed":
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

    @serves(SEAL_STANDING)
    async def standing(self, query: Empty, caller: Caller, person: str) -> SealStanding:
        """Whether somebody's seal is registered, for another counter of this municipality."""
        return self._standing(person)

    def _standing(self, code: str) -> SealStanding:
        row = self.db.execute("SELECT * FROM seal WHERE code = ?", (code,)).fetchone()
        if row is None:
            raise NotFound("no seal of this person is registered")
        return SealStanding("lapsed" if row["lapsed"] else "registered", row["since"])

    def _today(self) -> str:
        return day_of(self.host.now_us()).isoformat()
