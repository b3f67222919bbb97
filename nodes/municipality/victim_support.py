"""The one desk for victims of a disaster (被災者支援の総合窓口): offers aid, takes one application for all of it, sends it on.

Rules kept here:
1. The certificate's event leads to an offer of what fits the household; an official decides it, and the family applies.
2. Nobody attaches the certificate: the desk asks the ledger, of this city or of the one where the house stood.
3. One household, one application for each kind of aid, whoever of it applies and wherever: known by the certificate.
4. What cannot be sent on waits and is sent again; nothing is lost and nothing is sent twice with an effect.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import ClassVar, Final

from msgspec import UNSET, Struct

from mesh import (
    Caller,
    Event,
    ManualReview,
    MeshError,
    Node,
    NotFound,
    PersonalService,
    Refused,
    receives,
    serves,
)
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.agency.recovery_support import CLAIM, RECOVERY, ClaimQuery
from nodes.municipality.asking import ask_household
from nodes.municipality.disaster_rules import PREMIUM_TENTHS, TAX_TENTHS, AidKind, basic_grant_yen
from nodes.municipality.disaster_victims import AID, CERTIFICATE, CERTIFIED, Aid, Certificate
from nodes.municipality.elderly_medical import INSURED, REDUCE_PREMIUM, ReducePremiumQuery
from nodes.municipality.property_tax import OWNED, REDUCE_TAX, ReduceQuery
from nodes.municipality.resident import CityCode
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "disaster-aid"


class AcceptQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """One application for all aid that a household wants; `city` is where the house stood."""

    city: CityCode
    kinds: tuple[AidKind, ...]


class Accepted(Struct, frozen=True):
    """For which kinds the application is new; for the others there was one before."""

    kinds: tuple[AidKind, ...]


ACCEPT = PersonalService(
    "disaster.accept.v1",
    AcceptQuery,
    Accepted,
    title="Apply for aid after a disaster",
    title_ja="被災者支援の一括申請",
)


class VictimSupport(Node):
    """The desk of one municipality, for its own victims and for its guests."""

    title: ClassVar[str] = "One desk for disaster victims"
    title_ja: ClassVar[str] = "被災者支援の総合窓口"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE offer(head TEXT NOT NULL, kind TEXT NOT NULL, person TEXT NOT NULL, official TEXT,
      PRIMARY KEY (head, kind, person));
    CREATE TABLE application(
      number INTEGER PRIMARY KEY, city TEXT NOT NULL, certificate TEXT NOT NULL, damage TEXT NOT NULL,
      kind TEXT NOT NULL, applicant TEXT NOT NULL, stage TEXT NOT NULL DEFAULT 'open', why TEXT NOT NULL DEFAULT '',
      UNIQUE (city, certificate, kind));
    """

    # Offers.

    @receives(CERTIFIED)
    async def on_certified(self, event: Event, caller: Caller, person: str) -> None:
        """Note what fits a household that was certified, by its damage and what it has."""
        damage = (await self.ask_ledger(person, self.address.split("/")[1])).damage
        if damage is UNSET:
            return
        members = await self._household(person)
        offers: list[tuple[AidKind, str]] = []
        if basic_grant_yen(damage, len(members)):
            offers.append(("basic-grant", person))
        for member in members if damage in TAX_TENTHS else []:
            owned = await self.ask(
                self._office("property-tax"), OWNED, Empty(), subject=member, procedure=PROCEDURE
            )
            offers += [("property-tax", member)] * bool(owned.houses)
        for member in members if damage in PREMIUM_TENTHS else []:
            insured = await self.ask(
                self._office("elderly-medical"), INSURED, Empty(), subject=member, procedure=PROCEDURE
            )
            offers += [("elderly-premium", member)] * (insured.insured is True)
        with self.effect():
            self.db.executemany(
                "INSERT OR IGNORE INTO offer VALUES (?, ?, ?, NULL)", [(person, *one) for one in offers]
            )

    def prepared(self) -> dict[str, list[AidKind]]:
        """What could be offered, by head: the kinds; nothing for who has no right to any."""
        found: dict[str, list[AidKind]] = {}
        for row in self.db.execute("SELECT head, kind FROM offer ORDER BY rowid"):
            found.setdefault(row["head"], []).append(row["kind"])
        return found

    def offer(self, head: str, due: date, official: str) -> None:
        """An official decides what is offered to a household and writes to it in the portal.

        `ManualReview` where nothing fits.
        """
        if head not in self.prepared():
            raise ManualReview("nothing that the desk knows of fits this household")
        letter = Letter(
            "Aid that your household can apply for",
            "被災された世帯への支援のご案内（一括申請）",
            due.isoformat(),
        )
        with self.effect():
            self.db.execute("UPDATE offer SET official = ? WHERE head = ?", (official, head))
            self.notify(PORTAL_LETTER, PORTAL, letter, subject=head, procedure=PROCEDURE)

    # Applications.

    @serves(ACCEPT)
    async def accept(self, query: AcceptQuery, caller: Caller, person: str) -> Accepted:
        """Take one application for all aid in, from the portal."""
        try:
            return await self.take(person, query)
        except Refused as refused:
            raise NotFound if refused.code == "not_found" else ManualReview from refused

    async def take(self, person: str, query: AcceptQuery) -> Accepted:
        """Take an application in; at the counter an official calls this.

        Raises `Refused` if the ledger does not say that the household was certified.
        """
        held = await self.ask_ledger(person, query.city)
        new: list[AidKind] = []
        with self.effect():
            for kind in query.kinds:
                row = (query.city, held.certificate, held.damage, kind, person)
                if self.db.execute(
                    "INSERT OR IGNORE INTO application(city, certificate, damage, kind, applicant)"
                    " VALUES (?, ?, ?, ?, ?)",
                    row,
                ).rowcount:
                    new.append(kind)
        return Accepted(tuple(new))

    async def ask_ledger(self, person: str, city: str) -> Certificate:
        """What the ledger of the city where the house stood says, as far as aid needs it."""
        held = await self.ask(
            f"muni/{city}/disaster-victims",
            CERTIFICATE,
            Empty(),
            subject=person,
            procedure=PROCEDURE,
            items=("certificate", "damage"),
        )
        if held.certificate is UNSET or held.damage is UNSET:
            raise ManualReview("the ledger did not say enough")
        return held

    async def send_on(self) -> int:
        """Send what is open on to whom each kind is for; returns how many are still open."""
        rows = self.db.execute("SELECT * FROM application WHERE stage = 'open' ORDER BY number").fetchall()
        for row in rows:
            try:
                await self._send(row)
            except MeshError as error:
                self._put(row["number"], "open", error.code)
            else:
                self._put(row["number"], "sent", "")
        return int(self.db.execute("SELECT count(*) FROM application WHERE stage = 'open'").fetchone()[0])

    async def _send(self, row: sqlite3.Row) -> None:
        person, kind = row["applicant"], row["kind"]
        if kind == "lodging":
            self._give_lodging(row)
        elif kind == "basic-grant":
            await self.ask(
                RECOVERY.format(prefecture=row["city"][:2]),
                CLAIM,
                ClaimQuery(row["city"]),
                subject=person,
                procedure=PROCEDURE,
            )
        else:
            await self._send_inside(row)

    async def _send_inside(self, row: sqlite3.Row) -> None:
        """Send an application for a reduction to the office of this city, for whom of the household it concerns."""
        kind, certificate, damage = row["kind"], row["certificate"], row["damage"]
        for person in await self._concerned(row["applicant"], kind):
            if kind == "property-tax":
                tax = ReduceQuery(certificate, damage)
                await self.ask(
                    self._office("property-tax"), REDUCE_TAX, tax, subject=person, procedure=PROCEDURE
                )
            else:
                premium = ReducePremiumQuery(certificate, damage)
                await self.ask(
                    self._office("elderly-medical"),
                    REDUCE_PREMIUM,
                    premium,
                    subject=person,
                    procedure=PROCEDURE,
                )

    async def _concerned(self, applicant: str, kind: str) -> list[str]:
        """Who of the applicant's household was found to have something that can be reduced."""
        household = await self._household(applicant)
        rows = self.db.execute("SELECT person FROM offer WHERE kind = ? ORDER BY rowid", (kind,))
        found = [row["person"] for row in rows if row["person"] in household]
        if not found:
            raise ManualReview("nobody of the household has anything that can be reduced")
        return found

    async def _household(self, person: str) -> list[str]:
        return [one.code for one in await ask_household(self, person, PROCEDURE)]

    def _give_lodging(self, row: sqlite3.Row) -> None:
        """Give lodging, once, and tell the ledger of the city where the house stood."""
        with self.effect():
            given = self.db.execute(
                "UPDATE application SET stage = 'sent' WHERE number = ? AND stage = 'open'", (row["number"],)
            ).rowcount
            if given:
                self.notify(
                    AID,
                    f"muni/{row['city']}/disaster-victims",
                    Aid("lodging"),
                    subject=row["applicant"],
                    procedure=PROCEDURE,
                )

    # Inside.

    def _office(self, system: str) -> str:
        return f"{self.member}/{system}"

    def _put(self, number: int, stage: str, why: str) -> None:
        with self.effect():
            self.db.execute(
                "UPDATE application SET stage = ?, why = ? WHERE number = ?", (stage, why, number)
            )

    def applications(self) -> list[tuple[str, str, str, str]]:
        """The applications, in order: (certificate, kind, stage, why it is still open)."""
        rows = self.db.execute("SELECT certificate, kind, stage, why FROM application ORDER BY number")
        return [tuple(row) for row in rows]
