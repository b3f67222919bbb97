"""The supplement to the family register (戸籍の附票): the addresses of those whose 本籍 is here.

Rules kept here:
1. It holds the 住民票コード of everybody whose register is kept here, wherever they live (住民基本台帳法17条), so
   the municipality of the 本籍 is the one that has linkage codes acquired for the Minister of Justice.
2. Its addresses are shown inside the same body only: no wide-area copy exists of it (広域交付の対象外).
3. A change in the family register reaches it as an event; it asks the register for what changed.
"""

from __future__ import annotations

import sqlite3
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from mesh import Caller, Event, Node, NotFound, PersonalService, receives, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date
from nodes.agency.code_issuer import ACQUISITION, AcquisitionNumber
from nodes.agency.jlis import LINKAGE_ACQUIRE_FOR_JUSTICE, RELAY, AcquireQuery
from nodes.municipality.family_events import FAMILY_CHANGE, FAMILY_ENTRY

CityCode = Annotated[str, Meta(pattern="^[0-9]{5}$")]
PROCEDURE = "family-register"


class LinkNumber(Struct, frozen=True):
    """A number that was reserved for the Minister of Justice."""

    number: AcquisitionNumber


class Stay(Struct, frozen=True):
    """A municipality of residence, and since when."""

    city: CityCode
    since: Date


class Addresses(Struct, frozen=True):
    """What 附票の写し says: every address since the register was made, the oldest first."""

    stays: tuple[Stay, ...]


SUPPLEMENT_NUMBER = PersonalService(
    "supplement.link-number.v1",
    Empty,
    LinkNumber,
    title="Acquisition number of a registered person",
    title_ja="本籍人の取得番号",
)
SUPPLEMENT_ADDRESSES = PersonalService(
    "supplement.addresses.v1",
    Empty,
    Addresses,
    title="Addresses of a registered person",
    title_ja="戸籍の附票の写し",
)


class FamilyRegisterSupplement(Node):
    """The system 戸籍の附票 of one municipality."""

    title: ClassVar[str] = "Supplement to the family register"
    title_ja: ClassVar[str] = "戸籍の附票"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE person(code TEXT PRIMARY KEY, resident_code TEXT NOT NULL, name TEXT NOT NULL);
    CREATE TABLE stay(
      code TEXT NOT NULL REFERENCES person, city TEXT NOT NULL, since TEXT NOT NULL,
      PRIMARY KEY (code, since));
    """

    def enter(self, code: str, resident_code: str, name: str, stays: tuple[tuple[str, str], ...]) -> None:
        """Enter somebody whose register is kept here; `stays` are (city, since)."""
        with self.effect():
            self.db.execute("INSERT INTO person VALUES (?, ?, ?)", (code, resident_code, name))
            self.db.executemany("INSERT INTO stay VALUES (?, ?, ?)", [(code, *stay) for stay in stays])

    def knows(self, code: str) -> bool:
        """Whether somebody's addresses are kept here."""
        return self.db.execute("SELECT 1 FROM person WHERE code = ?", (code,)).fetchone() is not None

    def name_of(self, code: str) -> str:
        """The name as it stands here; `NotFound` for a stranger."""
        return str(self._person(code)["name"])

    @receives(FAMILY_CHANGE)
    async def follow_register(self, event: Event, caller: Caller, person: str) -> None:
        """Take over what the family register says now."""
        entry = await self.ask(caller.address, FAMILY_ENTRY, Empty(), subject=person, procedure=PROCEDURE)
        with self.effect():
            self.db.execute("UPDATE person SET name = ? WHERE code = ?", (entry.name, person))

    @serves(SUPPLEMENT_NUMBER)
    async def link_number(self, query: Empty, caller: Caller, person: str) -> LinkNumber:
        """Have J-LIS reserve a number for the Minister of Justice; this body can do nothing with it."""
        asked = AcquireQuery(self._person(person)["resident_code"])
        reserved = await self.ask(RELAY, LINKAGE_ACQUIRE_FOR_JUSTICE, asked, procedure=ACQUISITION)
        return LinkNumber(reserved.number)

    @serves(SUPPLEMENT_ADDRESSES)
    async def addresses(self, query: Empty, caller: Caller, person: str) -> Addresses:
        """The addresses of a person, for the register counter of this municipality."""
        self._person(person)
        rows = self.db.execute("SELECT city, since FROM stay WHERE code = ? ORDER BY since", (person,))
        return Addresses(tuple(Stay(row["city"], row["since"]) for row in rows))

    def _person(self, code: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM person WHERE code = ?", (code,)).fetchone()
        if row is None:
            raise NotFound("nobody of that register is recorded here")
        return row
