"""Disaster victims: survey of dwellings, certificates (罹災証明書), and the victims' ledger (被災者台帳).

Rules kept here:
1. The damage is surveyed before anything is certified (災害対策基本法90条の2第1項). A person signs the certificate, and
   sees to it that the household lived in the house it named. For the survey the list of houses of the tax office may
   be used inside the city (同条2項).
2. A household has one certificate, whoever of it applies and however often, and what it says stands: what a second
   survey finds (再調査) is for a certificate of its own, which is not modelled.
3. The ledger (90条の3) says who was hit, how badly, where they stay and what aid they had.
4. It is used inside the city, and given to another local body as far as its aid needs it (90条の4第1項2号・3号): another
   city gets it only about who said that they stay there.
5. The event says that somebody was certified; who offers aid asks. A second aid of one kind is seen, and left to a
   person.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Annotated, ClassVar, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import (
    Caller,
    EventType,
    ManualReview,
    Node,
    NotFound,
    NoticeType,
    PersonalService,
    Refused,
    Withheld,
    receives,
    serves,
)
from mesh.builtin import Empty
from mesh.names import Zone, member_of
from mesh.service import Date
from nodes.data.table import JST
from nodes.municipality.asking import ask_household
from nodes.municipality.disaster_rules import AidKind, CertificateNumber, Damage, HouseNumber, damage_of
from nodes.municipality.property_tax import HOUSES, HousesQuery

PROCEDURE: Final = "disaster-victims"


class ApplyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application for a certificate: which house the household lived in."""

    house: HouseNumber


class Receipt(Struct, frozen=True):
    """That the office has the household's application; `again` if it had one before."""

    number: int
    again: bool


class Certificate(Struct, frozen=True):
    """What 罹災証明書 says."""

    certificate: CertificateNumber | UnsetType = UNSET
    damage: Damage | UnsetType = UNSET
    issued_on: Date | UnsetType = UNSET
    size: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    """How many lived in the household (世帯の構成, which the ledger has too)."""


class Aid(Struct, frozen=True, forbid_unknown_fields=True):
    """That a household was given aid, for the ledger."""

    aid: AidKind


APPLY = PersonalService(
    "disaster.apply.v1",
    ApplyQuery,
    Receipt,
    title="Apply for a disaster certificate",
    title_ja="罹災証明書の交付申請",
)
CERTIFICATE = PersonalService(
    "disaster.certificate.v1",
    Empty,
    Certificate,
    title="Disaster certificate of a household",
    title_ja="罹災証明・被災者台帳情報",
)
AID = NoticeType("disaster.aid.v1", Aid, title="Aid was given", title_ja="援護の実施の状況")
CERTIFIED = EventType("disaster.certified.v1", title="A household was certified", title_ja="罹災証明書の交付")


class DisasterVictims(Node):
    """The system 罹災証明・被災者台帳 of one municipality."""

    title: ClassVar[str] = "Disaster victims' ledger"
    title_ja: ClassVar[str] = "被災者台帳・罹災証明"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE survey(house TEXT PRIMARY KEY, percent INTEGER, surveyor TEXT);
    CREATE TABLE household(
      number INTEGER PRIMARY KEY, house TEXT NOT NULL, head TEXT NOT NULL, certificate TEXT UNIQUE,
      issued_on TEXT, official TEXT, stays_in TEXT NOT NULL DEFAULT '');
    CREATE TABLE victim(person TEXT PRIMARY KEY, household INTEGER NOT NULL REFERENCES household);
    CREATE TABLE aid(
      household INTEGER NOT NULL REFERENCES household, aid TEXT NOT NULL, given_by TEXT NOT NULL,
      message TEXT NOT NULL);
    """

    # The survey.

    async def list_houses(self) -> int:
        """List the houses to survey, from the tax office of this city; returns how many."""
        query = HousesQuery()
        while True:
            page = await self.ask(self._office("property-tax"), HOUSES, query, procedure=PROCEDURE)
            if not page.houses:
                return int(self.db.execute("SELECT count(*) FROM survey").fetchone()[0])
            with self.effect():
                self.db.executemany(
                    "INSERT OR IGNORE INTO survey(house) VALUES (?)", [(one.house,) for one in page.houses]
                )
            query = HousesQuery(page.houses[-1].house)

    def survey(self, house: str, percent: int, surveyor: str) -> None:
        """Enter what a surveyor found (住家被害認定調査); `NotFound` for a house that is not on the list.

        Raises `ManualReview` once a certificate rests on what was found before.
        """
        certified = "SELECT 1 FROM household WHERE house = ? AND certificate IS NOT NULL"
        if self.db.execute(certified, (house,)).fetchone() is not None:
            raise ManualReview("a certificate rests on the first survey")
        with self.effect():
            changed = self.db.execute(
                "UPDATE survey SET percent = ?, surveyor = ? WHERE house = ?", (percent, surveyor, house)
            ).rowcount
        if not changed:
            raise NotFound("the house is not on the list")

    # Certificates.

    @serves(APPLY)
    async def apply(self, query: ApplyQuery, caller: Caller, person: str) -> Receipt:
        """Take an application in, once for a household: a repeat is told the number of the first.

        `not_found` from who is not registered here: an official sees to them (住民登録のない被災者).
        """
        try:
            household = await ask_household(self, person, PROCEDURE)
        except Refused as refused:
            raise NotFound if refused.code == "not_found" else ManualReview from refused
        members = [one.code for one in household]
        known = self._row_of(person)
        if known is not None:
            return Receipt(known["number"], again=True)
        with self.effect():
            number = int(
                self.db.execute(
                    "INSERT INTO household(house, head) VALUES (?, ?) RETURNING number",
                    (query.house, members[0]),
                ).fetchone()["number"]
            )
            self.db.executemany("INSERT INTO victim VALUES (?, ?)", [(one, number) for one in members])
        return Receipt(number, again=False)

    def issue(self, number: int, official: str) -> str:
        """Sign a household's certificate and say so; returns its number. `ManualReview` before the survey."""
        row = self.db.execute(
            "SELECT head, certificate, percent FROM household LEFT JOIN survey USING (house) WHERE number = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise NotFound("there is no such application")
        if row["percent"] is None:
            raise ManualReview("the house has not been surveyed")
        if row["certificate"] is not None:
            return str(row["certificate"])
        certificate = f"rc-{number:06d}"
        issued_on = datetime.fromtimestamp(self.host.now_us() / 1_000_000, tz=JST).date().isoformat()
        with self.effect():
            self.db.execute(
                "UPDATE household SET certificate = ?, issued_on = ?, official = ? WHERE number = ?",
                (certificate, issued_on, official, number),
            )
            self.publish(CERTIFIED, row["head"])
        return certificate

    def note_stay(self, person: str, city: str) -> None:
        """Note in which city the household stays, as it said; five digits."""
        with self.effect():
            self.db.execute(
                "UPDATE household SET stays_in = ? WHERE number = ?",
                (city, self._household(person)["number"]),
            )

    @serves(CERTIFICATE)
    async def certificate(self, query: Empty, caller: Caller, person: str) -> Certificate:
        """What the ledger says about a household, to who may aid it; `withheld` from a city they did not name."""
        row = self._household(person)
        asking = member_of(caller.address)
        if asking.startswith("muni/") and asking not in (self.member, f"muni/{row['stays_in']}"):
            raise Withheld("the household did not say that it stays there")
        if row["certificate"] is None:
            raise NotFound("nothing was certified yet")
        percent = self.db.execute("SELECT percent FROM survey WHERE house = ?", (row["house"],)).fetchone()
        size = self.db.execute(
            "SELECT count(*) FROM victim WHERE household = ?", (row["number"],)
        ).fetchone()[0]
        return Certificate(row["certificate"], damage_of(percent["percent"]), row["issued_on"], size)

    # Aid.

    @receives(AID)
    async def note_aid(self, aid: Aid, caller: Caller, person: str) -> None:
        """Note in the ledger what aid a household was given, and by whom."""
        number = self._household(person)["number"]
        with self.effect():
            self.db.execute(
                "INSERT INTO aid VALUES (?, ?, ?, ?)", (number, aid.aid, caller.address, caller.message)
            )

    def aids_of(self, person: str) -> list[tuple[str, str]]:
        """What aid a household was given: (kind, who gave it), in order."""
        rows = self.db.execute(
            "SELECT aid, given_by FROM aid WHERE household = ? ORDER BY rowid",
            (self._household(person)["number"],),
        )
        return [(row["aid"], row["given_by"]) for row in rows]

    def given_twice(self) -> list[tuple[int, str]]:
        """Households that had one kind of aid more than once, for officials: (application, kind)."""
        rows = self.db.execute(
            "SELECT household, aid FROM aid GROUP BY household, aid HAVING count(*) > 1 ORDER BY household, aid"
        )
        return [(row["household"], row["aid"]) for row in rows]

    # Inside.

    def _office(self, system: str) -> str:
        return f"{self.member}/{system}"

    def _row_of(self, person: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT household.* FROM household JOIN victim ON household = number WHERE person = ?", (person,)
        ).fetchone()
        return row

    def _household(self, person: str) -> sqlite3.Row:
        row = self._row_of(person)
        if row is None:
            raise NotFound("the person's household did not apply")
        return row
